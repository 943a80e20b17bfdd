"""``space:`` of a search: field or group → an interval or a few choices.

What an interval holds follows from its field: whole numbers where the schema has those, else floats, however
its ends are spelled. ``when: {model.window_pattern: SSSL}`` proposes a value only where another field of the
space, listed before, has one of those; elsewhere the field is the reference's, and a point leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweepkit import errors
from sweepkit.config.facts import REQUIRED, fact, spelled
from sweepkit.config.schema import kinds
from sweepkit.sweep import set_fields

Value = str | int | float | bool | None
_ROUNDING = 1e-6  # in steps: 0.1 + 2 × 0.1 is not 0.3


def _is_same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _lists(value: Any) -> Any:
    """Conditions, a single value as a list of it."""
    if not isinstance(value, Mapping):
        return value
    return {key: given if isinstance(given, list | tuple) else [given] for key, given in value.items()}


def _where(when: Mapping[str, tuple[Value, ...]]) -> str:
    said = (f"{key} is {' or '.join(map(spelled, values))}" for key, values in when.items())
    return f", where {' and '.join(said)}" if when else ""


@dataclass(frozen=True)
class Interval:
    """All numbers between two ends, which count; whole numbers where both ends are of type int."""

    low: int | float = fact(REQUIRED, "the lower end, which counts", example="0.01")
    high: int | float = fact(REQUIRED, "the upper end, which counts", example="0.1")
    log: bool = fact(False, "whether equal ratios are equally likely")
    step: int | float | None = fact(
        None, "only low + k × step, with high as the last of these; null: any number", example="0.01"
    )
    when: dict[str, tuple[Value, ...]] = fact(
        {},
        "other fields of the space → the values with which this one is proposed; empty: always",
        read=_lists,
    )

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def on_step(self, value: float) -> float:
        """The nearest step, as it is written: 0.7 + 0.1 is 0.8, and not 0.7999999999999999."""
        if not self.step or self.is_whole:
            return value
        return float(f"{self.low + round((value - self.low) / self.step) * self.step:.12g}")

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

    def __str__(self) -> str:
        """As it is written in a sweep file."""
        given = {name: value for name, value in vars(self).items() if value not in (None, False, {})}
        given = {"low": self.low, "high": self.high} | given
        return f"{{{', '.join(f'{name}: {spelled(value)}' for name, value in given.items())}}}"

    @property
    def in_words(self) -> str:
        """``0.005 to 0.08, log``: for tables."""
        how = f" in steps of {spelled(self.step)}" if self.step else ""
        how += ", log" if self.log else ""
        return f"{spelled(self.low)} to {spelled(self.high)}{how}{_where(self.when)}"


@dataclass(frozen=True)
class Choices:
    """One of a few values, in no order."""

    choices: tuple[Value, ...] = fact(REQUIRED, "plain values; a list says the same", example="[SSSL, L]")
    when: dict[str, tuple[Value, ...]] = fact(
        {},
        "other fields of the space → the values with which this one is proposed; empty: always",
        example="{model.window_pattern: [SSSL]}",
        read=_lists,
    )

    def holds(self, value: object) -> bool:
        """Whether ``value`` could be proposed; 1, 1.0 and true are three values."""
        return any(_is_same(value, item) for item in self.choices)

    def __str__(self) -> str:
        """As it is written in a sweep file."""
        if not self.when:
            return spelled(self.choices)
        return f"{{choices: {spelled(self.choices)}, when: {spelled(self.when)}}}"

    @property
    def in_words(self) -> str:
        """``SSSL or L``: for tables."""
        return f"{' or '.join(map(spelled, self.choices))}{_where(self.when)}"


Parameter = Interval | Choices


def applies(parameter: Parameter, chosen: Mapping[str, Value]) -> bool:
    """Whether a value is proposed, given those of the fields before it that are."""
    return all(
        key in chosen and any(_is_same(chosen[key], value) for value in values)
        for key, values in parameter.when.items()
    )


def parents(space: Mapping[str, Parameter], key: str) -> dict[str, Value]:
    """Values of other fields with which ``key`` is proposed."""
    found: dict[str, Value] = {}
    for parent, values in space[key].when.items():
        found |= parents(space, parent) | {parent: values[0]}
    return found


def check_conditions(space: Mapping[str, Parameter]) -> None:
    """Raises ConfigError where a condition names no field before it, or a value that is never proposed."""
    known = list(space)
    for place, (key, parameter) in enumerate(space.items()):
        for parent, values in parameter.when.items():
            where = f"search.space.{key}.when"
            if parent not in known[:place]:
                raise errors.invalid(
                    where,
                    parent,
                    "be a field of the space that is listed before",
                    "move it up" if parent in known else errors.did_you_mean(parent, known),
                )
            on = space[parent]
            if isinstance(on, Interval) and not on.is_whole and on.step is None:
                raise errors.invalid(
                    f"{where}.{parent}",
                    list(values),
                    f"be values that {parent} takes, of which {on} is as good as never one",
                    f"give {parent} a step, or list its values",
                )
            outside = [value for value in values if not space[parent].holds(value)]
            if outside or not values:
                raise errors.invalid(
                    f"{where}.{parent}",
                    outside[0] if outside else list(values),
                    f"be proposed for {parent} ({space[parent]})",
                    "correct the value, or add it there",
                )


def as_written(value: Any) -> Any:
    """A ``space:`` block with its lists as choices, and numbers as the fields of the schema have them.

    Raises:
        ConfigError: there is no field in it, or one whose value says nothing.
    """
    if not isinstance(value, Mapping) or not value:
        raise errors.invalid(
            "search.space",
            value,
            "name at least one field",
            "add one, as optimizer.matrix.lr: {low: 0.005, high: 0.08, log: true}",
        )
    return {key: _as_written(str(key), given) for key, given in value.items()}


def _as_written(key: str, given: Any) -> Mapping[Any, Any]:
    where = f"search.space.{key}"
    given = {"choices": given} if isinstance(given, list) else given
    if not isinstance(given, Mapping):
        raise errors.invalid(where, given, "say what to try", "write {low: 0.01, high: 0.1} or a list")
    of_field, found = kinds(key), dict(given)
    if "choices" in given:
        choices = given["choices"]
        if not isinstance(choices, list | tuple) or not choices or any(map(_is_nested, choices)):
            raise errors.invalid(where, choices, "be a list of plain values", "write {choices: [SSSL, L]}")
        if float in of_field:  # there 1 and 1.0 are one value
            found["choices"] = [float(item) if type(item) is int else item for item in choices]
        return found
    numbers = {name: given[name] for name in ("low", "high", "step") if _is_number(given.get(name))}
    if float in of_field:
        found |= {name: float(number) for name, number in numbers.items()}
    elif int in of_field:  # a fraction stays, to be refused by name
        found |= {name: int(number) if number == int(number) else number for name, number in numbers.items()}
    elif not of_field and any(isinstance(number, float) for number in numbers.values()):
        found |= {name: float(number) for name, number in numbers.items()}
    return found


def _is_nested(value: object) -> bool:
    return isinstance(value, list | tuple | Mapping)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check(key: str, parameter: Parameter) -> None:
    """What a parameter's type does not say: its field, its ends and its steps.

    Raises:
        ConfigError: with the field and the remedy.
    """
    where, text = f"search.space.{key}", f"{key}=0"
    set_fields.split(text, where)
    if set_fields.is_execution(text) or set_fields.block(text) in ("seed", "init_seed", "ladder"):
        raise errors.invalid(
            where,
            str(parameter),
            "be a field that a run is computed from (not seeds, ladder, launcher, logging or trainer)",
            "leave it out of the space; seeds: lists replicates",
        )
    if isinstance(parameter, Choices):
        if len({spelled(item) for item in parameter.choices}) < len(parameter.choices):
            raise errors.invalid(
                where, list(parameter.choices), "hold every value once", "delete the repeated one"
            )
        return
    _check_numbers(key, parameter)
    low, high, step = parameter.low, parameter.high, parameter.step
    if not low < high:
        raise errors.invalid(where, str(parameter), "have low < high", "swap or correct the ends")
    if parameter.log and (low < 1 if parameter.is_whole else low <= 0):
        least = "1 or more" if parameter.is_whole else "above 0"
        raise errors.invalid(f"{where}.low", low, f"be {least} with log: true", "raise it")
    if step is None:
        return
    if parameter.log or not 0 < step <= (high - low) * (1 + _ROUNDING):
        raise errors.invalid(
            f"{where}.step",
            step,
            "be above 0, fit between the ends, be whole where they are, and stand without log",
            "leave out step or log",
        )
    _check_divides(where, low, high, step)


def _check_numbers(key: str, interval: Interval) -> None:
    """Ends and step are finite, and whole where the field holds whole numbers."""
    where, of_field = f"search.space.{key}", kinds(key)
    if of_field and float not in of_field and int not in of_field:
        raise errors.invalid(
            where, str(interval), "be a list, for its field takes no numbers", "list choices"
        )
    for name in ("low", "high", "step"):
        number = getattr(interval, name)
        if number is not None and not math.isfinite(number):
            raise errors.invalid(f"{where}.{name}", number, "be a number", "write a finite one, as 0.05")
        if isinstance(number, float) and of_field and float not in of_field:
            raise errors.invalid(
                f"{where}.{name}", number, "be whole, as its field is", f"write {math.floor(number)}"
            )


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
