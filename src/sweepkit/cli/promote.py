"""``sweepkit promote``: climb a sweep's ladder and say what was adopted, and why."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweepkit.analysis import comparable, replicates
from sweepkit.cli import freezing, hub_texts, replaying, running, searching, simulating, tuning_first
from sweepkit.config import paths
from sweepkit.errors import invalid
from sweepkit.launch import job
from sweepkit.launch.slurm.submit import Submitted
from sweepkit.printable import counted
from sweepkit.promotion import amend, forecast, forecast_scores, foresight, ladder, next_steps
from sweepkit.promotion.verdict_record import Final, Promotion, RungResult
from sweepkit.report import content, drawing, gains, html, stamp, tables, terminal
from sweepkit.results.columns import PLANNED
from sweepkit.results.record import RunState
from sweepkit.sweep import frozen
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.frozen import Frozen

_MANY = 20  # names on a line


def run(args: argparse.Namespace) -> int:
    """Promote; the exit status is 1 while runs are missing that nobody was asked for."""
    if args.simulate:
        return simulating.run(args.name, args.overrides, args.gpu_hours)
    if args.replay:
        name, folder = running.place(args.name)
        return replaying.run(name, args.overrides, folder, args.allow_mixed_environments)
    results_dir = paths.results_dir()
    asked = running.load_sweep(args.name, args.overrides, results_dir)
    if args.amend_to is not None and asked.name not in frozen.frozen_names(results_dir):
        contract = f"come after the last rung is decided, and nothing of {asked.name} is in {results_dir}"
        raise invalid("--amend-to", args.amend_to, contract, f"run sweepkit promote {asked.name} first")
    running.check_power(asked, args.overrides, results_dir, args.underpowered)
    found = tuning_first.tuned(asked, args, results_dir)
    if isinstance(found, int):
        return found
    asked = found

    sweep = hub_texts.knowing(
        lambda: freezing.freeze(asked, args.overrides, results_dir, args.reuse_runs, climbs=True)
    )
    if args.amend_to is not None:
        sweep = _amended(sweep, args.amend_to, args.amend_variant, args.underpowered)
    how = running.how(args, results_dir, sweep.cells[0].plan)
    return climb(sweep, how, args.overrides, args.allow_mixed_environments)


def climb(sweep: Frozen, how: running.How, overrides: Sequence[str], allow_mixed_environments: bool) -> int:
    """Climb a frozen sweep's ladder as far as its runs carry it; with Slurm, leave the rest to a gate.

    Args:
        overrides: the command line's, with which the trials of a search are composed.
    """
    console = terminal.console()
    freezing.introduce(sweep)
    options = ["--climb", *(["--allow-mixed-environments"] if allow_mixed_environments else [])]
    if sweep.search:
        _check_climbs(sweep)
        if submitted := searching.carry_out(sweep, how, overrides):
            return running.leave(sweep, how, submitted, options)
        if (whole := searching.searched(sweep, how.results_dir)) is None:
            searching.conclude(sweep, how.results_dir)
            print("the search has not ended, so nothing is decided; run the same command again to go on")
            return running.RUNS_FAILED
        sweep = whole
    left: list[Submitted] = []

    def run_rung(rung: str, cells: list[Cell]) -> None:
        if sweep.search and rung == sweep.rungs[0].name:
            return  # it was searched
        console.rule(f"{rung}: {freezing.describe(cells)}", align="left")
        _reopen_to_retry(sweep, how.results_dir, cells)
        if submitted := running.run_cells(sweep, cells, how, f"{sweep.name} {rung}"):
            left.append(submitted)

    def tell(result: RungResult) -> None:
        if result.rung in [rung.name for rung in sweep.rungs[:-1]]:
            climbing = ", ".join(result.survivors) or "no variant"
            console.print(f"{result.rung} is decided; to the next rung: {climbing}", style="bold")
        foretold, problems = forecast.read(sweep.sweep_dir)
        for problem in problems:
            warnings.warn(problem, stacklevel=2)
        came = forecast_scores.compared(foretold, [result], running.load(sweep, how.results_dir))
        for sentence in forecast_scores.said(came, result.rung):
            console.print(f"forecast: {sentence}")

    promotion = ladder.promote(
        sweep,
        run_rung,
        lambda: running.load(sweep, how.results_dir),
        allow_mixed_environments=allow_mixed_environments,
        retry_failed=how.retry_failed,
        on_decision=tell,
    )
    if left and not promotion.finished:
        return running.leave(sweep, how, left[-1], options)
    _show(sweep, promotion, how.results_dir)
    return running.DONE if promotion.finished else running.RUNS_FAILED


def _amended(sweep: Frozen, to_seeds: int, variants: Sequence[str], is_accepted: bool) -> Frozen:
    """The sweep with the amendment that is asked for, if it can be of use."""
    results_dir = sweep.sweep_dir.parent
    whole = frozen.load_frozen(results_dir, sweep.name)

    def check(wanted: Sequence[str]) -> None:
        known = ladder.serving(whole, running.load(whole, results_dir))
        foresight.check_amendment(whole, to_seeds, wanted, known, is_accepted)

    amendment = amend.amend(whole, to_seeds, variants, check)
    if amendment is None:
        print(f"{sweep.name}: {counted(amend.seeds_so_far(sweep), 'seed')} already, so none are added")
        return sweep
    path = running.shown(sweep.sweep_dir / f"amendment-{amendment.number}.json")
    seeds = counted(len(amendment.seeds), "fresh seed")
    print(f"amendment {amendment.number}: {seeds} for {', '.join(amendment.variants)}; recorded in {path}")
    amended = frozen.load_frozen(sweep.sweep_dir.parent, sweep.name).amendments
    return replace(sweep, cells=[*sweep.cells, *amendment.cells], amendments=amended)


def _check_climbs(sweep: Frozen) -> None:
    if len(sweep.rungs) == 1:
        raise invalid(
            "sweep",
            sweep.name,
            "have a ladder to be promoted, for the best of many at one depth looks better than it is",
            "name one (ladder: gpt2), under a new name of the sweep; finished runs are shared by identity",
        )


def _show(sweep: Frozen, promotion: Promotion, results_dir: Path) -> None:
    """Results, verdicts with reasons, the transfer story, and where it all is."""
    console = terminal.console()
    frame = running.load(sweep, results_dir)
    verdicts = [item for result in promotion.rungs for item in result.verdicts]
    told = promotion.transfer
    if sweep.search:  # of hundreds of points, the best and those that were run on further rungs
        few = searching.worth_showing(frame, sweep.decision, promotion)
        frame = frame[frame["variant"].isin(few)]
        verdicts = [item for item in verdicts if item.variant in few]
        told = [row for row in told if row.variant in few]
    console.rule("Results", align="left")
    console.print(tables.summary(frame[frame["state"] != PLANNED], sweep.decision.metric))
    ended = frame[frame["failure_class"].notna() | (frame["state"] == RunState.futile)]
    if len(ended):
        console.print(tables.runs(ended, sweep.decision.metric))
    console.rule("Verdicts", align="left")
    console.print(tables.verdicts(verdicts))
    console.print(tables.axes(verdicts, sweep.decision))
    for sentence in gains.leaning(gains.documents(content.gather(sweep.name, results_dir)), verdicts):
        console.print(sentence)
    if len(promotion.rungs) > 1:
        console.rule("Transfer between depths", align="left")
        console.print(tables.transfer(told, sweep.decision.metric))
    console.rule("Outcome", align="left")
    for outcome in Final:
        labels = promotion.of(outcome)
        if len(labels) > _MANY:
            labels = [*labels[:_MANY], f"and {len(labels) - _MANY} more"]
        if labels:
            console.print(f"{outcome.value:<13}{', '.join(labels)}", style=drawing.STYLES[outcome.value])
    console.print(promotion.message)
    for step in next_steps.of(sweep, promotion):
        console.print(f"next: {step}")
    if taken := comparable.accepted(frame):
        console.print(taken)
    console.print(tables.files(running.near(_files(sweep, results_dir))))


def _files(sweep: Frozen, results_dir: Path) -> dict[str, Path]:
    """Where things are; the report is written again only where it shows another promotion."""
    report = sweep.sweep_dir / "report.html"
    if not stamp.is_current(report, sweep.sweep_dir):
        report = html.write(sweep.name, results_dir)
    return {
        "report": report,
        "verdicts": sweep.sweep_dir / "verdicts.json",
        "table": sweep.sweep_dir / "runs.csv",
        "runs": results_dir / "runs",
    }


def _reopen_to_retry(sweep: Frozen, results_dir: Path, cells: Sequence[Cell]) -> None:
    """Make runs startable again that ran out of memory or time once."""
    frame = running.load(sweep, results_dir)
    rung = frame[frame["rung"].isin([cell.rung for cell in cells])]
    again = replicates.to_retry(rung)
    for cell in cells:
        if cell.plan.run_id in again:
            print(f"{cell.plan.run_id} ran out of memory or time; one more try before that counts against it")
            job.reopen(cell.plan, results_dir)
