"""``sweepkit resume``: go on with a sweep as it was frozen, whatever has become of its file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweepkit.cli import command_line, freezing, running, searching
from sweepkit.config import compose, paths
from sweepkit.errors import invalid
from sweepkit.launch import job
from sweepkit.plan.run_spec import execution
from sweepkit.results import asked
from sweepkit.results.record import FailureClass, RunDir
from sweepkit.sweep import frozen, set_fields
from sweepkit.sweep.cell import Cell

EPILOG = f"""\
examples:
  sweepkit resume x0_beta1                     what has no answer: missing, cancelled, lost, no device or disk
  sweepkit resume x0_beta1 --failed            failed runs too
  sweepkit resume x0_beta1 --only timeout,node_failure    failed runs of these classes
  sweepkit resume x0_beta1 --climb launcher=slurm         and up the ladder, as promote does
  sweepkit resume lr_search --amend-to 60      of a search: more trials on the same study, 60 in all

Works from results/SWEEP alone: a sweep file that was edited or deleted does not matter. Of the overrides only
launcher.* apply: a field changes the launcher that was frozen, launcher=local takes another one.
Classes: {", ".join(item.value for item in FailureClass)}.
"""
NEEDS = {"--allow-mixed-environments": "--climb"}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "resume", "Run what is missing of a sweep that was started, as it was frozen.", EPILOG
    )
    parser.add_argument("name", metavar="SWEEP", help="name of a sweep in the results folder")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="OVERRIDE", help="launcher=... and launcher.*=..."
    )
    parser.add_argument("--climb", action="store_true", help="decide, and go on up the ladder")
    parser.add_argument("--only", metavar="CLASSES", help="start failed runs of these classes again")
    command_line.add_mixed_argument(parser)
    searching.add_amend_argument(parser)
    running.add_launch_arguments(parser, retry="--failed")


def run(args: argparse.Namespace) -> int:
    """Resume; the exit status is 1 where runs failed."""
    results_dir = paths.results_dir()
    for item in args.overrides:
        if set_fields.block(item) != "launcher":
            raise invalid("resume", item, "be a launcher override", "leave it out: runs are what was frozen")
    if args.amend_to is not None:
        searching.amend(args.amend_to, args.name, results_dir)
    sweep = frozen.load_frozen(results_dir, args.name)
    how = running.how(args, results_dir, sweep.cells[0].plan)
    if args.overrides:
        frozen_config = execution(sweep.cells[0].plan)
        how = replace(how, launcher=compose.with_block(frozen_config, "launcher", args.overrides).launcher)
    if args.only is not None:
        known = [item.value for item in FailureClass]
        only = command_line.chosen("--only", args.only, known, "a failure class")
        _reopen(sweep.cells, how, set(map(FailureClass, only)))
    if args.climb:
        now = _executing(sweep.overrides, args.overrides)
        from sweepkit.cli import promote  # heavy, as all that reads tables

        return promote.climb(sweep, how, now, args.allow_mixed_environments)
    freezing.introduce(sweep)
    if sweep.search:
        return searching.run(sweep, how, _executing(sweep.overrides, args.overrides))
    first = sweep.rungs[0].name
    cells = [
        cell
        for cell in sweep.cells
        if cell.rung == first or RunDir.of(results_dir, cell.plan.run_id).path.exists()
    ]
    if submitted := running.run_cells(sweep, cells, how, sweep.name):
        return running.leave(sweep, how, submitted, [])
    status = running.conclude(sweep, results_dir, cells)
    above = "decides and goes on up the ladder" if len(sweep.rungs) > 1 else "decides, and says why"
    print(f"next: sweepkit resume {sweep.name} --climb {above}")
    return status


def _executing(frozen: Sequence[str], now: Sequence[str]) -> list[str]:
    """The overrides that trials are composed with: those that were frozen, the launcher's as it is now."""
    is_another = any(map(compose.is_group_override, now))
    kept = [item for item in frozen if not is_another or set_fields.block(item) != "launcher"]
    return [*kept, *now]


def _reopen(cells: list[Cell], how: running.How, classes: set[FailureClass]) -> None:
    for cell in cells:
        record = asked.read(RunDir.of(how.results_dir, cell.plan.run_id), cell.plan.evaluation_key)
        if record is not None and record.failure_class in classes:
            job.reopen(cell.plan, how.results_dir)
