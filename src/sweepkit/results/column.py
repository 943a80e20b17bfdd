"""What is known of a column of a table: dtype, unit, direction, meaning, and which numbers can be in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way is better; ``none`` where the question makes no sense."""

    lower = "lower"
    higher = "higher"
    none = "none"


@dataclass(frozen=True)
class Column:
    name: str  # "bpb_<stream>" names a family
    dtype: str  # a pandas dtype
    unit: str  # "" for none
    direction: Direction
    meaning: str
    above: float | None = None  # what every number must exceed, by what it is
    least: float | None = None  # and what it may be at least
    most: float | None = None

    def implausible(self, value: object) -> str | None:
        """Why ``value`` cannot be one of this column's; None where it can."""
        if self.dtype not in (INT, FLOAT):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r}, but must be a number"
        if not math.isfinite(value):
            return f"{value}, but must be finite"
        if self.above is not None and value <= self.above:
            return f"{value}, but must be above {self.above:g}"
        if self.least is not None and value < self.least:
            return f"{value}, but must be at least {self.least:g}"
        if self.most is not None and value > self.most:
            return f"{value}, but must be at most {self.most:g}"
        return None

    @property
    def is_family(self) -> bool:
        return "<" in self.name

    def matches(self, name: str) -> bool:
        """Whether ``name`` is this column or a member of this family."""
        prefix, _, _ = self.name.partition("<")
        return name.startswith(prefix) and len(name) > len(prefix) if self.is_family else name == self.name


TEXT, INT, FLOAT, BOOL = "string", "Int64", "Float64", "boolean"
TIME = "datetime64[us, UTC]"
NO, LOW, HIGH = Direction.none, Direction.lower, Direction.higher
