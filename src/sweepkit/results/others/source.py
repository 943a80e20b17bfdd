"""Runs as somebody else kept them: cells with the place that each stands at, and no meaning yet."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sweepkit.errors import ConfigError, invalid

#: Suffix → the module that reads such a file.
_READERS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".txt": "delimited",
    ".json": "structured",
    ".jsonl": "structured",
    ".ndjson": "structured",
    ".parquet": "structured",
    ".wandb": "wandb_offline",
}
_PACKED, _FEW = ".gz", 5
_ONLINE = re.compile(r"(?:wandb:|https?://(?:www\.)?wandb\.ai/)(?P<path>.+)")


@dataclass
class Source:
    """A table of others.

    Attributes:
        name: what errors call it.
        kind: csv, jsonl, wandb offline ...
        cells: a row a run, columns as the source calls them; text as it is written, or what JSON has.
        places: of every row, for errors: ``line 7``.
        sha256: of the bytes that were read; None for what has none.
        decimal: the decimal mark of numbers that are text; ``.,`` where points are of thousands.
        curves: what was logged on the way, with ``run_id`` and ``step``; None where there is nothing.
        notes: what a reader of the table has to know, a sentence each.
    """

    name: str
    kind: str
    cells: pd.DataFrame
    places: list[str]
    sha256: str | None = None
    decimal: str = "."
    curves: pd.DataFrame | None = None
    notes: list[str] = field(default_factory=list)

    def listed(self, rows: Iterable[int]) -> str:
        """The places of rows, the first few of many."""
        found = [self.places[row] for row in rows]
        more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
        return ", ".join(found[:_FEW]) + more

    def refused(self, row: int, column: str, value: object, contract: str, remedy: str) -> ConfigError:
        """The error for a cell: file, row, column, value, contract, remedy."""
        return invalid(f"{self.name}, {self.places[row]}, column {column}", value, contract, remedy)


def read(where: str, delimiter: str | None = None) -> Source:
    """The runs of a file, of a folder of wandb's, or of a wandb project.

    Args:
        where: a path, or ``wandb:ENTITY/PROJECT``, or the project's address.
        delimiter: what separates the columns of a text file; by default what its header has most of.

    Raises:
        ConfigError: there is nothing of that name, or it cannot be read as what its suffix says.
    """
    if online := _ONLINE.fullmatch(where):
        return _by("wandb_online", online["path"])
    path = Path(where)
    if path.is_dir():
        return _by("wandb_offline", path)
    if not path.is_file():
        remedy = "check the path (it is looked up from the current folder), or write wandb:ENTITY/PROJECT"
        raise invalid("the table", where, "be a file or a folder that exists", remedy)
    name = path.name.removesuffix(_PACKED)
    suffix = Path(name).suffix.lower()
    if suffix not in _READERS:
        remedy = "export one row a run as one of these"
        raise invalid("the table", where, f"end in {', '.join(_READERS)}, or one of them and .gz", remedy)
    found = _by(_READERS[suffix], path, suffix.removeprefix("."), delimiter)
    if found.cells.empty:
        raise invalid(f"{path.name}", "a table without rows", "have a row a run", "export your runs again")
    return found


def _by(module: str, *what: object) -> Source:
    """As a module of this folder reads it; wandb and its like are imported for those who ask."""
    found: Source = importlib.import_module(f"sweepkit.results.others.{module}").read(*what)
    return found
