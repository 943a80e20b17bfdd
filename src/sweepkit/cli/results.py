"""``sweepkit results``: the runs of a sweep as a table, CSV, JSON, markdown or parquet."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sweepkit.cli import running, table_output
from sweepkit.config import paths
from sweepkit.errors import SweepkitError, invalid
from sweepkit.launch import ledger
from sweepkit.printable import counted, printable
from sweepkit.report import content, drawing, findings, sheets_findings, tables, terminal
from sweepkit.results import columns, curve_columns, imported, query, store
from sweepkit.results.columns import PLANNED
from sweepkit.search import best_point, importances, pareto_front, trials_table
from sweepkit.sweep import frozen_head, seen

#: Columns of the curves table that fit a terminal.
_CURVES_SHOWN = ["run_id", "variant", "step", "loss", "val_bpb", "lr", "train_time_s", "tokens_per_s"]
#: Analyses of what was kept under an evaluation's key.
_BY_EVALUATION = ("tasks", "documents", "breakdown")


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for; 0 on success. User errors raise ``SweepkitError``."""
    if args.best and args.sweep is not None:
        return _print_best(args)
    frame = _frame(args)
    if not table_output.put(frame, args.format, args.output):
        _print_table(frame, args)
    return 0


def _print_best(args: argparse.Namespace) -> int:
    """The best point of a search, to be pasted or to be kept as a file."""
    name, results_dir = running.place(args.sweep)
    best = best_point.of(results_dir, name, args.trial)
    if args.best == "yaml":
        print(best.yaml(), end="")
    else:
        print(f"# {best.said}")
        print(f"sweepkit train {printable(shlex.join(best.overrides))}")
    return 0


def _frame(args: argparse.Namespace) -> pd.DataFrame:
    """The table asked for, its rows and columns as asked for."""
    frame = _explained(args.curves) if args.columns else _whole(args)
    if args.filter is not None:  # an empty one is a mistake: an unset variable, say
        frame = query.keep(frame, args.filter)
    if args.sort is not None:
        frame = query.order_by(frame, args.sort)
    return frame if args.select is None else query.select(frame, args.select)


def _whole(args: argparse.Namespace) -> pd.DataFrame:
    if args.sweep is None:
        known = ", ".join([*store.known_names(), store.ALL])
        remedy = f"known: {known}; sweepkit sweep NAME starts one"
        raise SweepkitError(f"SWEEP is missing, but must name a sweep in {paths.results_dir()}; {remedy}")
    if args.evaluation is not None and args.analysis not in (None, *_BY_EVALUATION):
        contract = f"be left out with {args.analysis}, which has the losses that the sweep was frozen with"
        raise invalid("--evaluation", args.evaluation, contract, "ask for the table of runs")
    name, results_dir = running.place(args.sweep)
    if args.analysis:
        gathered = content.gather(name, results_dir)
        if args.evaluation is not None:
            gathered = replace(gathered, runs=store.load(name, results_dir, evaluation=args.evaluation))
        return findings.KINDS[args.analysis](gathered)
    if args.importances:
        return importances.table(results_dir, name)
    if args.front:
        return pareto_front.table(name, results_dir)
    if args.trials:
        return trials_table.table(name, results_dir)
    if args.curves:
        return store.curves(name, results_dir)
    runs = store.load(name, results_dir, evaluation=args.evaluation, config=args.config)
    return ledger.with_lost(runs, results_dir)


def _print_table(frame: pd.DataFrame, args: argparse.Namespace) -> None:
    console = terminal.console()
    if args.analysis and not (args.select or args.columns):
        console.print(drawing.draw(sheets_findings.SHEETS[args.analysis](frame)))
        return
    if args.select or args.importances or args.columns or args.trials or args.front:
        console.print(tables.plain(frame))
        return
    name, results_dir = running.place(args.sweep)
    others = imported.find(results_dir / name)
    if args.curves:
        console.print(tables.plain(frame[_CURVES_SHOWN]))
    elif others and not others.metrics and frame["variant"].isna().all():
        # no column of ours says what its runs are
        console.print(tables.plain(frame[["run_id", "state", *(item.name for item in others.own)]]))
    else:
        console.print(tables.runs(frame, _metric(results_dir / name, others)))
    rows = counted(len(frame), "row")
    more = f"all {len(frame.columns)} columns with --format csv, meanings with --columns"
    console.print(f"{rows}; {more}", style="dim")
    planned = int((frame["state"] == PLANNED).sum())
    if planned and not args.curves and seen.has_ended(results_dir / name):
        console.print(f"{planned} planned and never needed: their variants did not climb", style="dim")


def _explained(curves: bool) -> pd.DataFrame:
    """What there is to know of every column."""
    known = curve_columns.CURVE_COLUMNS if curves else columns.RUN_COLUMNS
    return pd.DataFrame(
        [
            (column.name, column.dtype, column.unit, column.direction.value, column.meaning)
            for column in known
        ],
        columns=["name", "dtype", "unit", "better", "meaning"],
    )


def _metric(sweep_dir: Path, others: imported.Imported | None) -> str:
    """What runs are compared by: of an import its first metric, of a sweep its rule's."""
    if others:
        return next(iter(others.metrics), "val_bpb")
    head = frozen_head.found(sweep_dir)
    return head.sweep.decision.metric if head else "val_bpb"
