"""Cells as numbers, truth values or text: what is written for a missing one, for infinity, for a decimal.

A column whose every cell is a number is one of numbers; a column with a documented meaning has to be what it
is there for, or the cell is refused. Nothing is rounded, and no unit is taken off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from sweepkit.results import columns
from sweepkit.results.others.source import Source

_MISSING = frozenset({"", "na", "n/a", "<na>", "#n/a", "nan", "none", "null", "-", "--", "—", "–", "?"})
_TRUTH = {"true": True, "false": False, "yes": True, "no": False}
_WORDS = {
    columns.INT: ("be a whole number", "write it without a point or a comma"),
    columns.FLOAT: ("be a number", "leave the cell empty where nothing was measured"),
    columns.BOOL: ("be true or false", "write one of them"),
    columns.TIME: ("be a moment as ISO 8601", "write 2026-01-31T12:00:00Z"),
}
#: The decimal mark of a table that writes 1.234,56; what a number with points of thousands looks like.
THOUSANDS = ".,"
WITH_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?")
#: The same with commas of thousands, and where a cell is no decimal: 1,234 may be 1.234 somewhere.
COMMAS_OF_THOUSANDS = ",."
_WITH_COMMAS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
SURELY_WITH_COMMAS = re.compile(r"[+-]?[1-9]\d{0,2}((,\d{3})+\.\d+|(,\d{3}){2,})")
#: A number that something else is written beside: 97.3%, 12 s, 1,234.
_BESIDE = re.compile(r"[+-]?[\d.,]*\d[\d.,]*\s*[^\d.,]{0,12}")
#: More digits than any number of a run; what is longer is a name.
_LONGEST = 40


def is_missing(value: object) -> bool:
    """Whether a cell says that there is nothing."""
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_nan(value: object) -> bool:
    """Whether a cell is a number that was computed and is none."""
    text = value.strip().lower() if isinstance(value, str) else value
    return text == "nan" or (isinstance(value, float) and math.isnan(value))


def number(value: object, decimal: str = ".") -> int | float | None:
    """A cell as a number, whole where it is written so; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > _LONGEST or "_" in value:
        return None
    text = value.strip().replace("−", "-")
    if decimal == THOUSANDS and WITH_THOUSANDS.fullmatch(text):
        text = text.replace(".", "")
    if decimal == COMMAS_OF_THOUSANDS and _WITH_COMMAS.fullmatch(text):
        text = text.replace(",", "")
    if decimal in (",", THOUSANDS) and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return int(text) if text.lstrip("+-").isdecimal() else float(text.replace("∞", "inf"))
    except ValueError:
        return None


def whole(value: object, decimal: str = ".") -> int | None:
    """A cell as a whole number: ``12``, and ``12.0`` as pandas writes one beside missing cells."""
    found = number(value, decimal)
    if found is None or not math.isfinite(found) or found != int(found) or abs(found) >= 2**63:
        return None
    return int(found)


def truth(value: object) -> bool | None:
    """A cell as a truth value; None where it is none."""
    return value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower())


def guessed(cells: Sequence[Any], decimal: str) -> tuple[str, str | None]:
    """The dtype of a column that nobody has declared; and a sentence where a few cells are no numbers."""
    there = [cell for cell in cells if not is_missing(cell)]
    if there and all(truth(cell) is not None for cell in there):
        return columns.BOOL, None
    numbers = [number(cell, decimal) for cell in there]
    others = [cell for cell, found in zip(there, numbers, strict=True) if found is None]
    if not there or len(others) == len(there):
        return columns.TEXT, None
    if others:
        most = len(others) * 5 < len(there)
        said = f"{len(there) - len(others)} numbers and {len(others)} other, as {others[0]!r}"
        return columns.TEXT, said if most else None
    is_whole = all(isinstance(found, int) and abs(found) < 2**63 for found in numbers)
    return columns.INT if is_whole else columns.FLOAT, None


def read(source: Source, name: str, cells: Sequence[Any], dtype: str) -> list[Any]:
    """A column as its dtype has it; None for what is missing.

    Raises:
        ConfigError: a cell is none of these: its place, its value and what it should be.
    """
    if dtype == columns.TEXT:
        return [None if cell is None or str(cell).strip() == "" else text(cell) for cell in cells]
    makers: dict[str, Callable[[Any], Any]] = {
        columns.INT: lambda cell: whole(cell, source.decimal),
        columns.FLOAT: lambda cell: number(cell, source.decimal),
        columns.BOOL: truth,
        columns.TIME: lambda cell: text(cell) or None,
    }
    found = []
    for place, cell in enumerate(cells):
        value = None if is_missing(cell) else makers[dtype](cell)
        if value is None and not is_missing(cell):
            contract, remedy = _WORDS[dtype]
            if isinstance(cell, str) and _BESIDE.fullmatch(cell.strip()):
                remedy = "write the number alone, without a unit, %, or commas of thousands"
            renamed = f"{remedy}, or give the column another name (--map {name}=their_{name})"
            raise source.refused(place, name, _shown(cell), contract, renamed)
        found.append(float(value) if dtype == columns.FLOAT and value is not None else value)
    return found


def typed(source: Source, names: Sequence[str] = ()) -> pd.DataFrame:
    """A table as it is, a column of numbers where all its cells are.

    Args:
        names: columns that are text whatever they hold: 0.10 is no 0.1, and a variant may be called none.
    """
    made = {}
    for name in map(str, source.cells.columns):
        cells = list(source.cells[name])
        dtype = columns.TEXT if name in names else guessed(cells, source.decimal)[0]
        made[name] = pd.Series(read(source, name, cells, dtype), dtype=dtype)
    return pd.DataFrame(made)


def text(cell: object) -> str:
    """A cell as text: a name keeps what was written, 0.10 is no 0.1."""
    return cell.strip() if isinstance(cell, str) else str(cell)


def _shown(cell: object) -> object:
    return cell if not isinstance(cell, str) or len(cell) <= _LONGEST else cell[:_LONGEST] + "..."
