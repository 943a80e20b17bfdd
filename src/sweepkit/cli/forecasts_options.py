"""The arguments of ``sweepkit forecasts``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line

_EPILOG = """\
examples:
  sweepkit forecasts                             the score over all sweeps so far
  sweepkit forecasts x0_beta1                    one sweep's forecasts beside what came out
  sweepkit forecasts rounds                      those of a campaign's rounds
  sweepkit forecasts --format csv > forecasts.csv    every forecast of every sweep

Before promote runs a rung it writes down what it expects there (results/NAME/forecast-K.json, sealed): the
reference's loss and the effect of every variant that climbs, by what is retained from rung to rung and by
a law of training compute, beside two baselines: no change, and the same effect again. When the rung has run,
a forecast hits or misses, and is scored by the density that it gave to what came out. Rungs are what is
counted, for the variants of one share a reference. What was written after runs had begun is never scored.
Read are the results folder, and published sweeps in it and in ./results.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "forecasts", "Show what rungs were expected to show, and how such forecasts did.", _EPILOG
    )
    parser.add_argument(
        "sweeps", nargs="*", metavar="SWEEP", help="sweeps, published folders or a campaign (default: all)"
    )
    formats = ("table", "csv", "json", "markdown", "parquet")
    parser.add_argument("--format", choices=formats, help="default: table, or what --output's suffix says")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write to FILE instead of printing")


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import forecasts

    return forecasts.run(args)
