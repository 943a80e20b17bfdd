"""``search:`` of a sweep file: what is searched, by which sampler, and for how many trials.

    search:
      sampler: tpe                 # tpe, gp, qmc or random
      n_trials: 40                 # in total, however often the sweep is resumed
      seed: 1                      # of the sampler
      space:
        optimizer.matrix.lr: {low: 0.005, high: 0.08, log: true}
        optimizer.matrix.num_iterations: {low: 3, high: 5}      # whole numbers: both ends count
        model.window_pattern: {choices: [SSSL, L]}              # [SSSL, L] says the same
      enqueue: [[optimizer.matrix.lr=0.02]]   # tried right after the reference, which is always tried first
      pruning: {kind: none}        # or halving, sigma (pruning_rule.py)
      max_peak_memory_gib: 70      # runs that need more are infeasible
      num_promoted: 4              # with a ladder, on whose lowest rung is searched: points that climb

It is frozen and hashed with the sweep, so that what was searched cannot change while it is searched.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepkit import errors
from sweepkit.config.schema import RungConfig
from sweepkit.sweep import fields, override
from sweepkit.sweep.pruning_rule import PruningRule

SAMPLERS = ("tpe", "gp", "qmc", "random")
Value = str | int | float | bool | None
_NUM_PROMOTED = 4
_ROUNDING = 1e-6  # in steps: 0.1 + 2 × 0.1 is not 0.3


@dataclass(frozen=True)
class Interval:
    """All numbers between two ends, which count; whole numbers where both ends are.

    Attributes:
        log: equal ratios are equally likely.
        step: only ``low + k × step``; ``high`` is then the last of these.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: object) -> bool:
        """Whether ``value`` could be proposed."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.is_whole and value != int(value):
            return False
        if not self.step:
            return self.low <= value <= self.high
        steps = (value - self.low) / self.step
        last = round((self.high - self.low) / self.step)
        return math.isclose(steps, round(steps), abs_tol=_ROUNDING) and 0 <= round(steps) <= last

    def to_json(self) -> dict[str, Any]:
        """As it is written in a sweep file."""
        return {name: value for name, value in vars(self).items() if value not in (None, False)} | {
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True)
class Choices:
    """One of a few values, in no order."""

    values: tuple[Value, ...]

    def holds(self, value: object) -> bool:
        """Whether ``value`` could be proposed; 1, 1.0 and true are three values."""
        return any(
            value == item and isinstance(value, bool) == isinstance(item, bool) for item in self.values
        )

    def to_json(self) -> dict[str, Any]:
        """As it is written in a sweep file."""
        return {"choices": list(self.values)}


Parameter = Interval | Choices


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
        space = _read_space(given.get("space"))
        pruning = PruningRule.from_json(given.get("pruning", {}))
        pruning.check_space(space)
        limit = given.get("max_peak_memory_gib")
        if limit is not None:
            limit = _number("search.max_peak_memory_gib", limit)
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


def _read_space(value: object) -> dict[str, Parameter]:
    if not isinstance(value, Mapping) or not value:
        raise errors.invalid(
            "search.space",
            value,
            "name at least one field",
            "add one, as optimizer.matrix.lr: {low: 0.005, high: 0.08, log: true}",
        )
    space: dict[str, Parameter] = {}
    for key, given in value.items():
        where = f"search.space.{key}"
        text = f"{key}=0"
        override.split(text, where)
        if override.is_execution(text) or override.block(text) in ("seed", "init_seed", "ladder"):
            raise errors.invalid(
                where,
                given,
                "be a field that a run is computed from (not seeds, ladder, launcher, logging or trainer)",
                "leave it out of the space; seeds: lists replicates",
            )
        space[str(key)] = _read_parameter(where, given)
    return space


def _read_parameter(where: str, value: object) -> Parameter:
    if isinstance(value, list):
        return _read_choices(where, value)
    if not isinstance(value, Mapping):
        raise errors.invalid(where, value, "say what to try", "write {low: 0.01, high: 0.1} or a list")
    known = ("choices",) if "choices" in value else ("low", "high", "log", "step")
    for key in value:
        if key not in known:
            raise errors.invalid(
                f"{where}.{key}", value[key], f"be {' or '.join(known)}", errors.did_you_mean(str(key), known)
            )
    if "choices" in value:
        return _read_choices(where, value["choices"])
    for key in ("low", "high"):
        if key not in value:
            raise errors.invalid(f"{where}.{key}", None, "be given", "write {low: 0.01, high: 0.1}")
    return _read_interval(where, value)


def _read_interval(where: str, value: Mapping[str, Any]) -> Interval:
    low, high = _number(f"{where}.low", value["low"]), _number(f"{where}.high", value["high"])
    log, step = value.get("log", False), value.get("step")
    if not isinstance(log, bool):
        raise errors.invalid(f"{where}.log", log, "be true or false", "write log: true")
    if not low < high:
        raise errors.invalid(where, dict(value), "have low < high", "swap or correct the ends")
    whole = isinstance(low, int) and isinstance(high, int)
    if log and (low < 1 if whole else low <= 0):
        raise errors.invalid(
            f"{where}.low", low, f"be {'1 or more' if whole else 'above 0'} with log: true", "raise it"
        )
    if step is None:
        return Interval(low, high, log) if whole else Interval(float(low), float(high), log)
    step = _number(f"{where}.step", step)
    if log or not 0 < step <= (high - low) * (1 + _ROUNDING) or (whole and not isinstance(step, int)):
        raise errors.invalid(
            f"{where}.step",
            step,
            "be above 0, fit between the ends, be whole where they are, and stand without log",
            "leave out step or log",
        )
    steps = (high - low) / step
    if not math.isclose(steps, round(steps), abs_tol=_ROUNDING):  # else it is the last already
        high = low + math.floor(steps) * step
    return Interval(low, high, step=step) if whole else Interval(float(low), float(high), step=float(step))


def _read_choices(where: str, value: object) -> Choices:
    if not isinstance(value, list) or not value or any(isinstance(item, list | Mapping) for item in value):
        raise errors.invalid(where, value, "be a list of plain values", "write {choices: [SSSL, L]}")
    parsed: list[Value] = [_plain(item) for item in value]
    if len({fields.spelled(item) for item in parsed}) < len(parsed):
        raise errors.invalid(where, value, "hold every value once", "delete the repeated one")
    return Choices(tuple(parsed))


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, str | int | float) else str(value)


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


def _number(where: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise errors.invalid(where, value, "be a number", "write it without quotes, as 0.05")
    return value


def _whole(where: str, value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise errors.invalid(where, value, f"be a whole number, {least} or more", f"write {max(least, 20)}")
    return value
