"""Where a run stands: the sweeps that asked for it, and as what. A run itself knows none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILES = ("plan.jsonl", "trials.jsonl", "amendment-[1-9]*.json")


@dataclass(frozen=True)
class Place:
    """One of a run's places; ``role`` is reference, variant or horizon."""

    sweep: str
    variant: str
    rung: str
    role: str


def of(results_dir: Path, run_id: str) -> list[Place]:
    """The places of a run, those of the sweep that was frozen last first; what cannot be read has none."""
    files = [path for pattern in _FILES for path in results_dir.glob(f"[!.]*/{pattern}")]
    found: dict[Place, float] = {}
    for path in files:
        try:
            text = path.read_text()
            for line in text.splitlines() if run_id in text else ():
                for cell in _cells(json.loads(line)) if run_id in line else ():
                    if cell["plan"]["run_id"] == run_id:
                        place = Place(
                            path.parent.name, *(str(cell[key]) for key in ("variant", "rung", "role"))
                        )
                        found.setdefault(place, path.stat().st_mtime)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda place: -found[place])


def _cells(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Of a line: a cell, or a trial's or an amendment's cells."""
    if "plan" in line:
        yield line
    yield from (*line.get("cells", ()), *line.get("above", ()))
