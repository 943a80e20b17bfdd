"""``sweepkit status``: what is planned, running, complete, failed or diverged, since when, for how long."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweepkit.cli import command_line
from sweepkit.config import paths, typed
from sweepkit.launch import display
from sweepkit.launch.sweep_status import CLIMB, STATES, RunStatus, SweepStatus, status
from sweepkit.report import drawing, numbers, terminal
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.results.duration import duration
from sweepkit.sweep.seen import has_ended

EPILOG = """\
examples:
  sweepkit status                              every sweep in the results folder
  sweepkit status x0_beta1                     one sweep: its rungs, and the runs to look at
  sweepkit status x0_beta1 --runs              every run of it
  sweepkit status x0_beta1 --format json       for scripts; ages and ETA in seconds, null where not known

states: planned, queued (Slurm), running, complete, pruned (stopped by a search), futile (stopped, for its
variant can no longer reach min_effect: decision.futility), diverged, failed, cancelled;
preempted (has a checkpoint), lost (its process is gone) and trained (to be evaluated as is asked here) go on
with the next launch; deleted: judged here, and its folder is gone. ETA is for what living launches still have
to do. Sweeps are looked for in ./results; from elsewhere set SWEEPKIT_RESULTS_DIR to that folder.
"""
_QUIET = ("complete", "planned")


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "status", "Show what has become of the runs of a sweep, or of all sweeps.", EPILOG
    )
    parser.add_argument(
        "sweep", nargs="?", default="all", metavar="SWEEP", help="name of a sweep; default: all"
    )
    parser.add_argument("--runs", action="store_true", help="list every run, also those complete or planned")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Print the status; 0 on success. User errors raise ``SweepkitError``."""
    statuses = status(paths.results_dir(), args.sweep)
    for item in statuses:
        if item.go_on is not None and _is_left_alone(item):
            item.notes.append(f"no gate waits: run {item.go_on}")
    if args.format == "json":
        print(json.dumps(typed.dump(statuses), indent=1))
        return 0
    console = terminal.console(markup=True)
    if not statuses:
        console.print(f"no sweeps and no runs in {paths.results_dir()}; sweepkit sweep NAME starts one")
    detailed = args.sweep != "all"
    for item in statuses:
        _print_sweep(console, item, detailed, args.runs)
    return 0


def _is_left_alone(sweep: SweepStatus) -> bool:
    """Whether there is more to do than what is running or queued: runs, or a promotion's next decision."""
    if f" {CLIMB}" in (sweep.go_on or ""):
        return not has_ended(paths.results_dir() / sweep.name)
    left = ("planned", "trained", "preempted", "lost", "running", "queued")
    return any(run.state in left for run in sweep.runs)


def _print_sweep(console: Console, sweep: SweepStatus, detailed: bool, every_run: bool) -> None:
    ended = has_ended(paths.results_dir() / sweep.name)
    names = {"planned": "never needed"} if ended else {}  # of variants that did not climb
    counts = ", ".join(
        f"[{drawing.STYLES.get(state, '')}]{n} {names.get(state, state)}[/]"
        for state, n in sweep.counts.items()
    )
    eta = f", about {duration(sweep.eta_s)} left" if sweep.eta_s is not None else ""
    drivers = f"; launched by {', '.join(sweep.drivers)}" if sweep.drivers else ""
    console.print(f"[bold]{_plain(sweep.name)}[/]: {counts}{eta}{_plain(drivers)}")
    if sweep.device_hours_spent:
        to_come = sweep.device_hours_to_come
        more = f", {to_come:.3g} to come" if to_come else ""
        console.print(f"device-hours: {sweep.device_hours_spent:.3g} spent{more}")
    for note in sweep.notes:
        console.print(_plain(note), style="yellow")
    if detailed and len({run.rung for run in sweep.runs}) > 1:
        console.print(drawing.draw(_rungs(sweep.runs)))
    shown = [run for run in sweep.runs if every_run or run.state not in _QUIET]
    if shown:
        console.print(drawing.draw(_runs(shown)))
    failed = [run for run in sweep.runs if run.failure_class is not None]
    if detailed and failed:
        _print_failures(console, failed)


def _rungs(runs: list[RunStatus]) -> Sheet:
    """Counts by rung."""
    states = [state for state in STATES if any(run.state == state for run in runs)]
    sheet = Sheet(("rung", *(f">{state}" for state in states)))
    for rung in dict.fromkeys(run.rung for run in runs):
        numbers = [sum(run.rung == rung and run.state == state for run in runs) for state in states]
        sheet.add(rung, *(str(number or "") for number in numbers))
    return sheet


def _runs(runs: list[RunStatus]) -> Sheet:
    headers = ("run", "rung", "variant", ">seed", "state", ">step", ">epochs", ">since", ">left", "details")
    sheet = Sheet(headers, optional=("epochs", "since", "left", "rung", "details", "seed"))
    for run in runs:
        state = "lost (will be taken over)" if run.state == "lost" else run.phase or run.state
        sheet.add(
            run.run_id,
            run.rung,
            run.variant,
            str(run.seed),
            Mark(state, run.state),
            display.steps_in_words(run.step, run.num_steps),
            "" if run.epochs is None else f"{run.epochs:.3g}",
            numbers.duration(run.age_s, decimals=0),
            numbers.duration(run.eta_s, decimals=0),
            _details(run),
        )
    return sheet


def _print_failures(console: Console, runs: list[RunStatus]) -> None:
    """Failed runs by class, each with its last error line and the path of its log, whole."""
    for name in sorted({run.failure_class or "" for run in runs}):
        alike = [run for run in runs if run.failure_class == name]
        lines = (alike[-1].message or "").strip().splitlines() or ["no message"]
        console.print(f"[red]{name}[/] ({len(alike)}): {_plain(lines[-1])}")
        if alike[-1].log_path:
            console.print(f"  log: {_plain(alike[-1].log_path)}", soft_wrap=True)


def _details(run: RunStatus) -> str:
    words = []
    if run.loss is not None:
        words.append(f"loss {run.loss:.3f}")
    if run.tokens_per_s is not None:
        words.append(f"{run.tokens_per_s:,.0f} tok/s")
    if run.job:
        words.append(f"job {run.job}")
    if run.waits_for and run.waits_for != "None":
        words.append(f"waits: {run.waits_for}")
    if run.holder:
        words.append(run.holder)
    if run.message and run.state in ("failed", "diverged", "pruned", "futile"):
        words.append(run.message.splitlines()[0])
    return ", ".join(words)


def _plain(text: str) -> str:
    return escape(text)
