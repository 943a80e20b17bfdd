"""The folder of an import: ``results/NAME/`` with the runs that others made, and what was said of them.

``runs.csv.gz`` (and ``curves.parquet``), sealed as a published sweep's are; ``imported.json`` holds where
they come from, the digest of what was read, and what is known of seeds and metrics. There is no plan: nothing
was frozen before these runs were made, so that every verdict on them is after the fact.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pandas as pd

from sweepkit import fsio, sealed
from sweepkit.config import override, typed
from sweepkit.errors import DamagedError, invalid
from sweepkit.results import columns, export
from sweepkit.results.columns import Column, Direction
from sweepkit.sweep import command_keys, published_seal

FILE = published_seal.IMPORTED
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Own:
    """A column that only this table has."""

    name: str
    dtype: str
    unit: str
    direction: str

    @property
    def column(self) -> Column:
        return Column(self.name, self.dtype, self.unit, Direction(self.direction), "as it was imported")


@dataclass(frozen=True)
class Imported:
    """What is known of runs that others made.

    Attributes:
        source, kind: where they come from, and as what.
        source_sha256: of the bytes that were read; None for what has none.
        imported_at: ISO 8601, UTC.
        command: what made the folder.
        seeds: shared, independent or none; None: nobody has said.
        reference: the variant that others are compared with, where one was named.
        metrics: what runs may be compared by; the first is what they are.
        ledger: the column that says whether a run was kept, of a record of tries one after the other.
        decision: settings of the rule, as ``decision.min_effect=0.001``.
        own: the columns that only this table has.
        notes: what had to be said of the table.
    """

    source: str
    kind: str
    source_sha256: str | None
    imported_at: str
    command: str
    seeds: str | None
    reference: str | None
    metrics: list[str]
    ledger: str | None
    decision: list[str]
    own: list[Own]
    notes: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    @property
    def columns(self) -> tuple[Column, ...]:
        """The documented columns, and those of this table alone."""
        return (*columns.RUN_COLUMNS, *(item.column for item in self.own))

    def settings(self, overrides: Sequence[str] = ()) -> list[str]:
        """The settings of the rule that verdicts on these runs go by, as overrides: the later ones win."""
        given = [*self.decision, *overrides]
        named = [override.parse(item).value for item in given if item.startswith("decision.metric=")]
        metric = str(named[-1]) if named else next(iter(self.metrics), "val_bpb")
        found = [f"decision.metric={command_keys.quoted('decision.metric', metric)}"]
        column = next((item for item in self.own if item.name == metric), None)
        if column is not None and column.direction != Direction.none.value:
            found += [f"decision.direction={column.direction}"]
            unit = command_keys.quoted("decision.unit", column.unit)
            found += [f"decision.unit={unit}"] if column.unit else []
        # what was said for another metric is not in this one's unit
        own = self.decision if not named or metric == next(iter(self.metrics), None) else []
        return [*found, *own, *overrides]


def find(folder: Path) -> Imported | None:
    """What was imported into a folder; None where nothing was.

    Raises:
        SweepkitError: it is damaged, or a newer sweepkit's.
    """
    path = folder / FILE
    try:
        content = fsio.read_json(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        raise DamagedError(path, error.why, "import the runs again with --replace") from None
    sealed.check_version(path, content, SCHEMA_VERSION)
    return typed.load(Imported, content)


def check_new(folder: Path, is_replaced: bool) -> None:
    """Refuse a folder that is none of an import, or one of an import that is not to be replaced.

    Raises:
        ConfigError: names what is there.
    """
    if (folder / FILE).exists() and not is_replaced:
        remedy = "say --replace to read it again, or choose another --name"
        raise invalid("--name", folder.name, f"be new, and {folder / FILE} is there", remedy)
    if folder.exists() and not (folder / FILE).exists():
        raise invalid("--name", folder.name, f"be new, and {folder} is no import", "choose another --name")


def write(folder: Path, runs: pd.DataFrame, curves: pd.DataFrame | None, said: Imported) -> None:
    """Make the folder whole, or replace an earlier import."""
    packed = gzip.compress(export.csv(runs).encode(), mtime=0)

    def fill(file: IO[bytes]) -> None:
        file.write(packed)

    made = fsio.make_temporary(folder)
    try:
        fsio.write_atomic(made / published_seal.RUNS, fill)
        if curves is not None:
            export.write(curves, made / published_seal.CURVES, "parquet")
        fsio.write_json(made / FILE, typed.dump(said))
        published_seal.put(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def names(results_dir: Path) -> list[str]:
    """Names of the imports in a results folder, sorted."""
    return sorted(path.parent.name for path in results_dir.glob(f"[!.]*/{FILE}"))
