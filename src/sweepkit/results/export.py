"""The runs table in the formats other programs read. Missing is empty, null or parquet's null; never 0."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd

from sweepkit import fsio
from sweepkit.errors import invalid
from sweepkit.printable import printable
from sweepkit.results import columns
from sweepkit.results.columns import Column

#: What a spreadsheet runs instead of showing it.
_FORMULA = ("=", "+", "-", "@", "\t")
FORMATS = ("csv", "json", "markdown", "parquet")


def encode(frame: pd.DataFrame, format: str) -> bytes:
    """``frame`` as the bytes of a file.

    Args:
        format: csv (UTF-8, header line), json (a list of objects), markdown (a pipe table) or parquet.
    """
    if format == "parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        return buffer.getvalue()
    encoders = {"csv": csv, "json": _json, "markdown": _markdown}
    if format not in encoders:
        raise invalid("--format", format, f"be one of {', '.join(FORMATS)}", "choose one of them")
    return encoders[format](frame).encode()


def write(frame: pd.DataFrame, path: Path, format: str) -> None:
    """Write ``frame`` atomically to ``path``."""
    content = encode(frame, format)

    def fill(file: IO[bytes]) -> None:
        file.write(content)

    fsio.write_atomic(path, fill)


def text(value: object, digits: int = 6) -> str:
    """A value for people: at most ``digits`` significant digits, nothing for a missing one."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{digits}g}"
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def csv(frame: pd.DataFrame) -> str:
    """UTF-8 with a header line; text that a spreadsheet would take for a formula begins with a quote.

    A level that is null is written so: an empty cell would say that the run has none.
    """
    levels = {name: frame[name].astype(object) for name in frame if str(name).startswith(columns.LEVEL)}
    frame = frame.assign(
        **{str(name): values.where(values.notna(), "null") for name, values in levels.items()}
    )
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"])
    safe = frame.assign(**{str(name): values.map(_as_text) for name, values in texts.items()})
    return safe.rename(columns=_as_text).to_csv(index=False)


def read_csv(path: Path, known: Sequence[Column]) -> pd.DataFrame:
    """The inverse of ``csv``: every number as it was, missing ones missing; levels that are numbers too.

    Args:
        path: a file, compressed where its name ends in .gz.
        known: the documented columns, which say what is a number.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.assign(**{str(name): _parsed(str(name), list(frame[name]), known) for name in frame})


def _parsed(name: str, texts: list[str], known: Sequence[Column]) -> pd.Series[Any]:
    column = columns.find(name, tuple(known))
    dtype = column.dtype if column else columns.TEXT
    if name.startswith("level_") and (there := [text for text in texts if text]):
        is_whole, is_number = (all(map(test, there)) for test in (_is_whole, _is_number))
        dtype = columns.INT if is_whole else columns.FLOAT if is_number else dtype
    kinds: dict[str, Callable[[str], Any]] = {
        columns.INT: int,
        columns.FLOAT: float,
        columns.BOOL: "True".__eq__,
    }
    reading = kinds.get(dtype, _without_quote)
    values = [reading(text) if text else None for text in texts]
    return pd.Series(values, dtype=None if dtype == columns.TIME else dtype)


def _without_quote(text: str) -> str:
    """Text that ``_as_text`` put a quote before, as it was."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def _is_whole(text: str) -> bool:
    return text.lstrip("-").isdecimal()


def _as_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = printable(value)
    return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _json(frame: pd.DataFrame) -> str:
    """A list of objects, one a line; floats are written so that they read back unchanged."""
    names = list(frame.columns)
    rows = [
        json.dumps(dict(zip(names, map(_plain, row), strict=True)), allow_nan=False)
        for row in frame.itertuples(index=False, name=None)
    ]
    return "[" + ",".join(f"\n {row}" for row in rows) + "\n]\n"


def _plain(value: Any) -> Any:
    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _markdown(frame: pd.DataFrame) -> str:
    def line(cells: list[str]) -> str:
        return (
            "| " + " | ".join(printable(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )

    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    lines = [line(list(frame.columns)), "|" + "|".join("---:" if right else "---" for right in numeric) + "|"]
    lines += [line([text(value) for value in row]) for row in frame.itertuples(index=False, name=None)]
    return "\n".join(lines) + "\n"
