"""``search:`` of a sweep file: what is searched, by which sampler, and for how many trials.

    search:
      sampler: tpe                 # tpe, gp, cmaes, nsgaii, qmc, random or grid
      n_trials: 40                 # in total, however often the sweep is resumed
      seed: 1                      # of the sampler
      space:
        optimizer.matrix.lr: {low: 0.005, high: 0.08, log: true}
        optimizer.matrix.num_iterations: {low: 3, high: 5}      # both ends count
        model.window_pattern: {choices: [SSSL, L]}              # [SSSL, L] says the same
      constraints: [optimizer.x0.lr <= 10 * optimizer.matrix.lr]    # or measured: train_time_s <= 600
      enqueue: [[optimizer.matrix.lr=0.02]]   # tried right after the reference, which is always tried first
      warm_start: [lr_search]      # begins with what that search has found, of a changed space too
      pruning: {kind: none}        # or halving, hyperband, median, sigma (pruning_rule.py)
      second_objective: train_time_s   # loss against time; or peak_memory_gib, tokens_per_s, ...
      max_hours: 12                # by the clock; then nothing more is proposed
      patience: 15                 # nor after so many trials in a row without a gain
      max_peak_memory_gib: 70      # runs that need more are infeasible
      num_promoted: 4              # with a ladder, on whose lowest rung is searched: points that climb

It is frozen and hashed with the sweep, so that what was searched cannot change while it is searched.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweepkit import errors
from sweepkit.config.facts import REQUIRED, block, fact
from sweepkit.config.ranges import Range, at_least, more_than_zero
from sweepkit.config.schema import RungConfig
from sweepkit.sweep import constraint, metric, search_space, set_fields
from sweepkit.sweep.constraint import Constraint
from sweepkit.sweep.pruning_rule import NONE, PruningRule, as_written
from sweepkit.sweep.search_space import Interval, Parameter

CMAES, NSGAII, GRID = "cmaes", "nsgaii", "grid"
#: The column that max_peak_memory_gib limits, by which the sampler is told of it.
MEMORY = "peak_memory_gib"
Sampler = Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"]
_NUM_PROMOTED = 4
_LEAST_OF_CMAES = 2


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
    second_objective: str | None = fact(
        None,
        "what is weighed against decision.metric; what is found is a front of points none of which is beaten "
        "in both; null: decision.metric alone",
        Range(
            lambda name: metric.known(name) is not None,
            f"be measured by runs: {', '.join(metric.names())}",
            "try {example}",
        ),
        example="train_time_s",
    )
    constraints: tuple[str, ...] = fact(
        (),
        "comparisons that points keep, of fields and what the plan makes of them, or of what runs measure",
        example="['optimizer.x0.lr <= 10 * optimizer.matrix.lr']",
    )
    warm_start: tuple[str, ...] = fact(
        (),
        "earlier searches, of this space or another: what of theirs is a run of this one is told, beside the "
        "n_trials",
        example="[lr_search]",
    )
    warm_points: int = fact(
        4,
        "of a warm start: how many of the best points whose runs there are other runs are tried first",
        at_least(0),
    )
    pruning: PruningRule = block(PruningRule, "when a run is hopeless", read=as_written)
    max_hours: float | None = fact(
        None,
        "no trial is proposed once its runs have been at work for so long, by the clock; null: no limit",
        more_than_zero(),
        unit="h",
        example="12",
    )
    patience: int | None = fact(
        None,
        "so many trials in a row that are no better by decision.min_effect end it; null: no limit",
        at_least(1),
        example="15",
    )
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
        search_space.check_conditions(self.space)
        for text in self.constraints:
            constraint.parse(text)
        self._check_sampler()
        self._check_objectives()
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

    @property
    def is_conditional(self) -> bool:
        """Whether any field is proposed with some values of others only."""
        return any(parameter.when for parameter in self.space.values())

    @functools.cached_property
    def parsed(self) -> tuple[Constraint, ...]:
        """The constraints, read."""
        return tuple(map(constraint.parse, self.constraints))

    def infeasible(self, row: Mapping[str, Any]) -> str | None:
        """Why a run is no answer that has ended well: what it measured is more than was allowed.

        Args:
            row: what it measured, by the name of the column.
        """
        for name, excess in self.excesses(row).items():
            if excess is None or excess <= 0:
                continue
            if name == MEMORY:
                limit = f"max_peak_memory_gib={self.max_peak_memory_gib:g}"
                return f"{row[MEMORY]:.2f} GiB at its peak, more than {limit}"
            return f"{constraint.BROKEN} {name}, by {excess:.4g}"
        return None

    @property
    def limited_by(self) -> list[str]:
        """The limits and constraints on what runs measure, by name."""
        return list(self.excesses({}))

    def excesses(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        """Limit or constraint on what is measured → by how much a run breaks it; None where not known."""
        found: dict[str, float | None] = {}
        if self.max_peak_memory_gib is not None:
            peak_gib = row.get(MEMORY)
            found[MEMORY] = None if peak_gib is None else float(peak_gib) - self.max_peak_memory_gib
        return found | {item.text: item.excess(row.get) for item in self.parsed if item.is_measured}

    def _check_sampler(self) -> None:
        """Raises ConfigError where the sampler cannot search this space."""
        intervals = {key: item for key, item in self.space.items() if isinstance(item, Interval)}
        if self.sampler == CMAES and len(intervals) < _LEAST_OF_CMAES:
            raise errors.invalid(
                "search.sampler",
                CMAES,
                f"have {_LEAST_OF_CMAES} intervals or more in its space (it has {len(intervals)}): it learns "
                "of numbers, together, and draws choices at random",
                "take tpe or gp",
            )
        for key, item in intervals.items() if self.sampler == GRID else ():
            if item.step is None and not item.is_whole:
                raise errors.invalid(
                    f"search.space.{key}",
                    str(item),
                    "be a list, whole numbers or have a step with sampler: grid, which tries every point",
                    "add step: or list values",
                )

    def _check_objectives(self) -> None:
        """Raises ConfigError where something knows one objective only, in Optuna too."""
        for key, value, does in (
            ("sampler", self.sampler, self.sampler != CMAES),
            ("pruning.kind", self.pruning.kind, self.pruning.kind == NONE),
        ):
            if self.second_objective and not does:
                raise errors.invalid(
                    f"search.{key}",
                    value,
                    f"be another with second_objective: {self.second_objective}, for it knows one objective",
                    "take tpe" if key == "sampler" else "write pruning: {kind: none}",
                )

    @property
    def num_objectives(self) -> int:
        """How many numbers a trial is told with."""
        return 2 if self.second_objective else 1

    @property
    def second_sign(self) -> int:
        """1 where the second objective is better lower, else -1."""
        known = metric.known(self.second_objective or "")
        return -1 if known is not None and known.direction == metric.HIGHER else 1

    def limited(self, rungs: Sequence[RungConfig]) -> list[RungConfig]:
        """The rungs of a ladder with the limit on how many points climb from the lowest."""
        first, *others = rungs
        if not others:
            return [first]
        limit = self.num_promoted or first.max_promoted or _NUM_PROMOTED
        return [dataclasses.replace(first, max_promoted=limit), *others]
