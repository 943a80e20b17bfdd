"""One file of documents, read batch by batch: parquet, or JSON lines (plain, .gz or .zst).

Batches come in a fixed order, so "file 3, batch 7" names the same documents every time and an
interrupted tokenization can go on where it stopped.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepkit.errors import DataError, did_you_mean

_LINES_A_BATCH = 1_000


@dataclass(frozen=True)
class TextFile:
    """``batches`` yields lists of texts; it may be called again and yields the same."""

    name: str
    batches: Callable[[], Iterator[list[str]]]


def open_text(path: Path, text_column: str, rows: tuple[float, float] = (0.0, 1.0)) -> Iterator[list[str]]:
    """Texts of a file.

    Args:
        path: ends in .parquet, .jsonl, .json, .jsonl.gz, .json.gz, .jsonl.zst or .json.zst.
        text_column: the column (parquet) or key (JSON lines) with the text.
        rows: parquet only; the part to read, as fractions of the file's rows.

    Raises:
        DataError: the file is corrupt or has no such column; the message names the file.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, text_column, rows)
    else:
        yield from _json_lines(path, text_column)


def _parquet(path: Path, text_column: str, rows: tuple[float, float]) -> Iterator[list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if text_column not in names:
                raise _no_column(path, text_column, names)
            kind = file.schema_arrow.field(text_column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise DataError(
                    f"dataset.text_column is {text_column!r}, of type {kind} in {path}, but must be text; "
                    f"{did_you_mean(text_column, names)}"
                )
            num_rows = file.metadata.num_rows
            first, stop = (round(part * num_rows) for part in rows)
            position = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                low, high = max(first, position), min(stop, position + size)
                if low < high:
                    column = file.read_row_group(group, columns=[text_column]).column(0)
                    yield column.slice(low - position, high - low).to_pylist()
                position += size
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, "a readable parquet file", error) from error


def _json_lines(path: Path, text_column: str) -> Iterator[list[str]]:
    import pyarrow as pa

    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    batch: list[str] = []
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            for line in io.TextIOWrapper(stream, encoding="utf-8"):
                row: dict[str, Any] = json.loads(line)
                if text_column not in row:
                    raise _no_column(path, text_column, list(row))
                batch.append(row[text_column])
                if len(batch) == _LINES_A_BATCH:
                    yield batch
                    batch = []
    except (pa.ArrowException, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, "readable JSON lines", error) from error
    if batch:
        yield batch


def _no_column(path: Path, text_column: str, names: list[str]) -> DataError:
    return DataError(
        f"dataset.text_column is {text_column!r}, but must name a column of {path}; "
        f"{did_you_mean(text_column, names)}"
    )


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is corrupt or cut short ({str(error).splitlines()[0]}), but must be {what}; "
        "delete it and fetch or write it again"
    )
