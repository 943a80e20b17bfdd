"""The arguments of ``sweepkit promote``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from typing import Any

from sweepkit.cli import command_line, running

EPILOG = """\
examples:
  sweepkit promote demo                        d2 → d3 → d4 on the embedded text
  sweepkit promote x0_beta1 ladder=gpt2 launcher=slurm    submits, and leaves the rest to a gate job
  sweepkit promote x0_beta1 --simulate         how often this sweep would be wrong; runs nothing
  sweepkit promote x0_beta1 --simulate --gpu-hours 64    what to do with 64 GPU-hours
  sweepkit promote x0_beta1                    again: goes on where it was, or shows how it ended
  sweepkit promote x0_beta1 --amend-to 8       fresh seeds for what the last rung left open, 8 in all
  sweepkit promote x0_beta1 --replay decision.alpha=0.01   which decisions a stricter rule would have changed

Plan and decision rule are frozen in results/NAME before the first run starts. Every rung runs the reference
and the variants that are still in, each with all its seeds, and decides once. A few variants that lost, drawn
at random, are run beside them to measure transfer without selection; they are never adopted. With a search:
block the lowest rung is searched, and its best points climb. The last rung is decided on seeds and text that
no rung below uses. --amend-to adds seeds that the frozen plan did not allow: they are decided on alone, the
k-th time at α / 2^k, so that all decisions together stay below 2α; asking again for as many adds none.
"""
ALONE = {"--simulate": ("--gpu-hours",), "--replay": ("--allow-mixed-environments",)}
NEEDS = {"--gpu-hours": "--simulate", "--amend-variant": "--amend-to"}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "promote",
        "Run a sweep's variants on the lowest rung, promote what holds, decide on the last rung.",
        EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help="a sweep in ./sweeps or a shipped one, or a .yaml file")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="OVERRIDE", help="key=value, as for train"
    )
    running.add_launch_arguments(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--simulate",
        action="store_true",
        help="run nothing: play the sweep's design in synthetic worlds and tell how often it would be wrong",
    )
    parser.add_argument(
        "--gpu-hours",
        type=float,
        metavar="H",
        help="with --simulate: the designs that this much pays for (variants, rungs, seeds), best first",
    )
    running.add_reuse_argument(parser)
    parser.add_argument("--underpowered", action="store_true", help="go on though the plan has little power")
    command_line.add_mixed_argument(parser)
    parser.add_argument(
        "--amend-to",
        type=int,
        metavar="SEEDS",
        help="after the last rung is decided: fresh seeds for what it left inconclusive, so many in all",
    )
    parser.add_argument(
        "--amend-variant",
        action="append",
        default=[],
        metavar="VARIANT",
        help="with --amend-to: these instead (repeatable)",
    )
    instead.add_argument(
        "--replay",
        action="store_true",
        help="run nothing: show what the rule, with decision.KEY=VALUE changed, says of the runs there are",
    )


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import promote

    return promote.run(args)
