"""``sweepkit fit``: laws from a table of runs, ours or anybody's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from sweepkit import fsio
from sweepkit.analysis.laws import fitting
from sweepkit.analysis.laws.fitting import Question
from sweepkit.cli import running
from sweepkit.errors import invalid
from sweepkit.report import drawing, laws_page, sheets_laws, terminal
from sweepkit.results import any_table, imported, param_counts, query, store
from sweepkit.sweep import frozen_head


def run(args: argparse.Namespace) -> int:
    """Print or write the fit; 0 on success. User errors raise ``SweepkitError``."""
    frame, metric = _table(args)
    if args.where:
        frame = query.keep(frame, args.where)
    found = fitting.fit(frame, _question(args, metric))
    plain = json.dumps(fitting.to_json(found), indent=2, allow_nan=False)
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
        for line in sheets_laws.proposal(found) if args.propose else []:
            console.print(line)
    if args.report is not None:
        print(running.shown(laws_page.write(found, args.source, args.report)))
    return 0


def _table(args: argparse.Namespace) -> tuple[pd.DataFrame, str]:
    """The rows, and the metric that a sweep of ours decides by."""
    if Path(args.source).suffix.lower() in any_table.SUFFIXES:
        return any_table.read(Path(args.source), args.key), "val_bpb"
    name, results_dir = running.place(args.source)
    frame = store.load(name, results_dir)
    if (others := imported.find(results_dir / name)) is not None:
        return frame, next(iter(others.metrics), "val_bpb")
    if any(item.startswith(param_counts.PREFIX) for item in _words(args.params)):
        frame = param_counts.joined(frame, results_dir, name)
    head = frozen_head.found(results_dir / name)
    return frame, head.sweep.decision.metric if head else "val_bpb"


def _question(args: argparse.Namespace, metric: str) -> Question:
    return Question(
        loss=args.loss or metric,
        axis=args.axis,
        second_axis=args.axis2,
        axis_scale=args.axis_scale,
        by=args.by,
        scale=args.scale,
        seed=args.seed,
        curvature=args.curvature,
        tolerance=args.tolerance,
        optimum=args.optimum,
        params=tuple(_words(args.params)),
        tokens=args.tokens,
        flops=args.flops,
        trunk=args.trunk,
        batch=args.batch,
        targets=tuple(_number("--target", item) for item in _words(args.target)),
        rule=args.rule,
        is_forecast=args.forecast,
        num_sizes=args.sizes,
        points=tuple(_point(item) for item in args.at),
        dropped=tuple(_rows(args.drop)),
        huber_delta=args.huber_delta,
        replicates=args.replicates,
        confidence=args.confidence,
    )


def _words(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise invalid(option, text, "be a number", "write it as 3e9") from None


def _point(text: str) -> tuple[float, float | None]:
    parts = _words(text)
    if len(parts) not in (1, 2):
        raise invalid("--at", text, "be parameters and tokens", "write --at 3e9,6e10")
    numbers = [_number("--at", part) for part in parts]
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def _rows(text: str | None) -> list[int]:
    """``0-4,17`` as rows."""
    found: list[int] = []
    for part in _words(text):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise invalid("--drop", part, "be rows counted from 0", "write 0-4,17")
        found += range(int(first), int(last or first) + 1)
    return found
