"""The arguments of ``sweepkit import``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from typing import Any

from sweepkit.cli import command_line

_EPILOG = """\
examples:
  sweepkit import runs.csv --variant optimizer --map val_loss=val_bpb --reference adamw
  sweepkit import speedrun.csv --variant entry --metric val_loss=lower,nats/token --map time=train_time_s
  sweepkit import scores.tsv --where "workload == imagenet" --variant optimizer --metric top1=higher,ratio
  sweepkit import results.jsonl --parse 'name=d{depth}_{variant}_s{seed}' --seeds shared
  sweepkit import ledger.tsv --ledger status          tries one after the other: keep, discard, crash
  sweepkit import wandb:ENTITY/PROJECT --variant config.optimizer --map summary.val_bpb=val_bpb
  sweepkit import ./wandb --map config.seed=seed      offline folders; crashed runs come along
  sweepkit verdict --runs NAME                        what the runs show, after the fact

SOURCE is a file (.csv, .tsv, .txt, .json, .jsonl, .parquet; text also as .gz), a folder with wandb's offline
runs, or wandb:ENTITY/PROJECT (WANDB_API_KEY or wandb login; WANDB_BASE_URL for another server). Columns may
be separated by commas, semicolons (then 0,91 is a number), tabs, bars or what --delimiter says. wandb's are
called config.NAME and summary.NAME; runs that crashed come along with their state.

--map THEIRS=OURS gives a column the name that sweepkit knows (variant, seed, depth, val_bpb, train_time_s,
num_steps, total_flops, state, run_id ...: sweepkit results --columns); all others are kept as they are. A
number that is no val_bpb in bits per byte keeps its name and is declared: --metric NAME=lower,UNIT. The first
--metric is what runs are compared by. decision.KEY=VALUE settings go with the folder (decision.min_effect, in
the metric's unit, for every metric but bits per byte).

A number of the run is no seed: --seeds shared says that runs of one seed saw the same data in the same order
under every variant, independent that they did not, none that there are none. Only shared seeds are paired.

What cannot be read is refused with file, line and column; nothing is half-written. Verdicts on runs that were
there before the rule are after the fact: they promote nothing, and say what fresh runs would take.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "import",
        "Bring runs that others made into a folder that results and verdict read.",
        _EPILOG,
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="a file, a folder of wandb's, or wandb:ENTITY/PROJECT"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="of the folder in the results folder (default: the file's)"
    )
    parser.add_argument(
        "--map",
        metavar="THEIRS=OURS",
        nargs="+",
        action="extend",
        default=[],
        help="names of columns, any number of them",
    )
    parser.add_argument(
        "--parse",
        metavar="COLUMN=TEMPLATE",
        action="append",
        default=[],
        help="columns from a text, a field in braces each: 'name=d{depth}_lr{lr}'; before --map",
    )
    parser.add_argument("--variant", metavar="COL[,COL]", help="the columns that name a variant; after --map")
    parser.add_argument("--where", metavar="EXPR", help="keep these rows, as results --filter says it")
    parser.add_argument("--reference", metavar="VARIANT", help="what all others are compared with")
    parser.add_argument(
        "--metric",
        metavar="NAME=lower|higher[,UNIT]",
        nargs="+",
        action="extend",
        default=[],
        help="numbers to compare by: which way is better, and in what unit",
    )
    parser.add_argument(
        "--seeds",
        choices=("shared", "independent", "none"),
        help="whether runs of one seed share their data order (default: not said, so nothing is paired)",
    )
    parser.add_argument(
        "--ledger", metavar="COLUMN", help="rows are tries in order, and this says which were kept (keep)"
    )
    parser.add_argument(
        "--duplicates", choices=("drop", "keep"), help="of rows that are one run twice (default: refuse)"
    )
    parser.add_argument("--delimiter", metavar="CHAR", help="what separates the columns of a text file")
    parser.add_argument("--replace", action="store_true", help="an earlier import of that name")
    parser.add_argument("overrides", nargs="*", metavar="decision.KEY=VALUE", help="the rule's settings")


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import importing

    return importing.run(args)
