"""``sweepkit cancel``: stop a sweep's runs after a checkpoint, and start none of those that wait."""

from __future__ import annotations

import argparse
from typing import Any

from sweepkit.cli import command_line
from sweepkit.config import paths
from sweepkit.launch import cancelling

_NAMED = 20  # run ids on a line; of more, how many
EPILOG = """\
examples:
  sweepkit cancel x0_beta1                     all of its runs that are running or waiting
  sweepkit cancel d12-0123456789ab-s1          one run
  sweepkit cancel x0_beta1 --wait 0            ask them to stop and return

Running ones, on any host, end with a checkpoint. Nothing is lost, and nothing is decided without them: launch
the sweep again (sweepkit sweep or promote NAME) and it goes on from there.
Exit status: 0 all has stopped, or nothing was running or waiting; 1 some still stop; 2 no such sweep or run.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "cancel", "Stop the runs of a sweep, or one run, after a checkpoint.", EPILOG
    )
    parser.add_argument("name", metavar="SWEEP|RUN", help="name of a sweep, or a run_id")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="for running ones to end; default: 60"
    )


def run(args: argparse.Namespace) -> int:
    """Cancel; 0 when everything has stopped, 1 when some runs are still about to."""
    done = cancelling.cancel(paths.results_dir(), args.name, wait_s=args.wait)
    for what, run_ids in (
        ("stopped", done.stopped),
        ("still stopping", done.stopping),
        ("not started", done.not_started),
    ):
        if run_ids:
            named = f": {', '.join(run_ids)}" if len(run_ids) <= _NAMED else ""
            print(f"{len(run_ids):,} {what}{named}")
    if not (done.stopped or done.stopping or done.not_started):
        print(f"{args.name}: nothing is running or waiting")
    elif done.stopping:
        print("they stop when the step or the compilation at hand is over; sweepkit status shows it")
    return 1 if done.stopping else 0
