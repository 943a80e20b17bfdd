"""The arguments of ``sweepkit calibrate``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from typing import Any

from sweepkit.cli import command_line, running

EPILOG = """\
examples:
  sweepkit calibrate sweep=demo               five seeds of the reference and its first variant, on every rung
  sweepkit calibrate model=d12 --seeds 8      of one configuration
  sweepkit calibrate sweep=x0_beta1 launcher=slurm --wait

The spread of the final loss over seeds, with its degrees of freedom and age, is kept in
results/calibration.json for the same depth, dataset, precision, hardware and horizon: of pairs (what is left
when variant and seed are taken out) and of single runs. Verdicts shrink a sweep's own noise towards it where
it was measured before their first run ended, and sweepkit plan sweep=NAME works out the power with it.
Two of the seeds run twice, the second time from weights moved by 1e-7: where that changes the loss by more
than a third of min_effect, rounding decides, and this command and every verdict say so.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "calibrate",
        "Run seeds of a reference and keep how much the loss differs between them.",
        EPILOG,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="sweep=NAME, or key=value as for train"
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many, at least 5 (default: 5)")
    running.add_launch_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import calibrate

    return calibrate.run(args)
