"""The trials of a search: ``results/<sweep>/trials.jsonl``, a line for every point that was proposed.

A frozen plan lists its runs before the first one starts; a search cannot. What it froze is the space, the
sampler and the number of trials; every proposal is then appended here, with the plans of its runs, before any
of them starts. So the file and the run folders are the truth about a search, whatever becomes of the
sampler's own memory. Only whoever holds the search's claim appends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.sweep.expand import Cell

FILE = "trials.jsonl"
#: Whoever holds it proposes; it is held for moments only.
CLAIM_FILE = "search.claim.json"
#: Tells workers to propose nothing more; the next launch takes it away.
STOP_FILE = "stop"
_PART = 1 << 16


@dataclass(frozen=True)
class Trial:
    """One proposal.

    Attributes:
        number: from 0, in the order of proposing.
        params: field → value.
        point: which of the named points this is (0: the reference), None for a proposal of the sampler's.
        cells: its runs, one a seed; empty where the proposal is no valid configuration.
        error: why it is none.
    """

    number: int
    params: dict[str, Any]
    point: int | None = None
    cells: tuple[Cell, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"cells": [cell.to_json() for cell in self.cells]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Trial:
        return cls(**(value | {"cells": tuple(Cell.from_json(cell) for cell in value["cells"])}))


@dataclass
class Reader:
    """Reads a growing file of trials; every trial is given once."""

    sweep_dir: Path
    _offset: int = field(default=0, init=False)

    def new(self) -> list[Trial]:
        """Trials appended since the last call."""
        path = self.sweep_dir / FILE
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]  # what follows is being written, or its writer was killed
        self._offset += len(whole)
        return [Trial.from_json(json.loads(line)) for line in whole.splitlines()]


def append(sweep_dir: Path, trial: Trial) -> None:
    """Append a trial; the caller holds the search's claim.

    Raises:
        StorageError: the disk is full.
    """
    mend(sweep_dir / FILE)
    fsio.append_line(sweep_dir / FILE, trial.to_json())


def mend(path: Path) -> None:
    """Cut off half a last line, which a killed writer has left."""
    try:
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            kept = end
            while kept:
                start = max(0, kept - _PART)
                file.seek(start)
                found = file.read(kept - start).rfind(b"\n")
                if found >= 0:
                    kept = start + found + 1
                    break
                kept = start
            if kept < end:
                file.truncate(kept)
    except FileNotFoundError:
        return


def load(sweep_dir: Path) -> list[Trial]:
    """All trials of a sweep; none for one that does not search."""
    return Reader(sweep_dir).new()


def with_trials(cells: list[Cell], trials: Iterable[Trial]) -> list[Cell]:
    """``cells`` and those of the trials, every run once: a trial may be the reference, or repeat another."""
    known = {cell.plan.run_id for cell in cells}
    found = list(cells)
    for trial in trials:
        for cell in trial.cells:
            if cell.plan.run_id not in known:
                known.add(cell.plan.run_id)
                found.append(cell)
    return found
