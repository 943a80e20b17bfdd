"""``sweepkit diagnose``: what looks wrong inside runs, in words, from what they wrote."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sweepkit.analysis import diagnosis
from sweepkit.analysis.diagnosis import Diagnosis
from sweepkit.cli import command_line, running
from sweepkit.config import typed
from sweepkit.errors import invalid
from sweepkit.launch import named
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted, printable
from sweepkit.report import terminal
from sweepkit.results.record import RunDir

EPILOG = """\
examples:
  sweepkit diagnose x0_beta1                   every run of a sweep: what looks wrong, and why usually
  sweepkit diagnose d12-0123456789ab-s1        one run
  sweepkit diagnose d12-0123456789ab-s1 --output run.html          with plots, as one page
  sweepkit diagnose x0_beta1 --json            the same for programs: a list, one entry a run

Reads what runs measured of themselves every logging.diagnostics_every_steps steps: activations, gradients,
updates, by layer and group; a running run too. What was not measured is named. Limits and where each comes
from: docs/diagnostics.md.
"""
ALONE: dict[str, tuple[str, ...]] = {"--output": ()}


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "diagnose", "Say what looks wrong inside runs and what usually causes it.", EPILOG
    )
    parser.add_argument(
        "name", metavar="SWEEP|RUN", help="name of a sweep in the results folder, or a run_id"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="of one run: write it with its plots as one HTML page"
    )


def run(args: argparse.Namespace) -> int:
    """0 whatever is found; user errors raise ``SweepkitError``."""
    name, results_dir = running.place(args.name)
    plans = [plan for plan in named.plans(results_dir, name) if isinstance(plan, RunPlan)]
    if args.output is not None:
        if len(plans) != 1:
            remedy = "sweepkit report draws a sweep"
            raise invalid("--output", str(args.output), "be asked for one run", remedy)
        from sweepkit.report import html  # heavy, as all that reads tables

        print(html.write_run(RunDir.of(results_dir, plans[0].run_id), plans[0], args.output))
        return 0
    found = [diagnosis.of(RunDir.of(results_dir, plan.run_id), plan) for plan in plans]
    if args.json:
        print(json.dumps([typed.dump(item) for item in found], indent=1, ensure_ascii=False))
    else:
        _show(found)
    return 0


def _show(found: list[Diagnosis]) -> None:
    """What looks wrong, run by run; runs in which nothing does in a line together."""
    console = terminal.console()

    def say(line: str, style: str = "") -> None:
        console.print(printable(line), style=style, highlight=False, soft_wrap=True)

    wrong = [item for item in found if item.findings]
    told = found if len(found) == 1 else wrong
    for item in told:
        say(f"{item.run_id} ({item.state})", "bold")
        for finding in item.findings:
            say(f"  {finding.said}", "red")
            say(f"    usually: {finding.cause}")
        if not item.findings and item.state != "planned":
            say("  nothing looks wrong")
        for line in item.notes:
            say(f"  {line}", "dim")
        for line in item.missing:
            say(f"  not looked at: {line}", "dim")
    if len(found) > 1:
        _sum_up(found, say)


def _sum_up(found: list[Diagnosis], say: Any) -> None:
    unseen = [item for item in found if item.state == "planned"]
    well = [item for item in found if not item.findings and item not in unseen]
    if well:
        say(f"nothing looks wrong in {counted(len(well), 'run')}: {', '.join(item.run_id for item in well)}")
        for line in dict.fromkeys(line for item in well for line in item.missing):
            number = sum(line in item.missing for item in well)
            say(f"  not looked at in {counted(number, 'run')} of them: {line}", "dim")
    if unseen:
        say(f"{counted(len(unseen), 'run')} not started")
