"""``search:`` of a sweep file: what is searched, by which sampler, and for how many trials.

    search:
      sampler: tpe                 # tpe, gp, qmc or random
      n_trials: 40                 # in total, however often the sweep is resumed
      seed: 1                      # of the sampler
      space:
        optimizer.matrix.lr: {low: 0.005, high: 0.08, log: true}
        optimizer.matrix.num_iterations: {low: 3, high: 5}      # both ends count
        model.window_pattern: {choices: [SSSL, L]}              # [SSSL, L] says the same
      enqueue: [[optimizer.matrix.lr=0.02]]   # tried right after the reference, which is always tried first
      pruning: {kind: none}        # or halving, sigma (pruning_rule.py)
      max_peak_memory_gib: 70      # runs that need more are infeasible
      num_promoted: 4              # with a ladder, on whose lowest rung is searched: points that climb

It is frozen and hashed with the sweep, so that what was searched cannot change while it is searched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweepkit import errors
from sweepkit.config.facts import REQUIRED, block, fact
from sweepkit.config.ranges import at_least, more_than_zero
from sweepkit.config.schema import RungConfig
from sweepkit.sweep import search_space, set_fields
from sweepkit.sweep.pruning_rule import PruningRule, as_written
from sweepkit.sweep.search_space import Parameter

Sampler = Literal["tpe", "gp", "qmc", "random"]
_NUM_PROMOTED = 4


@dataclass(frozen=True)
class SearchSpec:
    """The typed content of a ``search:`` block."""

    space: dict[str, Parameter] = fact(
        REQUIRED,
        "field or group → what may be proposed for it",
        example="{optimizer.matrix.lr: {low: 0.005, high: 0.08, log: true}}",
        read=search_space.as_written,
    )
    sampler: Sampler = fact("tpe", "what proposes points")
    n_trials: int = fact(20, "how many points are tried, however often the sweep is resumed", at_least(1))
    seed: int = fact(1, "of the sampler", at_least(0))
    enqueue: tuple[tuple[str, ...], ...] = fact(
        (),
        "points to try right after the reference; what a point leaves out is the reference's",
        example="[[optimizer.matrix.lr=0.02]]",
    )
    pruning: PruningRule = block(PruningRule, "when a run is hopeless", read=as_written)
    max_peak_memory_gib: float | None = fact(
        None,
        "a trial whose runs measured more is infeasible; null: no limit",
        more_than_zero(),
        unit="GiB",
        example="70",
    )
    num_promoted: int | None = fact(
        None,
        "how many points climb from the lowest rung at most; null: as the rung says, else 4",
        at_least(1),
        example="4",
    )

    def __post_init__(self) -> None:
        for key, parameter in self.space.items():
            search_space.check(key, parameter)
        self.pruning.check_space(self.space)
        for index, point in enumerate(self.enqueue):
            where = f"search.enqueue.{index}"
            for item in point:
                key, wanted = set_fields.split(item, where)
                if key not in self.space:
                    raise errors.invalid(
                        where, item, "set a field of the space", errors.did_you_mean(key, self.space)
                    )
                if not self.space[key].holds(wanted):
                    raise errors.invalid(
                        where,
                        item,
                        f"lie in the space ({self.space[key]})",
                        "widen the space or move the point",
                    )

    def limited(self, rungs: Sequence[RungConfig]) -> list[RungConfig]:
        """The rungs of a ladder with the limit on how many points climb from the lowest."""
        first, *others = rungs
        if not others:
            return [first]
        limit = self.num_promoted or first.max_promoted or _NUM_PROMOTED
        return [dataclasses.replace(first, max_promoted=limit), *others]
