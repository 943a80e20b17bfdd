"""The arguments of ``sweepkit verdict``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line
from sweepkit.errors import invalid

_EPILOG = """\
examples:
  sweepkit verdict --runs runs.csv --reference baseline
  sweepkit verdict --runs runs.parquet --reference baseline decision.alpha=0.01 decision.min_effect=0.0005
  sweepkit verdict --runs runs.csv --reference adam,0.01 --format json     a variant by its levels
  sweepkit verdict --runs NAME decision.min_effect=0.002      what sweepkit import made, after the fact
  sweepkit verdict --runs NAME --target 3.28 --sigma 0.0013    every variant against a bar
  sweepkit verdict --runs NAME --noise 0.0005,9               a ledger of keeps: which are more than noise

columns of a file, separated by commas, semicolons, tabs or bars: variant, seed, val_bpb; where present depth,
train_time_s, num_steps, total_flops, hardware, state (sweepkit's words or wandb's: finished, crashed, killed;
diverged counts against its variant, as an infinite loss does), and any other column of the runs table
(sweepkit results --columns). A run without a loss is missing, a planned one is left out. Runs of one seed are
paired where the table says that they share it (seeds=shared in a column, or --seeds shared: the same data
order), else nothing is; the reference may have several rows of a seed (other initial weights). Rows
of variant BASELINE@0.5x with num_steps are the reference at other horizons; then time and FLOPs are compared
at equal cost. The deepest runs go by bpb_validation_holdout where all have it (decision.last_metric names
another column). decision.scores.COLUMN=MARGIN lets a score that is better when higher hold a variant back.

Any other metric works too: decision.metric=accuracy decision.direction=higher decision.unit=ratio
decision.min_effect=0.01 (the default is one of bits per byte, and not taken for others).

--target asks of every variant whether its mean is better than a number; --sigma is the noise of one run that
others have measured (SD, or SD,DF), else the runs' own; α is 0.001 there. A ledger (sweepkit import --ledger)
needs --noise SD,DF.

exit status: 0 some variant meets the rule, 1 all are rejected, 3 inconclusive, 2 the request was wrong.
"""
ALONE = {"--target": ("--runs", "--sigma", "--variant", "--format")}
NEEDS = {"--sigma": "--target", "--variant": "--target"}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "verdict",
        "Judge runs that sweepkit did not make by the rule that promotion uses.",
        _EPILOG,
    )
    parser.add_argument(
        "--runs", metavar="FILE|NAME", help="a table with a row a run, or an import; also without the option"
    )
    parser.add_argument(
        "--reference",
        metavar="VARIANT",
        help="what all others are compared with: its name, or its levels (adam,0.01; lr=0.01,optimizer=adam)",
    )
    parser.add_argument("--target", metavar="NUMBER", type=float, help="judge every variant against a bar")
    parser.add_argument("--sigma", metavar="SD[,DF]", help="with --target: the noise of one run")
    parser.add_argument(
        "--variant", metavar="VARIANT", action="append", default=[], help="with --target: this one alone"
    )
    parser.add_argument(
        "--noise", metavar="SD,DF", help="of a ledger: the noise of one run, and how well known"
    )
    parser.add_argument(
        "--seeds",
        choices=("shared", "independent"),
        help="whether runs of one seed share their data order (default: as the table's column seeds or "
        "pair_key says, else independent); a mere number of the run is no seed",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    command_line.add_mixed_argument(parser)
    parser.add_argument("overrides", nargs="*", metavar="decision.KEY=VALUE", help="the rule's settings")


def _table(words: list[str]) -> tuple[str, list[str]]:
    """The table among words that are no options, and the others: settings of the rule."""
    for place, word in enumerate(words):
        if not word.startswith("decision.") or Path(word).exists():
            return word, words[:place] + words[place + 1 :]
    raise invalid("--runs", None, "be a table or an import", "write sweepkit verdict --runs FILE")


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import verdict

    if args.runs is None:
        args.runs, args.overrides = _table(args.overrides)
    return verdict.run(args)
