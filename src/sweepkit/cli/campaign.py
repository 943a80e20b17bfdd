"""``sweepkit campaign``: rounds of sweeps, each from what the ones before it adopted."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sweepkit.analysis import calibration_file
from sweepkit.campaign import campaign_file, course, simulated
from sweepkit.campaign.course import Course
from sweepkit.campaign.walk import Step, walk
from sweepkit.cli import freezing, hub_texts, promote, run_sheet, running
from sweepkit.config import paths
from sweepkit.config.schema import RungConfig
from sweepkit.errors import invalid
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.promotion import expected
from sweepkit.report import campaign_page, campaign_sheets, committed, drawing, numbers, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.results.columns import is_reference
from sweepkit.sweep import expand, published_seal
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile


def run(args: argparse.Namespace) -> int:
    """Run what is missing; the exit status is 1 while runs are missing that nobody was asked for."""

    asked = campaign_file.load(args.name)
    extra, rule = asked.settings(args.overrides)
    begun = Course(campaign_file.load(args.name, rule), tuple(extra))
    if args.plan:
        return _plan(begun)
    if args.simulate is not None:
        return _simulate(begun, args.simulate, args.noise_sd)
    return _run(args, begun)


def _run(args: argparse.Namespace, begun: Course) -> int:

    results_dir = paths.results_dir()
    folders = [*([args.committed.absolute()] if args.committed else []), results_dir]

    def find(name: str) -> course.Standing | None:
        return next((found for folder in folders if (found := course.standing(folder, name))), None)

    status = running.DONE
    tried = None
    while True:
        now, steps = walk(begun, find)
        if not args.status:
            _write(args, now, steps, results_dir)
        if args.status or not steps[-1].is_open or steps[-1].name == tried:
            break
        tried = steps[-1].name
        status = _carry_out(args, steps[-1], results_dir)
    _show(now, steps)
    if not args.status:
        print(f"page: {running.shown(results_dir / now.campaign.name / 'README.md')}")
    return status


def _write(args: argparse.Namespace, now: Course, steps: Sequence[Step], results_dir: Path) -> None:
    """The campaign's page, and what is to be committed."""

    command = shlex.join(["sweepkit", "campaign", args.name, *args.overrides])
    campaign_page.write(now, steps, results_dir / now.campaign.name, command)
    if args.publish is None:
        return
    for step in steps:
        if step.standing is None or step.standing.folder.parent != results_dir:
            continue
        name = step.standing.folder.name
        here, there = step.standing.folder / "promotion.json", args.publish / name / "promotion.json"
        is_sealed = (there.parent / published_seal.FILE).is_file()
        if not is_sealed or not there.is_file() or here.read_bytes() != there.read_bytes():
            print(running.shown(committed.publish(name, results_dir, args.publish, command)))
    campaign_page.write(now, steps, args.publish.absolute(), command)


def _carry_out(args: argparse.Namespace, step: Step, results_dir: Path) -> int:
    """Freeze a step and climb its ladder, as far as its runs carry it."""

    assert step.sweep is not None
    sweep, extra = step.sweep, step.extra
    terminal.console().rule(sweep.name, align="left")
    running.check_power(sweep, extra, results_dir, args.underpowered)
    made = hub_texts.knowing(lambda: freezing.freeze(sweep, extra, results_dir, False, climbs=True))
    options = [option for option in ("underpowered", "allow_mixed_environments") if getattr(args, option)]
    goes_on = (
        *("campaign", str(campaign_file.find(args.name)), *args.overrides),
        *(f"--{option.replace('_', '-')}" for option in options),
        *(f"--from={args.committed.absolute()}" for _ in [0] if args.committed),
        *(f"--publish={args.publish.absolute()}" for _ in [0] if args.publish),
    )
    how = dataclasses.replace(running.how(args, results_dir, made.cells[0].plan), goes_on=goes_on)
    return promote.climb(made, how, extra, args.allow_mixed_environments)


def _plan(begun: Course) -> int:
    """A line a round, of plans that are as large as they can be, and what all of it comes to."""

    sheet = Sheet(("round", ">variants", ">runs", ">lowest rung", ">FLOPs", ">GPU-h", ">α", "power"))
    known = calibration_file.read(paths.results_dir())
    total: list[RunPlan] = []
    for name in begun.campaign.order:
        sweep = begun.guessed(name)
        cells = expand.expand_all(sweep, begun.extra)
        rungs = expand.rungs_of(expand.ladder_of(sweep, begun.extra))
        plans = [cell.own for cell in _climbing(cells, rungs, sweep)]
        lowest = sum(cell.rung == rungs[0].name for cell in cells)
        power = expected.of(cells, rungs, sweep.decision, known)
        shown = (
            "noise not measured"
            if power.shown is None
            else f"{power.shown:.0%} for {sweep.decision.min_effect:g}"
        )
        flops, hours = sum(plan.total_flops for plan in plans), _hours(plans)
        sheet.add(
            name,
            str(len(expand.variants(sweep)) - 1),
            str(len(plans)),
            str(lowest),
            f"{flops:.2e}",
            "–" if hours is None else numbers.scaled(hours, fixed=False) if hours >= 1 else f"{hours:.2g}",
            f"{sweep.decision.alpha:.2g}",
            shown,
        )
        total += plans
    console = terminal.console()
    console.print(drawing.draw(sheet))
    hours = _hours(total)
    flops = sum(plan.total_flops for plan in total)
    console.print(
        f"{counted(len(total), 'run')} at most, {flops:.3e} FLOPs, {run_sheet.cost(hours, total[0])}"
    )
    return running.DONE


def _simulate(begun: Course, num_worlds: int, noise_sd: float | None) -> int:
    """A line a kind of world."""

    if num_worlds < 1:
        raise invalid("--simulate", num_worlds, "be at least 1 world of each kind", "write 1000")
    first = begun.guessed(begun.campaign.order[0])
    if noise_sd is None:
        rungs = expand.rungs_of(expand.ladder_of(first, begun.extra))
        known = calibration_file.read(paths.results_dir())
        found = expected.of(expand.expand_all(first, begun.extra), rungs, first.decision, known)
        noise_sd = found.noise.sd if found.noise else None
    if noise_sd is None or not 0 < noise_sd < float("inf"):
        remedy = "give --noise-sd SD, or measure it with sweepkit calibrate"
        raise invalid("--noise-sd", noise_sd, "be a positive number where nothing was calibrated", remedy)
    with Console(stderr=True).status("simulating") as status:
        table = simulated.simulate(
            begun, noise_sd, num_worlds, on_progress=lambda kind: status.update(f"playing: {kind}")
        )
    sheet = Sheet(("world", ">worlds", ">adopted anything", ">last worse than first", ">true gain"))
    for row in table.to_dict("records"):
        ends = f"{row['worse_low']:.1%} to {row['worse_high']:.1%}"
        worse = f"{row['worse']:.1%} ({ends})"
        gain = numbers.change(row["gain"])
        sheet.add(row["world"], f"{row['worlds']:,}", f"{row['changed']:.1%}", worse, gain)
    rule = first.decision
    sheet.notes.append(
        f"α of the whole {begun.campaign.alpha:g}, min_effect {rule.min_effect:g}, noise of a run "
        f"{noise_sd:g}; intervals of 95%; gain on the last rung, mean over worlds"
    )
    terminal.console().print(drawing.draw(sheet))
    return running.DONE


def _hours(plans: Sequence[RunPlan]) -> float | None:
    hours = [plan.estimated_gpu_hours for plan in plans]
    return None if None in hours else sum(item for item in hours if item is not None)


def _climbing(cells: Sequence[Cell], rungs: Sequence[RungConfig], sweep: SweepFile) -> list[Cell]:
    """The runs of the most variants that climb, and of those that do so to measure transfer."""

    found: list[Cell] = []
    climbers: int | None = None
    for place, rung in enumerate(rungs):
        here = [cell for cell in cells if cell.rung == rung.name]
        names = list(dict.fromkeys(cell.variant for cell in here if not is_reference(cell.variant)))
        if climbers is not None and not sweep.decision.scale_sensitive:
            lost = sweep.decision.num_unselected_of(len(names)) if place else 0
            names = names[: climbers + lost]
        found += [cell for cell in here if is_reference(cell.variant) or cell.variant in names]
        limits = [item for item in (climbers, rung.max_promoted) if item is not None]
        climbers = min(limits) if limits else None
    return found


def _show(now: Course, steps: Sequence[Step]) -> None:

    console = terminal.console()
    console.rule(now.campaign.name, align="left")
    for sheet in campaign_sheets.sheets(now, steps):
        console.print(drawing.draw(sheet))
