"""Ranges of single fields: a test, and the words for it in an error and in the field reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
    """

    holds: Callable[[Any], bool]
    contract: str
    remedy: str = "try {example}"

    def check(self, key: str, value: Any, example: str) -> None:
        """Raise ConfigError unless ``value`` lies in the range (and, a whole number, in 64 bits)."""
        is_too_large = isinstance(value, int) and abs(value) >= 2**63
        if is_too_large or (value is not None and not self.holds(value)):
            contract = "fit in 64 bits" if is_too_large else self.contract
            raise errors.invalid(key, value, contract, self.remedy.format(key=key, example=example))


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


def one_of(values: Iterable[str]) -> Range:
    names = tuple(values)
    return Range(lambda value: value in names, f"be one of [{', '.join(names)}]")
