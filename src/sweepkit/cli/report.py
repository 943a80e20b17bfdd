"""``sweepkit report``: one self-contained HTML page about a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line, running

_EPILOG = """\
example:
  sweepkit report x0_beta1                       results/x0_beta1/report.html
  sweepkit report x0_beta1 --output talk.html
  sweepkit report results/published/x0_beta1     of a published folder, without the runs

The page holds the question, the decision rule and its hash, verdicts with reasons and evidence, effects with
intervals, learning curves, every run and its environment. Tables sort and filter, curves zoom, a run opens
its panel. It needs no network and can be sent as one file; of a sweep that is at work it says what is known.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "report", "Write the report of a sweep as one HTML page.", _EPILOG
    )
    parser.add_argument("sweep", metavar="SWEEP", help="name of a sweep, or a published folder")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="where to write it (default: the sweep's folder)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is; 0 on success. User errors raise ``SweepkitError``."""
    from sweepkit.report import html  # heavy, as all that reads tables

    name, results_dir = running.place(args.sweep)
    print(html.write(name, results_dir, args.output))
    return 0
