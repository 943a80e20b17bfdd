"""The arguments of ``sweepkit fit``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line

_EPILOG = """\
examples:
  sweepkit fit laws_mini --axis optimizer.matrix.lr --by depth --scale width --propose
  sweepkit fit laws_mini --axis optimizer.matrix.lr --axis2 total_batch_size --by depth   the ridge of two
  sweepkit fit decay_by_width.csv --optimum optimal_weight_decay --scale width --rule=-2
  sweepkit fit points.csv --params "Model Size" --flops "Training FLOP" --loss loss --drop 0-4
  sweepkit fit ladder.csv --params params --tokens tokens --loss loss_pile --forecast --at 3e9,6e10
  sweepkit fit batches.parquet --batch total_batch_size --tokens total_tokens --target 3.2 --rule 0.383
  sweepkit fit grid.json --key "d={width}-{lr}" --loss value --axis lr --by width --report fit.html

what is fitted: --axis the best value of a field (a parabola in its logarithm, seeds as blocks), by group and
  as a law in one scale; --params the compute-optimal size, by parabolas per budget and by the surface
  E + A/N^alpha + B/D^beta; with --forecast what larger sizes will reach; --batch the critical batch;
  --optimum a law of optima that somebody found. Every interval may have no end, and then says so.
the table: a sweep, a published folder, or a file (csv, tsv, parquet, jsonl, json). Where only one of --tokens
  and --flops is named, the other is C = 6ND. A sweep of ours also has params_kaplan, params_chinchilla and
  params_transformer_only, three ways of counting. docs/laws.md says how each law is estimated.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "fit",
        "Fit optima, how they move with scale, compute-optimal sizes, batches, forecasts.",
        _EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", help="a sweep, a published folder, or a table's file")
    table = parser.add_argument_group("the table")
    table.add_argument(
        "--loss",
        metavar="COL",
        help="the losses, lower is better (default: the sweep's metric, else val_bpb)",
    )
    table.add_argument(
        "--higher-is-better",
        dest="is_higher_better",
        action="store_true",
        default=None,
        help="the metric is no loss (default: as the sweep or the import says)",
    )
    table.add_argument(
        "--where", metavar="EXPR", help="only the rows that satisfy EXPR (see sweepkit results --help)"
    )
    table.add_argument(
        "--drop",
        metavar="ROWS",
        dest="dropped",
        help="leave rows out, as 0-4,17, counted from 0; what they change is shown",
    )
    table.add_argument(
        "--key", metavar="TEMPLATE", help="of a JSON whose keys are configurations: d={width}-{lr}"
    )
    table.add_argument(
        "--seed-column", metavar="COL", dest="seed", help="blocks (default: seed, where the table has it)"
    )
    optimum = parser.add_argument_group("optima and laws")
    optimum.add_argument("--axis", metavar="COL", help="the field whose best value is sought")
    optimum.add_argument(
        "--axis2", metavar="COL", dest="second_axis", help="a second one, together with the first"
    )
    optimum.add_argument(
        "--axis-scale",
        choices=("log", "one_minus", "linear"),
        help="its coordinate (default: log)",
    )
    optimum.add_argument("--by", metavar="COL", help="an optimum for each value of it")
    optimum.add_argument(
        "--scale",
        metavar="COL",
        help="the one scale that the law is stated in (default: --by, and the other way round)",
    )
    optimum.add_argument(
        "--optimum", metavar="COL", help="optima that somebody found; --scale names their scale"
    )
    optimum.add_argument(
        "--rule",
        metavar="EXP",
        type=float,
        help="an exponent that the law is held against (default: the schema's own, where it has a rule)",
    )
    optimum.add_argument(
        "--curvature", choices=("auto", "shared", "separate"), help="of the groups' parabolas (default: auto)"
    )
    optimum.add_argument(
        "--tolerance",
        metavar="LOSS",
        type=float,
        help="a loss that does not matter: how wide is the optimum?",
    )
    optimum.add_argument(
        "--propose", action="store_true", help="print the override, or the transfer rule, that follows"
    )
    sizes = parser.add_argument_group("sizes, batches and forecasts")
    sizes.add_argument(
        "--params", metavar="COL[,COL]", help="parameters of each run; several: ways of counting"
    )
    sizes.add_argument("--tokens", metavar="COL", help="tokens in all")
    sizes.add_argument("--flops", metavar="COL", help="training FLOPs")
    sizes.add_argument(
        "--trunk", metavar="COL", help="what rows were warmed down from; the bootstrap draws trunks"
    )
    sizes.add_argument("--replicates", metavar="N", type=int, help="of the bootstrap (default: 200)")
    sizes.add_argument("--huber-delta", metavar="D", type=float, help="of log losses (default: 0.001)")
    sizes.add_argument("--batch", metavar="COL", help="tokens a step")
    sizes.add_argument(
        "--target",
        metavar="LOSS[,LOSS]",
        dest="targets",
        help="of the critical batch (default: three that most reach)",
    )
    sizes.add_argument(
        "--forecast",
        dest="is_forecast",
        action="store_true",
        default=None,
        help="fit the smallest sizes, forecast and score the others",
    )
    sizes.add_argument(
        "--sizes", metavar="N", dest="num_sizes", type=int, help="how many are fitted (default: 3)"
    )
    sizes.add_argument(
        "--at",
        metavar="N,D",
        dest="points",
        action="append",
        help="forecast this size and tokens too; may be repeated",
    )
    out = parser.add_argument_group("output")
    out.add_argument("--confidence", metavar="C", type=float, help="of intervals (default: 0.95)")
    out.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    out.add_argument("--output", metavar="FILE", type=Path, help="write the JSON there too")
    out.add_argument("--report", metavar="FILE", type=Path, help="write a page with tables and plots (.html)")


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import fit

    return fit.run(args)
