"""``sweepkit publish``: what to commit of a sweep, from which its verdicts follow without its runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line, running
from sweepkit.config import paths

EPILOG = """\
examples:
  sweepkit publish x0_beta1                                  results/published/x0_beta1
  sweepkit publish x0_beta1 --into evidence                  evidence/x0_beta1
  sweepkit results results/published/x0_beta1                its table, without the runs
  sweepkit report results/published/x0_beta1                 its page
  sweepkit promote results/published/x0_beta1 --replay       its verdicts, made again

The folder holds runs.csv.gz (every run, failed ones too), curves.parquet (losses by step), effects.csv,
costs.csv, verdicts.json, the frozen plan and rule, calibrations, environments, commands, and
README.md with a table, a figure and the verdicts in words. Written again it is replaced.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "publish",
        "Write the tables, verdicts and page of a sweep to a folder that can be committed.",
        EPILOG,
    )
    parser.add_argument("sweep", metavar="SWEEP", help="name of a sweep in the results folder")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="DIR",
        default=Path("results/published"),
        help="where to make its folder (default: results/published)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the folder and say where it is. User errors raise ``SweepkitError``."""
    from sweepkit.report import committed  # heavy, as all that reads tables

    print(running.shown(committed.publish(args.sweep, paths.results_dir(), args.into)))
    return 0
