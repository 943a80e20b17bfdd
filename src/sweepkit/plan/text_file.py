"""One file of documents, read batch by batch: parquet, Arrow, JSON lines, CSV, plain text.

Batches come in a fixed order, so "file 3, batch 7" names the same documents every time and an
interrupted tokenization can go on where it stopped. What is wrong is said with the file and its line.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sweepkit.errors import DataError
from sweepkit.plan import text_column as column

_A_BATCH = 1_000
#: Endings behind those of JSON lines, CSV and plain text → how they are packed.
PACKED = {".gz": "gzip", ".zst": "zstd"}
_BOM = b"\xef\xbb\xbf"


class Format(Enum):
    """What a file is by its name: the endings of each."""

    parquet = (".parquet",)
    arrow = (".arrow",)
    jsonl = (".jsonl", ".ndjson", ".json")
    csv = (".csv", ".tsv")
    txt = (".txt", ".text")


def format_of(path: Path) -> Format | None:
    """The format of a file by its name; None where it is none of ours."""
    name = path.name.lower()
    for packed in PACKED:
        if name.endswith(packed):
            found = format_of(Path(name.removesuffix(packed)))
            return None if found in (Format.parquet, Format.arrow) else found
    return next((item for item in Format if name.endswith(item.value)), None)


@dataclass(frozen=True)
class TextFile:
    """``batches`` yields lists of texts; it may be called again and yields the same.

    ``commit`` is of the hub repository that the file is read from, if it is. ``source_of`` tells which source
    a text of the batch that was read last is of, where the file mixes several.
    """

    name: str
    batches: Callable[[], Iterator[list[str]]]
    commit: str | None = None
    source_of: Callable[[str], str] | None = None

    def source(self, text: str) -> str:
        """The name of the source that ``text`` is of: the file's own, unless it mixes several."""
        return self.name if self.source_of is None else self.source_of(text)


def open_text(
    path: Path,
    text_column: str,
    rows: tuple[float, float] = (0.0, 1.0),
    by_blank_lines: bool = False,
) -> Iterator[list[str]]:
    """Texts of a file.

    Args:
        path: its name says its format.
        text_column: the column, or key of JSON lines, with the text; plain text has none.
        rows: the part to read, as fractions of the file's documents. A part that ends before the file does
            leaves at least one document.
        by_blank_lines: documents of plain text are what lies between blank lines, instead of the file.

    Raises:
        DataError: the file is corrupt, empty, or has no such column; the message names file and line.
    """
    kind = format_of(path)
    if kind is Format.parquet:
        yield from _parquet(path, text_column, rows)
        return

    def documents() -> Iterator[str]:
        if kind is Format.arrow:
            return _arrow(path, text_column)
        if kind is Format.csv:
            return _csv(path, text_column)
        if kind is Format.txt:
            return _paragraphs(path) if by_blank_lines else _whole(path)
        return _json_lines(path, text_column)

    first, stop = 0, sys.maxsize
    if rows != (0.0, 1.0):
        num_rows = sum(1 for _ in documents())
        first, stop = (_boundary(part, num_rows) for part in rows)
    batch: list[str] = []
    found = False
    for number, text in enumerate(documents()):
        found = found or bool(text)
        if first <= number < stop:
            batch.append(text)
        if len(batch) == _A_BATCH:
            yield batch
            batch = []
    if not found:
        raise DataError(f"{path} holds no text, but must hold a document at least; write it again or move it")
    if batch:
        yield batch


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


def _arrow(path: Path, text_column: str) -> Iterator[str]:
    """Of a file that ``datasets`` saved (a stream), or of Arrow's own format."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            try:
                reader: Any = pa.ipc.open_stream(source)
                batches: Iterable[Any] = reader
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
                batches = map(reader.get_batch, range(reader.num_record_batches))
            column.check(path, reader.schema, text_column)
            for batch in batches:
                for text in batch.column(text_column).to_pylist():
                    yield text or ""
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, "a readable Arrow file", error) from error


def _json_lines(path: Path, text_column: str) -> Iterator[str]:
    for number, line in _lines(path):
        if not line or line.isspace():
            continue
        try:
            row: Any = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _unreadable(path, "readable JSON lines", error, number) from error
        if not isinstance(row, dict):
            what = TypeError(f"it has {line.strip():.40}")
            raise _unreadable(path, "one JSON object a line", what, number)
        if text_column not in row:
            raise column.missing(path, text_column, list(row), number)
        text = row[text_column]
        if not isinstance(text, str | None):
            texts = [name for name, value in row.items() if isinstance(value, str)]
            raise column.no_text(path, text_column, type(text).__name__, texts, number)
        yield _encodable(text or "")


def _csv(path: Path, text_column: str) -> Iterator[str]:
    """With a header; fields may be quoted and hold line ends."""
    csv.field_size_limit(2**31 - 1)
    tabs = ".tsv" in path.suffixes
    reader = csv.reader((line for _, line in _lines(path)), delimiter="\t" if tabs else ",", strict=True)
    try:
        header = next(reader, [])
        if text_column not in header:
            raise column.missing(path, text_column, header, 1)
        place = header.index(text_column)
        for row in reader:
            if row and len(row) != len(header):
                what = ValueError(f"{len(row)} fields, and the header has {len(header)}")
                raise _unreadable(path, "as many fields in every row", what, reader.line_num)
            if row:
                yield row[place]
    except csv.Error as error:
        raise _unreadable(path, "readable CSV", error, reader.line_num) from error


def _whole(path: Path) -> Iterator[str]:
    yield "".join(line for _, line in _lines(path)).strip("\r\n")


def _paragraphs(path: Path) -> Iterator[str]:
    kept: list[str] = []
    for _, line in _lines(path):
        if line.strip():
            kept.append(line)
        elif kept:
            yield "".join(kept).rstrip("\r\n")
            kept = []
    if kept:
        yield "".join(kept).rstrip("\r\n")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of every line, its end included; without a byte-order mark."""
    import pyarrow as pa

    number = 0
    try:
        with pa.input_stream(str(path), compression=PACKED.get(path.suffix)) as stream:
            for number, line in enumerate(io.BufferedReader(stream), 1):
                yield number, line.removeprefix(_BOM if number == 1 else b"").decode()
    except UnicodeDecodeError as error:
        raise _unreadable(path, "UTF-8 text", error, number) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        packed = f" packed by {PACKED[path.suffix]}" if path.suffix in PACKED else ""
        raise _unreadable(path, f"readable text{packed}", error, number + 1) from error


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


def _unreadable(path: Path, what: str, error: Exception, line: int | None = None) -> DataError:
    where = f"{path}, line {line}," if line else str(path)
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(
        f"{where} is corrupt or cut short ({said}), but must be {what}; delete it and fetch or write it again"
    )
