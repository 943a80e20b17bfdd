"""``sweepkit wandb push``: show runs that have ended in Weights & Biases, from what they wrote."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from rich.progress import track

from sweepkit.cli import command_line
from sweepkit.config import paths
from sweepkit.config.choices import WandbMode
from sweepkit.errors import SweepkitError
from sweepkit.launch import named
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import terminal
from sweepkit.results import asked, places
from sweepkit.results.record import FINAL_STATES, STOPPED, RunDir, RunRecord, RunState
from sweepkit.training import wandb_log

_PUSHED = "wandb_push.json"
EPILOG = """\
examples:
  sweepkit wandb push x0_beta1                 what has ended and was not sent before
  sweepkit wandb push x0_beta1 --project mine --entity lab
  sweepkit wandb push d12-0123456789ab-s1 --again    one run, although it was sent
  sweepkit wandb push x0_beta1 --offline       writes files into the runs' folders, for wandb sync

Runs are filed as a run with logging=online files itself: a group is a sweep and a rung, tags are the variant,
depth and dataset, and a run has its whole configuration, its curves with every group's learning rate, and its
results. The record stays what is in the results folder; wandb only shows it.
"""


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "wandb", "Show runs that have ended in Weights & Biases.", EPILOG
    )
    actions = parser.add_subparsers(dest="action", metavar="push", required=True)
    push = actions.add_parser(
        "push", help="send what has ended", epilog="example: sweepkit wandb push x0_beta1 --project mine"
    )
    push.add_argument("name", metavar="SWEEP|RUN", help="name of a sweep, or a run_id")
    push.add_argument("--project", metavar="NAME", help="default: logging.project of each run")
    push.add_argument("--entity", metavar="NAME", help="default: logging.entity of each run, else your own")
    push.add_argument("--again", action="store_true", help="also what was shown or sent before")
    push.add_argument("--offline", action="store_true", help="write files instead, for wandb sync")


def run(args: argparse.Namespace) -> int:
    """Send; 0 when all that has ended is sent. User errors raise ``SweepkitError``."""
    results_dir = paths.results_dir()
    mode = WandbMode.offline if args.offline else WandbMode.online
    if mode is WandbMode.online and (reason := wandb_log.why_offline()):
        raise SweepkitError(
            f"wandb cannot be reached: {reason}, but must be, to send runs; set WANDB_API_KEY or run `wandb "
            f"login`, or write files with sweepkit wandb push {args.name} --offline"
        )
    ended, num_open = _ended(
        results_dir, [plan for plan in named.plans(results_dir, args.name) if isinstance(plan, RunPlan)]
    )
    wanted = [item for item in ended if args.again or not _is_shown(*item[1:], args.offline)]
    where = None
    for plan, run_dir, record in track(wanted, "wandb", console=terminal.console(stderr=True)):
        logging = plan.config.logging
        logging = replace(
            logging, project=args.project or logging.project, entity=args.entity or logging.entity
        )
        found = places.of(results_dir, plan.run_id)
        place = next((item for item in found if item.sweep == args.name), next(iter(found), None))
        try:
            where = wandb_log.send(logging, plan, run_dir, record, mode, place)
        except Exception as error:
            raise SweepkitError(
                f"{plan.run_id} could not be sent ({type(error).__name__}: {error}); run the same command "
                "again, it goes on from there"
            ) from error
        if mode is WandbMode.online:
            run_dir.write(run_dir.path / _PUSHED, {"ended_at": record.ended_at, "url": where})
    said = [f"{counted(len(wanted), 'run')} {'written' if args.offline else 'sent'}"]
    said += (
        [f"{len(ended) - len(wanted)} shown before (--again sends them)"] if len(wanted) < len(ended) else []
    )
    said += [f"{num_open} not ended yet"] if num_open else []
    print("; ".join(said))
    if args.offline and wanted:
        print(f"send them from a machine with a network: wandb sync {results_dir / 'runs'}/*/wandb")
    elif where:
        print(where)
    return 0


def _ended(results_dir: Any, plans: list[RunPlan]) -> tuple[list[tuple[RunPlan, RunDir, RunRecord]], int]:
    """Runs that have come to an end, and how many have not."""
    ended = []
    for plan in plans:
        run_dir = RunDir.of(results_dir, plan.run_id)
        record = asked.read(run_dir, plan.evaluation_key)
        if record is not None and record.state in {*FINAL_STATES, *STOPPED, RunState.trained}:
            ended.append((plan, run_dir, record))
    return ended, len(plans) - len(ended)


def _is_shown(run_dir: RunDir, record: RunRecord, is_offline: bool) -> bool:
    """Whether wandb has this end of the run, shown while it ran or sent since; offline, its files."""
    if is_offline and any(run_dir.path.glob("wandb/offline-run-*/*.wandb")):
        return True
    if record.wandb is not None and record.wandb.mode == WandbMode.online.name and record.wandb.error is None:
        return True
    try:
        return run_dir.read(run_dir.path / _PUSHED).get("ended_at") == record.ended_at
    except (OSError, ValueError):
        return False
