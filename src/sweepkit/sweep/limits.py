"""Limits that runs were started with, where they are not those that their sweep was frozen with.

How much time and memory a run may take, and how often it may be lost, can end it, and may differ from call to
call: a sweep goes on elsewhere. So they are no part of what is frozen. What ran under others is kept in
``results/<sweep>/limits.jsonl``, a line a call and rung with a checksum of it and of the frozen plan, and
stands in that rung's verdicts: a run that was given too little time or memory counts against its variant.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import LauncherConfig, RunConfig
from sweepkit.plan.run_spec import RunSpec, execution
from sweepkit.printable import counted
from sweepkit.sweep import frozen_head, frozen_lines
from sweepkit.sweep.cell import Cell

FILE = "limits.jsonl"
Changes = dict[str, list[Any]]


@dataclass(frozen=True)
class _Line:
    rung: str
    at: str  # ISO 8601, UTC
    limits: Changes


def fields() -> list[str]:
    """Dotted names of all limits."""
    return [key for key, field in fields_of(RunConfig).items() if field.facts.limit]


def changed(sweep_dir: Path, launcher: LauncherConfig, plan: RunSpec) -> Changes:
    """Field → its value when a sweep was frozen and now, as JSON, of the limits that differ.

    Args:
        launcher: as it is now.
        plan: a run's, as it is now.

    Raises:
        FrozenPlanError: a frozen file was edited or is missing.
    """
    now = execution(plan, launcher)
    before = execution(typed.load(Cell, json.loads(frozen_lines.read(sweep_dir)[0])).plan)
    pairs = {name: typed.dump([attrgetter(name)(before), attrgetter(name)(now)]) for name in fields()}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}


def note(sweep_dir: Path, rung: str, found: Changes) -> None:
    """Keep that runs of a rung are started with other limits than were frozen."""
    if found and found not in [item.limits for item in _lines(sweep_dir, rung)]:
        line = _Line(rung, datetime.now(UTC).isoformat(timespec="seconds"), found)
        fsio.append(sweep_dir / FILE, sealed.line(typed.dump(line), frozen_head.read(sweep_dir).sha256))


def said(sweep_dir: Path, rung: str) -> list[str]:
    """A sentence for every change that runs of the rung were started with, and one of lines that are lost."""
    sentences = []
    if lost := _read(sweep_dir).count(None):
        sentences.append(
            f"{FILE} has {counted(lost, 'line')} that nobody wrote so: which other limits than were frozen "
            "runs were started with is not all known"
        )
    for item in _lines(sweep_dir, rung):
        what = [f"{name} {now} instead of {before}" for name, (before, now) in item.limits.items()]
        sentences.append(f"started with other limits than were frozen ({item.at[:10]}: {', '.join(what)})")
    return sentences


def _lines(sweep_dir: Path, rung: str) -> list[_Line]:
    lines = typed.load(list[_Line], [line for line in _read(sweep_dir) if line is not None])
    return [line for line in lines if line.rung == rung]


def _read(sweep_dir: Path) -> list[dict[str, Any] | None]:
    """Every line; None for one that is not what was written, or another sweep's."""
    try:
        lines = fsio.read_bytes(sweep_dir / FILE).splitlines() or [b""]
    except FileNotFoundError:
        return []
    owner = frozen_head.read(sweep_dir).sha256
    return [sealed.of_line(line, owner) for line in lines]
