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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepkit import errors
from sweepkit.config.schema import RungConfig
from sweepkit.sweep import fields, override, search_space
from sweepkit.sweep.pruning_rule import PruningRule
from sweepkit.sweep.search_space import Parameter

SAMPLERS = ("tpe", "gp", "qmc", "random")
_NUM_PROMOTED = 4


@dataclass(frozen=True)
class SearchSpec:
    """The typed content of a ``search:`` block.

    Attributes:
        space: field or group → what may be proposed for it.
        enqueue: points to try right after the reference; what a point leaves out is the reference's.
        max_peak_memory_gib: a trial whose runs measured more is infeasible; None: no limit.
        num_promoted: how many points climb from the lowest rung at most; None: as the rung says, else 4.
    """

    space: dict[str, Parameter]
    sampler: str = "tpe"
    n_trials: int = 20
    seed: int = 1
    enqueue: tuple[tuple[str, ...], ...] = ()
    pruning: PruningRule = field(default_factory=PruningRule)
    max_peak_memory_gib: float | None = None
    num_promoted: int | None = None

    def limited(self, rungs: Sequence[RungConfig]) -> list[RungConfig]:
        """The rungs of a ladder with the limit on how many points climb from the lowest."""
        first, *others = rungs
        if not others:
            return [first]
        limit = self.num_promoted or first.max_promoted or _NUM_PROMOTED
        return [dataclasses.replace(first, max_promoted=limit), *others]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return ({} if self.num_promoted is None else {"num_promoted": self.num_promoted}) | {
            "space": {key: parameter.to_json() for key, parameter in self.space.items()},
            "sampler": self.sampler,
            "n_trials": self.n_trials,
            "seed": self.seed,
            "enqueue": [list(point) for point in self.enqueue],
            "pruning": self.pruning.to_json(),
            "max_peak_memory_gib": self.max_peak_memory_gib,
        }

    @classmethod
    def from_json(cls, value: object) -> SearchSpec:
        """From a ``search:`` block or from ``to_json``.

        Raises:
            ConfigError: names the key, what it is, what it must be and what to do.
        """
        given = fields.read_mapping("search", value)
        known = [item.name for item in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise errors.invalid(
                    f"search.{key}", given[key], "be a known key", errors.did_you_mean(str(key), known)
                )
        space = search_space.read(given.get("space"))
        pruning = PruningRule.from_json(given.get("pruning", {}))
        pruning.check_space(space)
        limit = given.get("max_peak_memory_gib")
        if limit is not None:
            limit = search_space.number("search.max_peak_memory_gib", limit)
            if not limit > 0:
                raise errors.invalid("search.max_peak_memory_gib", limit, "be above 0", "leave it out")
        sampler = given.get("sampler", "tpe")
        if sampler not in SAMPLERS:
            raise errors.invalid(
                "search.sampler",
                sampler,
                f"be one of {', '.join(SAMPLERS)}",
                errors.did_you_mean(str(sampler), SAMPLERS),
            )
        return cls(
            space=space,
            sampler=sampler,
            n_trials=_whole("search.n_trials", given.get("n_trials", 20), 1),
            seed=_whole("search.seed", given.get("seed", 1), 0),
            enqueue=_read_points(given.get("enqueue", []), space),
            pruning=pruning,
            max_peak_memory_gib=limit,
            num_promoted=None
            if given.get("num_promoted") is None
            else _whole("search.num_promoted", given["num_promoted"], 1),
        )


def _read_points(value: object, space: Mapping[str, Parameter]) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        raise errors.invalid("search.enqueue", value, "be a list of points", "write [[field=value, ...]]")
    points = []
    for index, given in enumerate(value):
        where = f"search.enqueue.{index}"
        point = fields.read_overrides(where, given)
        for item in point:
            key, wanted = override.split(item, where)
            if key not in space:
                raise errors.invalid(where, item, "set a field of the space", errors.did_you_mean(key, space))
            if not space[key].holds(wanted):
                raise errors.invalid(
                    where,
                    item,
                    f"lie in the space ({space[key].to_json()})",
                    "widen the space or move the point",
                )
        points.append(point)
    return tuple(points)


def _whole(where: str, value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise errors.invalid(where, value, f"be a whole number, {least} or more", f"write {max(least, 20)}")
    return value
