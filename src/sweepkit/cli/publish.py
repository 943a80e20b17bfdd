"""``sweepkit publish``: what to commit of sweeps, from which their verdicts follow without runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line, running
from sweepkit.config import paths
from sweepkit.sweep import published_seal

EPILOG = """\
examples:
  sweepkit publish x0_beta1                                  results/published/x0_beta1
  sweepkit publish x0_beta1 --into evidence                  evidence/x0_beta1
  sweepkit results results/published/x0_beta1                its table, without the runs
  sweepkit report results/published/x0_beta1                 its page
  sweepkit promote results/published/x0_beta1 --replay       its verdicts, made again
  sweepkit publish results/published/x0_beta1 --seal         digests for a folder of an older version

The folder holds runs.csv.gz (every run, failed ones too), curves.parquet (losses by step), effects.csv,
costs.csv, documents.csv and breakdown.csv (effects over text), tasks.csv (scores by task), verdicts.json,
the frozen plan and rule, calibrations, environments, commands, and README.md with a table, a figure and the
verdicts in words; manifest.json has the digest of each, and what does not match it is refused by name.
Written again it is replaced.
"""
ALONE: dict[str, tuple[str, ...]] = {"--seal": ()}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "publish",
        "Write the tables, verdicts and page of a sweep to a folder that can be committed.",
        EPILOG,
    )
    parser.add_argument(
        "sweeps",
        nargs="+",
        metavar="SWEEP",
        help="a sweep in the results folder; with --seal its published folder",
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="DIR",
        default=Path("results/published"),
        help="where to make its folder (default: results/published)",
    )
    parser.add_argument(
        "--seal", action="store_true", help="only write manifest.json in folders that were published without"
    )


def run(args: argparse.Namespace) -> int:
    """Write each folder and say where it is. User errors raise ``SweepkitError``."""
    if args.seal:
        for name in args.sweeps:
            published_seal.seal(Path(name))
            print(f"{name}: sealed")
        return 0
    from sweepkit.report import committed  # heavy, as all that reads tables

    for name in args.sweeps:
        print(running.shown(committed.publish(name, paths.results_dir(), args.into)))
    return 0
