"""``sweepkit results``: the runs of a sweep as a table, CSV, JSON, markdown or parquet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit.cli import command_line, running
from sweepkit.config import paths
from sweepkit.errors import SweepkitError, invalid
from sweepkit.launch import ledger
from sweepkit.printable import counted
from sweepkit.report import content, drawing, findings, sheets_findings, tables, terminal
from sweepkit.results import columns, export, query, store
from sweepkit.results.columns import PLANNED
from sweepkit.search import importances
from sweepkit.sweep import seen

_FORMATS = ("table", "csv", "json", "markdown", "parquet")
#: Columns of the curves table that fit a terminal.
_CURVES_SHOWN = ["run_id", "variant", "step", "loss", "val_bpb", "lr", "train_time_s", "tokens_per_s"]
_SUFFIXES = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet"}

_EPILOG = """\
examples:
  sweepkit results x0_beta1                                  the table
  sweepkit results x0_beta1 --filter "rung == d2 and state == complete" --sort=-val_bpb
  sweepkit results x0_beta1 --filter "val_bpb is missing"    what did not finish
  sweepkit results x0_beta1 --format csv > runs.csv          every column
  sweepkit results x0_beta1 --select run_id,seed,val_bpb --format markdown
  sweepkit results x0_beta1 --config --filter "optimizer.matrix.lr > 0.01" --format csv   with every field
  sweepkit results x0_beta1 --curves --output curves.parquet learning curves, one row a logged step
  sweepkit results all                                       every run, whoever asked for it
  sweepkit results lr_search --importances                   of a search: which parameter mattered
  sweepkit results x0_beta1 --analysis frontier              against the reference at equal time and FLOPs
  sweepkit results results/published/x0_beta1                a published folder, without the runs
  sweepkit results --columns                                 every column: dtype, unit, direction, meaning

filters: COLUMN == VALUE (also = != < <= > >=), COLUMN in [A, B], COLUMN is missing, COLUMN is not missing;
  joined by and, or, not, ( ). Quote values with spaces. A missing value satisfies no comparison.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "results",
        "Show or export the runs of a sweep, one row a run, whatever became of it.",
        _EPILOG,
    )
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help="a sweep, all, or a published folder")
    parser.add_argument("--format", choices=_FORMATS, help="default: table, or what --output's suffix says")
    parser.add_argument("--filter", metavar="EXPR", help="keep the rows that satisfy EXPR")
    parser.add_argument("--sort", metavar="COL[,COL]", help="sort by columns; --sort=-COL is descending")
    parser.add_argument("--select", metavar="COL[,COL]", help="only these columns, in this order")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write to FILE instead of printing")
    parser.add_argument("--curves", action="store_true", help="learning curves instead of runs")
    parser.add_argument(
        "--importances", action="store_true", help="of a search: how much each parameter mattered"
    )
    parser.add_argument(
        "--analysis",
        choices=("frontier", "combinations", "probes", "retention", "cliffs"),
        help="what the runs say: effects at equal cost and speed-ups, interactions, every evaluation text, "
        "how effects travel between rungs, catastrophic neighbours",
    )
    parser.add_argument(
        "--evaluation", metavar="KEY", help="the losses of that evaluation of the kept weights (see evaluate)"
    )
    parser.add_argument(
        "--config", action="store_true", help="a column for every configured field too (see sweepkit fields)"
    )
    parser.add_argument("--columns", action="store_true", help="explain every column instead")


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for; 0 on success. User errors raise ``SweepkitError``."""
    frame = _frame(args)
    wanted = args.format or (_SUFFIXES.get(args.output.suffix.lower()) if args.output else None)
    if args.output:
        if wanted in (None, "table"):
            remedy = "give --format or a file name ending in .csv, .json, .md or .parquet"
            raise invalid("--output", str(args.output), "have a known format", remedy)
        export.write(frame, args.output, wanted)
        print(
            f"{counted(len(frame), 'row')}, {counted(len(frame.columns), 'column')}: {args.output}",
            file=sys.stderr,
        )
    elif wanted in (None, "table"):
        _print_table(frame, args)
    else:
        if wanted == "parquet" and sys.stdout.isatty():
            raise invalid("--format", "parquet", "go to a file", "add --output runs.parquet")
        sys.stdout.buffer.write(export.encode(frame, wanted))
        sys.stdout.buffer.flush()
    return 0


def _frame(args: argparse.Namespace) -> pd.DataFrame:
    """The table asked for, its rows and columns as asked for."""
    frame = _explained(args.curves) if args.columns else _whole(args)
    if args.filter is not None:  # an empty one is a mistake: an unset variable, say
        frame = query.keep(frame, args.filter)
    if args.sort:
        frame = query.order_by(frame, args.sort)
    return query.select(frame, args.select) if args.select else frame


def _whole(args: argparse.Namespace) -> pd.DataFrame:
    if args.sweep is None:
        known = ", ".join([*store.sweep_names(), store.ALL])
        remedy = f"known: {known}; sweepkit sweep NAME starts one"
        raise SweepkitError(f"SWEEP is missing, but must name a sweep in {paths.results_dir()}; {remedy}")
    other = args.analysis or (args.importances and "importances") or (args.curves and "curves")
    if args.evaluation is not None and other:
        contract = f"be left out with {other}, which has the losses that the sweep was frozen with"
        raise invalid("--evaluation", args.evaluation, contract, "ask for the table of runs")
    name, results_dir = running.place(args.sweep)
    if args.analysis:
        return findings.KINDS[args.analysis](content.gather(name, results_dir))
    if args.importances:
        return importances.table(results_dir, name)
    if args.curves:
        return store.curves(name, results_dir)
    runs = store.load(name, results_dir, evaluation=args.evaluation, config=args.config)
    return ledger.with_lost(runs, results_dir)


def _print_table(frame: pd.DataFrame, args: argparse.Namespace) -> None:
    console = terminal.console()
    if args.analysis and not (args.select or args.columns):
        console.print(drawing.draw(sheets_findings.SHEETS[args.analysis](frame)))
        return
    if args.select or args.importances or args.columns:
        console.print(tables.plain(frame))
        return
    console.print(tables.plain(frame[_CURVES_SHOWN]) if args.curves else tables.runs(frame))
    rows = counted(len(frame), "row")
    more = f"all {len(frame.columns)} columns with --format csv, meanings with --columns"
    console.print(f"{rows}; {more}", style="dim")
    name, results_dir = running.place(args.sweep)
    planned = int((frame["state"] == PLANNED).sum())
    if planned and not args.curves and seen.has_ended(results_dir / name):
        console.print(f"{planned} planned and never needed: their variants did not climb", style="dim")


def _explained(curves: bool) -> pd.DataFrame:
    """What there is to know of every column."""
    known = columns.CURVE_COLUMNS if curves else columns.RUN_COLUMNS
    return pd.DataFrame(
        [
            (column.name, column.dtype, column.unit, column.direction.value, column.meaning)
            for column in known
        ],
        columns=["name", "dtype", "unit", "better", "meaning"],
    )
