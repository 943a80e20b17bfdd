"""The arguments of ``sweepkit results``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line

_FORMATS = ("table", "csv", "json", "markdown", "parquet")
_ANY_TABLE = ("--format", "--filter", "--sort", "--select", "--output")
ALONE = {
    "--best": ("--trial",),
    "--columns": (*_ANY_TABLE, "--curves"),
    "--analysis": (*_ANY_TABLE, "--evaluation"),
    **dict.fromkeys(("--importances", "--front", "--trials", "--curves"), _ANY_TABLE),
}
NEEDS = {"--trial": "--best"}

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
  sweepkit results lr_search --best                          the best point, as the command that trains it
  sweepkit results lr_search --best yaml > conf/experiment/found.yaml   and as an experiment's file
  sweepkit results lr_search --trials --format csv           every proposal and what became of it
  sweepkit results x0_beta1 --analysis frontier              against the reference at equal time and FLOPs
  sweepkit results x0_beta1 --analysis documents             effects over text; which rest on a few documents
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
    parser.add_argument("--trials", action="store_true", help="of a search: one row a proposal")
    parser.add_argument(
        "--best",
        nargs="?",
        const="overrides",
        choices=("overrides", "yaml"),
        help="of a search: the best point in full, as overrides (the default) or as an experiment's YAML",
    )
    parser.add_argument("--trial", type=int, metavar="N", help="with --best: another trial")
    parser.add_argument("--front", action="store_true", help="of a search with two objectives")
    parser.add_argument(
        "--analysis",
        choices=(
            "frontier",
            "combinations",
            "probes",
            "retention",
            "cliffs",
            "tasks",
            "documents",
            "breakdown",
        ),
        help="what the runs say: effects at equal cost and speed-ups, interactions, every evaluation text, "
        "how effects travel between rungs, catastrophic neighbours, tasks item by item, "
        "effects over documents, and by source, length, position and kind of token",
    )
    parser.add_argument(
        "--evaluation", metavar="KEY", help="the losses of that evaluation of the kept weights (see evaluate)"
    )
    parser.add_argument(
        "--config", action="store_true", help="a column for every configured field too (see sweepkit fields)"
    )
    parser.add_argument("--columns", action="store_true", help="explain every column instead")


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import results

    return results.run(args)
