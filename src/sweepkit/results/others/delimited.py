"""Text tables: columns separated by commas, semicolons, tabs, bars or what the user says; markdown too.

Nothing is guessed that moves a number into another column: a row that is longer or shorter than the header is
refused with its line. A comma at the end of every row moves none.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sweepkit import fsio
from sweepkit.errors import ConfigError, invalid
from sweepkit.results.others import values, wandb_chart
from sweepkit.results.others.source import Source

_MARKS, _RARE = ",;\t|", "~^:\x1f\x01"
_NAMES = {"\t": "tab", " ": "blank"}
_WORDS = {"tab": "\t", "\\t": "\t", "blank": " ", "space": " "}
_BYTE_ORDER = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read(path: Path, kind: str, delimiter: str | None = None) -> Source:
    """A table whose first line names the columns."""
    data = fsio.read_bytes(path)
    text = _text(path, data)
    mark = _WORDS.get(delimiter, delimiter) if delimiter else _mark(text)
    if len(mark) != 1:
        raise invalid("--delimiter", delimiter, "be one character", "write it, or tab, or blank")
    rows = _rows(path, text, mark)
    header, *body = rows or [(1, [])]
    names = [name.strip() for name in header[1]]
    body = [(line, cells) for line, cells in body if not _is_rule(cells, mark)]
    names, body = _without_ends(names, body, mark)
    _check(path, names, body, mark)
    unnamed = [place for place, name in enumerate(names) if not name]
    if unnamed not in ([], [0]):
        remedy = "name it in the first line"
        raise invalid(f"{path.name}, line {header[0]}, column {unnamed[-1] + 1}", "", "have a name", remedy)
    cells = pd.DataFrame(
        {name: [row[place] for _, row in body] for place, name in enumerate(names) if name}, dtype=object
    )
    found = Source(
        path.name,
        kind,
        cells,
        [f"line {line}" for line, _ in body],
        hashlib.sha256(data).hexdigest(),
        _decimal(body, mark),
    )
    if unnamed:  # what pandas writes in front of every row
        found.notes.append("the first column has no name and is left out: it numbers the rows")
    return wandb_chart.as_runs(found) if wandb_chart.is_chart(names) else found


def _text(path: Path, data: bytes) -> str:
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise invalid(path.name, str(error), "be a whole gzip file", "copy it again") from None
    encoding = _BYTE_ORDER.get(data[:2], "utf-8-sig")
    try:
        text = data.decode(encoding)
        if "\0" in text:
            raise invalid(path.name, "text with zero bytes", "be UTF-8 text", "save it as UTF-8")
        return text
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        contract, remedy = f"be {encoding.removesuffix('-sig').upper()} text", "save it as UTF-8"
        raise invalid(f"{path.name}, line {line}", data[error.start : error.end], contract, remedy) from None


def _mark(text: str) -> str:
    """What separates the columns: of commas, semicolons, tabs and bars what the header has most of.

    Where it has none of them, a rarer mark, or blanks, that every line has as many of.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    header = "".join(lines[0].split('"')[::2]) if lines else ""  # a quoted name may hold a comma
    mark = max(_MARKS, key=header.count)
    if header.count(mark):
        return mark
    for rare in _RARE:
        if header.count(rare) and all(line.count(rare) == header.count(rare) for line in lines):
            return rare
    num = len(header.split())
    return " " if num > 1 and all(len(line.split()) == num for line in lines) else mark


def _decimal(body: Sequence[tuple[int, list[str]]], mark: str) -> str:
    """The decimal mark: who separates by semicolons writes 0,91; of others a cell has to tell.

    A comma before three digits may also be one of thousands, and tells nothing. One cell like 1.234,56 tells
    that points are of thousands (``values.THOUSANDS``), one like 1,234.56 that commas are; so does one like
    1,234,567, which may be a list too, where others have points and none has a comma for one.
    """
    cells = [cell.strip() for _, row in body for cell in row]
    has_points = any(re.fullmatch(r"[+-]?\d+\.\d+", cell) for cell in cells)
    has_commas = any(re.fullmatch(r"[+-]?(0,\d+|\d+,(?!\d{3}$)\d+)", cell) for cell in cells)
    sure = [cell for cell in cells if values.SURELY_WITH_COMMAS.fullmatch(cell)]
    if any("." in cell for cell in sure) or (sure and has_points and not has_commas):
        return values.COMMAS_OF_THOUSANDS
    if any("," in cell and values.WITH_THOUSANDS.fullmatch(cell) for cell in cells):
        return values.THOUSANDS
    if mark in (",", ";"):
        return "," if mark == ";" else "."
    return "," if has_commas and not has_points else "."


def _rows(path: Path, text: str, mark: str) -> list[tuple[int, list[str]]]:
    """Line and cells of every row that is not blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=mark != "\t", strict=True
    )
    found = []
    try:
        start = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                aligned = [cell for cell in cells if cell] if mark == " " else cells
                found.append((start, aligned))
            start = reader.line_num + 1
    except csv.Error as error:
        place = f"{path.name}, line {reader.line_num}"
        remedy = "close the quotes, or export it again"
        raise invalid(place, str(error), "be a row of the table", remedy) from None
    return found


def _is_rule(cells: Sequence[str], mark: str) -> bool:
    """Whether it is the line below the header of a markdown table."""
    return mark == "|" and all(set(cell.strip()) <= set("-:") for cell in cells)


def _without_ends(
    names: list[str], body: list[tuple[int, list[str]]], mark: str
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Without the empty cells that a mark at either end of every row makes."""
    is_framed = mark == "|" and len(names) > 2 and not names[0] and not names[-1]
    if is_framed and all(not cells[0].strip() and not cells[-1].strip() for _, cells in body):
        return names[1:-1], [(line, cells[1:-1]) for line, cells in body]
    if names and not names[-1]:
        names = names[:-1]
    if body and all(len(cells) == len(names) + 1 and not cells[-1].strip() for _, cells in body):
        body = [(line, cells[:-1]) for line, cells in body]
    return names, body


def _check(path: Path, names: Sequence[str], body: Sequence[tuple[int, list[str]]], mark: str) -> None:
    twice = next((name for name in names if name and list(names).count(name) > 1), None)
    if twice is not None:
        raise invalid(f"{path.name}, column", twice, "be there once", "rename or delete the other one")
    for line, cells in body:
        if len(cells) != len(names):
            raise _of_other_length(path, line, cells, names, mark)


def _of_other_length(
    path: Path, line: int, cells: Sequence[str], names: Sequence[str], mark: str
) -> ConfigError:
    return invalid(
        f"{path.name}, line {line}",
        f"a row of {len(cells)} cells",
        f"have {len(names)}, as the header ({', '.join(names)})",
        f"quote cells that hold a {_NAMES.get(mark, mark)}, or say --delimiter if others separate them",
    )
