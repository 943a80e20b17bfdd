"""Where a run stands: the sweeps that asked for it, and as what. A run itself knows none of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import SweepkitError
from sweepkit.sweep import amendments, frozen_lines, trials
from sweepkit.sweep.cell import Cell


@dataclass(frozen=True)
class Place:
    """One of a run's places; ``role`` is reference, variant or horizon."""

    sweep: str
    variant: str
    rung: str
    role: str


def of(results_dir: Path, run_id: str) -> list[Place]:
    """The places of a run, those of the sweep that was frozen last first; what cannot be read has none."""
    found: dict[Place, float] = {}
    for name in fsio.folders(results_dir):
        for path, cells in _files(results_dir / name, run_id) if not name.startswith(".") else ():
            try:
                here = (
                    [cell for cell in cells() if cell.plan.run_id == run_id] if _names(path, run_id) else []
                )
                for cell in here:
                    found.setdefault(Place(name, cell.variant, cell.rung, cell.role), path.stat().st_mtime)
            except (OSError, SweepkitError):
                continue
    return sorted(found, key=lambda place: -found[place])


def _files(sweep_dir: Path, run_id: str) -> Iterator[tuple[Path, Callable[[], Iterable[Cell]]]]:
    """Every file of a sweep that holds cells, and how its cells are read."""
    yield sweep_dir / frozen_lines.PLAN_FILE, lambda: _frozen(sweep_dir, run_id)
    yield (
        sweep_dir / trials.FILE,
        lambda: [cell for trial in trials.load(sweep_dir) for cell in (*trial.cells, *trial.above)],
    )
    for path in amendments.files(sweep_dir):
        yield path, lambda path=path: amendments.read(path).cells  # type: ignore[misc]


def _frozen(sweep_dir: Path, run_id: str) -> list[Cell]:
    """The frozen cells that name a run; others are not decoded, for a sweep may have thousands."""
    lines = (line for line in frozen_lines.read(sweep_dir) if run_id.encode() in line)
    return [typed.load(Cell, json.loads(line)) for line in lines]


def _names(path: Path, run_id: str) -> bool:
    """Whether a file is there and holds the id anywhere."""
    return run_id.encode() in fsio.read_bytes(path)
