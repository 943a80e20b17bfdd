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

from sweepkit.errors import DataError
from sweepkit.plan import text_column as column

_LINES_A_BATCH = 1_000


@dataclass(frozen=True)
class TextFile:
    """``batches`` yields lists of texts; it may be called again and yields the same.

    ``commit`` is of the hub repository that the file is read from, if it is.
    """

    name: str
    batches: Callable[[], Iterator[list[str]]]
    commit: str | None = None


def open_text(path: Path, text_column: str, rows: tuple[float, float] = (0.0, 1.0)) -> Iterator[list[str]]:
    """Texts of a file.

    Args:
        path: ends in .parquet, .jsonl, .json, .jsonl.gz, .json.gz, .jsonl.zst or .json.zst.
        text_column: the column (parquet) or key (JSON lines) with the text.
        rows: parquet only; the part to read, as fractions of the file's rows. A part that ends before the
            file does leaves at least one row.

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
            column.check(path, file.schema_arrow, text_column)
            num_rows = file.metadata.num_rows
            first, stop = (_boundary(part, num_rows) for part in rows)
            position = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                low, high = max(first, position), min(stop, position + size)
                if low < high:
                    texts = file.read_row_group(group, columns=[text_column]).column(0)
                    yield texts.slice(low - position, high - low).to_pylist()
                position += size
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
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
                if line.isspace():
                    continue
                row: Any = json.loads(line)
                if not isinstance(row, dict):
                    raise _unreadable(path, "one JSON object a line", TypeError(f"it has {line.strip():.40}"))
                if text_column not in row:
                    raise column.missing(path, text_column, list(row))
                text = row[text_column]
                if not isinstance(text, str | None):
                    texts = [name for name, value in row.items() if isinstance(value, str)]
                    raise column.no_text(path, text_column, type(text).__name__, texts)
                batch.append(_encodable(text or ""))
                if len(batch) == _LINES_A_BATCH:
                    yield batch
                    batch = []
    except (pa.ArrowException, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, "readable JSON lines", error) from error
    if batch:
        yield batch


def _boundary(part: float, num_rows: int) -> int:
    """The row at which a part ends or begins; before the end of the file, at least one row is left."""
    return num_rows if part == 1 else min(round(part * num_rows), max(num_rows - 1, 0))


def _encodable(text: str) -> str:
    """``text`` with U+FFFD for halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is corrupt or cut short ({str(error).splitlines()[0]}), but must be {what}; "
        "delete it and fetch or write it again"
    )
