"""``space:`` of a search: field or group → an interval or a few choices.

What an interval holds follows from its field: whole numbers where the schema has those, else floats, however
its ends are spelled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweepkit import errors
from sweepkit.config.schema import kinds
from sweepkit.sweep import fields, override

Value = str | int | float | bool | None
_ROUNDING = 1e-6  # in steps: 0.1 + 2 × 0.1 is not 0.3


@dataclass(frozen=True)
class Interval:
    """All numbers between two ends, which count; whole numbers where both ends are of type int.

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


def read(value: object) -> dict[str, Parameter]:
    """A space from a ``space:`` block or from its JSON. Raises ConfigError, with the field and the remedy."""
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
        space[str(key)] = _read_parameter(str(key), given)
    return space


def _read_parameter(key: str, value: object) -> Parameter:
    where = f"search.space.{key}"
    if isinstance(value, list):
        return _read_choices(key, value)
    if not isinstance(value, Mapping):
        raise errors.invalid(where, value, "say what to try", "write {low: 0.01, high: 0.1} or a list")
    known = ("choices",) if "choices" in value else ("low", "high", "log", "step")
    for name in value:
        if name not in known:
            remedy = errors.did_you_mean(str(name), known)
            raise errors.invalid(f"{where}.{name}", value[name], f"be {' or '.join(known)}", remedy)
    if "choices" in value:
        return _read_choices(key, value["choices"])
    for end in ("low", "high"):
        if end not in value:
            raise errors.invalid(f"{where}.{end}", None, "be given", "write {low: 0.01, high: 0.1}")
    return _read_interval(key, value)


def _read_interval(key: str, value: Mapping[str, Any]) -> Interval:
    where = f"search.space.{key}"
    low, high = number(f"{where}.low", value["low"]), number(f"{where}.high", value["high"])
    log, step = value.get("log", False), value.get("step")
    if not isinstance(log, bool):
        raise errors.invalid(f"{where}.log", log, "be true or false", "write log: true")
    if not low < high:
        raise errors.invalid(where, dict(value), "have low < high", "swap or correct the ends")
    whole = _is_whole(key, value, low, high)
    low, high = (int(low), int(high)) if whole else (float(low), float(high))
    if log and (low < 1 if whole else low <= 0):
        raise errors.invalid(
            f"{where}.low", low, f"be {'1 or more' if whole else 'above 0'} with log: true", "raise it"
        )
    if step is None:
        return Interval(low, high, log)
    step = number(f"{where}.step", step)
    if log or not 0 < step <= (high - low) * (1 + _ROUNDING) or (whole and step != int(step)):
        raise errors.invalid(
            f"{where}.step",
            step,
            "be above 0, fit between the ends, be whole where they are, and stand without log",
            "leave out step or log",
        )
    _check_divides(where, low, high, step)
    return Interval(low, high, step=int(step) if whole else float(step))


def _is_whole(key: str, value: Mapping[str, Any], low: float, high: float) -> bool:
    """Whether the interval holds whole numbers only, which its field decides.

    Raises:
        ConfigError: the field is of another kind, or takes whole numbers and an end is none.
    """
    where, of_field = f"search.space.{key}", kinds(key)
    if not of_field:  # a group, or unknown: refused with its name when it is composed
        return isinstance(low, int) and isinstance(high, int)
    if float in of_field:
        return False
    if int not in of_field:
        raise errors.invalid(where, dict(value), "be a list, for its field takes no numbers", "list choices")
    for name, end in (("low", low), ("high", high)):
        if end != int(end):
            raise errors.invalid(
                f"{where}.{name}", end, "be whole, as its field is", f"write {math.floor(end)}"
            )
    return True


def _check_divides(where: str, low: float, high: float, step: float) -> None:
    """Raises ConfigError where ``high`` could never be proposed; names the nearest ranges and step."""
    steps = (high - low) / step
    if math.isclose(steps, round(steps), abs_tol=_ROUNDING):
        return
    ends = [float(f"{low + count * step:.12g}") for count in (math.floor(steps), math.ceil(steps))]
    whole = isinstance(low, int)
    nearest = [str(int(end)) if whole else str(end) for end in ends]
    other = "" if whole else f", or step: {(high - low) / max(1, round(steps)):.6g}"
    raise errors.invalid(
        f"{where}.step",
        step,
        f"divide high - low ({low} to {high} is {steps:.4g} steps)",
        f"write high: {' or '.join(nearest)}{other}",
    )


def _read_choices(key: str, value: object) -> Choices:
    where = f"search.space.{key}"
    if not isinstance(value, list) or not value or any(isinstance(item, list | Mapping) for item in value):
        raise errors.invalid(where, value, "be a list of plain values", "write {choices: [SSSL, L]}")
    parsed: list[Value] = [_plain(item) for item in value]
    if float in kinds(key):  # there 1 and 1.0 are one value
        parsed = [float(item) if type(item) is int else item for item in parsed]
    if len({fields.spelled(item) for item in parsed}) < len(parsed):
        raise errors.invalid(where, value, "hold every value once", "delete the repeated one")
    return Choices(tuple(parsed))


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def number(where: str, value: object) -> int | float:
    """A finite number. Raises ConfigError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise errors.invalid(where, value, "be a number", "write it without quotes, as 0.05")
    return value
