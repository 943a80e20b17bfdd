"""``sweepkit fit``: laws from a table of runs, ours or anybody's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.analysis.laws import fitting
from sweepkit.analysis.laws.question import OPTIONS, Question
from sweepkit.cli import command_line, running
from sweepkit.errors import invalid
from sweepkit.report import drawing, laws_page, laws_proposal, sheets_laws, terminal
from sweepkit.results import any_table, imported, param_counts, query, store
from sweepkit.sweep import frozen_head

#: No table of runs has as many rows.
_MOST_ROWS = 10_000_000


def run(args: argparse.Namespace) -> int:
    """Print or write the fit; 0 on success. User errors raise ``SweepkitError``."""
    kind = _question(args, {}).checked(_given(args))
    if args.propose and kind not in ("optima", "known optima", "batches"):
        raise invalid("--propose", kind, "follow from optima or batches", "leave it out")
    frame, metric = _table(args)
    if args.where is not None:
        frame = query.keep(frame, args.where, "--where")
    found = fitting.fit(frame, _question(args, metric))
    proposed = laws_proposal.lines(found) if args.propose else []
    content = fitting.to_json(found) | ({"proposal": proposed} if args.propose else {})
    plain = json.dumps(content, indent=2, allow_nan=False)
    if args.output is not None:
        fsio.write_text(args.output, f"{plain}\n")
    if args.format == "json":
        print(plain)
    else:
        console = terminal.console()
        for title, sheet in sheets_laws.sheets(found):
            console.print(title, style="bold")
            console.print(drawing.draw(sheet))
        for note in found.notes:
            console.print(note, style="dim")
        for line in proposed:
            console.print(line, soft_wrap=True)
    if args.report is not None:
        print(running.shown(laws_page.write(found, args.source, args.report)))
    return 0


def _table(args: argparse.Namespace) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows, and what the metric is that a sweep or an import is decided by."""
    if Path(args.source).suffix.lower() in any_table.SUFFIXES:
        return any_table.read(Path(args.source), args.key), {}
    if args.key is not None:
        raise invalid("--key", args.key, "go with a JSON whose keys are configurations", "leave it out")
    name, results_dir = running.place(args.source)
    frame = store.load(name, results_dir)
    if (others := imported.find(results_dir / name)) is not None:
        is_higher = "decision.direction=higher" in others.settings()
        return frame, {"loss": next(iter(others.metrics), "val_bpb"), "is_higher_better": is_higher}
    if any(item.startswith(param_counts.PREFIX) for item in command_line.words(args.params)):
        frame = param_counts.joined(frame, results_dir, name)
    head = frozen_head.found(results_dir / name)
    if head is None:
        return frame, {}
    rule = head.sweep.decision
    known = {"loss": rule.metric, "is_higher_better": rule.is_higher_better}
    return frame, known | {"base": tuple(head.sweep.base)}


def _given(args: argparse.Namespace) -> list[str]:
    """Fields of the question that the command line names."""
    return [name for name in OPTIONS if getattr(args, name, None) is not None]


def _question(args: argparse.Namespace, metric: Mapping[str, Any]) -> Question:
    """What is asked: ``metric`` where no other column of losses is named."""
    read: dict[str, Callable[[Any], Any]] = {
        "params": lambda text: tuple(command_line.words(text)),
        "targets": lambda text: tuple(_number("--target", item) for item in command_line.words(text)),
        "points": lambda texts: tuple(_point(item) for item in texts),
        "dropped": lambda text: tuple(_rows(text)),
    }
    known = {name: value for name, value in metric.items() if args.loss is None or name == "base"}
    for name in _given(args):
        value = getattr(args, name)
        known[name] = read[name](value) if name in read else value
    return Question(**known)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise invalid(option, text, "be a number", "write it as 3e9") from None


def _point(text: str) -> tuple[float, float | None]:
    parts = command_line.words(text)
    if len(parts) not in (1, 2):
        raise invalid("--at", text, "be parameters and tokens", "write --at 3e9,6e10")
    numbers = [_number("--at", part) for part in parts]
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def _rows(text: str | None) -> list[int]:
    """``0-4,17`` as rows."""
    found: list[int] = []
    for part in command_line.words(text):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise invalid("--drop", part, "be rows counted from 0", "write 0-4,17")
        if int(last or first) > _MOST_ROWS:
            raise invalid("--drop", part, "be a row of the table", "count rows from 0")
        found += range(int(first), int(last or first) + 1)
    return found
