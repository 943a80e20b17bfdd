"""The arguments of ``sweepkit campaign``, and what its help says; the command itself imports pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sweepkit.cli import command_line, running

EPILOG = """\
examples:
  sweepkit campaign rounds --plan ladder=mini          runs, FLOPs, GPU-hours and power of every round
  sweepkit campaign rounds ladder=mini launcher=local  all rounds; again: goes on, or shows how it ended
  sweepkit campaign rounds --simulate 1000 --noise-sd 0.0011 ladder=mini    how often all of it would be wrong
  sweepkit campaign rounds launcher=slurm              submits, and leaves the next round to a gate job
  sweepkit campaign rounds ladder=mini --status        which rounds stand, and what they adopted
  sweepkit campaign rounds ladder=mini --publish results/published/rounds    what to commit, round by round
  sweepkit campaign rounds ladder=mini --from results/published/rounds       what was committed is not run

A campaign is a folder: campaign.yaml beside the sweep files of its rounds. A round is frozen (as NAME-ROUND)
only when the verdicts that it comes after stand: on top of what they adopted, with seeds that no round has
used and its part of alpha. At the end the last reference runs against the first on every rung, on fresh seeds
and text, and on the top rung each adopted change is left out once. Kill it anywhere and run it again.
"""
ALONE = {"--plan": (), "--simulate": ("--noise-sd",), "--status": ("--from",)}
NEEDS = {"--noise-sd": "--simulate"}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "campaign",
        "Run rounds of sweeps one after the other, and hold the end against the beginning.",
        EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help="a folder in ./sweeps, a shipped one, or a path")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="OVERRIDE", help="key=value, and decision.KEY=VALUE"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--plan", action="store_true", help="show what every round costs; runs nothing")
    instead.add_argument(
        "--simulate",
        type=int,
        metavar="WORLDS",
        help="run nothing: play all rounds in so many worlds of each kind, and tell how often the last "
        "reference is worse than the first",
    )
    instead.add_argument("--status", action="store_true", help="show where it stands; runs nothing")
    parser.add_argument(
        "--noise-sd",
        type=float,
        metavar="SD",
        help="with --simulate: of one run, without the luck that its seed shares (default: as calibrated)",
    )
    parser.add_argument(
        "--from",
        dest="committed",
        type=Path,
        metavar="DIR",
        help="rounds that are published there are read and not run again",
    )
    parser.add_argument(
        "--publish", type=Path, metavar="DIR", help="write there what to commit of every round that stands"
    )
    parser.add_argument("--underpowered", action="store_true", help="go on though a round has little power")
    command_line.add_mixed_argument(parser)
    running.add_launch_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit status."""
    from sweepkit.cli import campaign

    return campaign.run(args)
