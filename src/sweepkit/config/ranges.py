"""Ranges of single fields: a test, and the words for it in an error and in the field reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweepkit import errors


@dataclass(frozen=True)
class Range:
    """Which values a field may have.

    Attributes:
        holds: the test; of a value that has the field's type already. None is never asked about: where the
            type allows it, it means "not set".
        contract: what must hold, written to follow "but must".
        remedy: what to do, with ``{key}`` for the dotted field and ``{example}`` for a value that passes.
        of_items: it is the range of every single value in lists and mappings, and not of the whole.
    """

    holds: Callable[[Any], bool]
    contract: str
    remedy: str = "try {example}"
    of_items: bool = False

    def check(self, key: str, value: Any, example: str) -> None:
        """Raise ConfigError unless ``value`` lies in the range (and, a whole number, in 64 bits)."""
        if outside := self.outside(value):
            names, found, contract = outside
            remedy = self.remedy.replace("{key}", key).replace("{example}", example)
            raise errors.invalid(".".join([key, *map(str, names)]), found, contract, remedy)

    def outside(self, value: Any) -> tuple[tuple[object, ...], Any, str] | None:
        """What of ``value`` does not lie in the range: its names within, itself, the contract; else None."""
        if not self.of_items:
            contract = self._broken(value)
            return None if contract is None else ((), value, contract)
        for names, item in _items(value):
            if (contract := self._broken(item)) is not None:
                return names, item, contract
        return None

    def _broken(self, value: Any) -> str | None:
        if type(value) is int and not -(2**63) < value < 2**63:
            return "fit in 64 bits"
        if value is None or self.holds(value):
            return None
        if isinstance(value, float) and not math.isfinite(value) and "finite" not in self.contract:
            return f"be finite and {self.contract.removeprefix('be ')}"
        return self.contract


def _items(value: Any, *names: object) -> Iterator[tuple[tuple[object, ...], Any]]:
    """The single values in lists and mappings, each with its names from the outside in."""
    if isinstance(value, Mapping):
        inside: Iterable[tuple[object, Any]] = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    else:
        yield names, value
        return
    for name, item in inside:
        yield from _items(item, *names, name)


def each(limits: Range) -> Range:
    """The range of every single value in lists and mappings."""
    return replace(limits, of_items=True)


def at_least(low: float) -> Range:
    return Range(lambda value: value >= low and math.isfinite(value), f"be at least {low}")


def between(low: float, high: float) -> Range:
    """Both ends count."""
    return Range(lambda value: low <= value <= high, f"lie between {low} and {high}")


def more_than_zero(most: float = math.inf) -> Range:
    """Finite, and at most ``most``."""
    limit = "" if most == math.inf else f" and at most {most:.12g}"
    return Range(lambda value: 0 < value <= most and value < math.inf, f"be more than 0{limit}")


def below_one() -> Range:
    return Range(lambda value: 0 <= value < 1, "be at least 0 and less than 1")


def finite() -> Range:
    return Range(math.isfinite, "be a finite number")


def not_empty() -> Range:
    return Range(lambda value: bool(value.strip()), "not be empty", "try {key}={example}")


def auto_or_at_least_one() -> Range:
    return Range(
        lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
        "be auto or a whole number of at least 1",
        "try auto or {example}",
    )
