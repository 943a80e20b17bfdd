"""JSON, JSON lines and parquet: values have types, and nested objects become dotted columns."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweepkit import fsio
from sweepkit.errors import invalid
from sweepkit.results.others.source import Source

#: Columns of a JSON object that gives every run a number.
KEY, VALUE = "key", "value"


def read(path: Path, kind: str, _: str | None = None) -> Source:
    """A list of objects, an object a line, an object of columns or of numbers, or a parquet table."""
    if kind == "parquet":
        return _parquet(path)
    data = fsio.read_bytes(path)
    try:
        text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise invalid(path.name, str(error), "be UTF-8 text", "save it again") from None
    rows, places = _lines(path, text) if kind in ("jsonl", "ndjson") else _whole(path, text)
    flat = [flattened(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    cells = pd.DataFrame({name: [row.get(name) for row in flat] for name in names}, dtype=object)
    return Source(path.name, kind, cells, places, hashlib.sha256(data).hexdigest())


def flattened(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; a list is its JSON."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flattened(value, f"{name}.")
        else:
            found[name] = json.dumps(value) if isinstance(value, list | tuple) else value
    return found


def _lines(path: Path, text: str) -> tuple[list[Any], list[str]]:
    rows, places = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        rows.append(_parsed(path, line, place))
        places.append(place)
        if not isinstance(rows[-1], dict):
            raise invalid(f"{path.name}, {place}", rows[-1], "be a JSON object", "write {...} for every run")
    return rows, places


def _whole(path: Path, text: str) -> tuple[list[Any], list[str]]:
    content = _parsed(path, text, "line 1")
    if isinstance(content, dict) and content and all(isinstance(item, list) for item in content.values()):
        content = [dict(zip(content, row, strict=False)) for row in _transposed(path, content)]
    elif isinstance(content, dict) and not any(isinstance(item, list) for item in content.values()):
        are_objects = all(isinstance(item, dict) for item in content.values())
        content = [{KEY: key} | (value if are_objects else {VALUE: value}) for key, value in content.items()]
    if not isinstance(content, list):
        remedy = "write [{...}, {...}], an object a run"
        raise invalid(path.name, type(content).__name__, "be a list of objects, or an object of runs", remedy)
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise invalid(f"{path.name}, row {number}", row, "be a JSON object", "write {...} for every run")
    return content, [f"row {number}" for number in range(1, len(content) + 1)]


def _transposed(path: Path, columns: Mapping[str, list[Any]]) -> list[tuple[Any, ...]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise invalid(path.name, lengths, "have columns of one length", "write null where nothing is known")
    return list(zip(*columns.values(), strict=True))


def _parsed(path: Path, text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = (
            f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) and place == "line 1" else place
        )
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise invalid(
            f"{path.name}, {at}", said, "be JSON", "write it again; half a line ends a run"
        ) from None


def _parquet(path: Path) -> Source:
    data = path.read_bytes()
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError, NotImplementedError) as error:
        raise invalid(path.name, str(error).splitlines()[0], "be a parquet file", "export it again") from None
    cells = pd.DataFrame({str(name): _plain(frame[name]) for name in frame.columns}, dtype=object)
    places = [f"row {number}" for number in range(1, len(cells) + 1)]
    return Source(path.name, "parquet", cells, places, hashlib.sha256(data).hexdigest())


def _plain(values: pd.Series[Any]) -> list[Any]:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return [None if pd.isna(value) else value.isoformat() for value in values]
    return [_as_python(value) for value in values.tolist()]


def _as_python(value: Any) -> Any:
    """A cell as JSON would have it: a decimal is a number, a list its JSON."""
    if isinstance(value, np.ndarray):
        return json.dumps(value.tolist(), default=str)
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Decimal):
        return float(value)
    return None if value is pd.NA else value
