"""What sweep, resume and ``train -m`` share where they search: running trials, and how it ended."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweepkit.cli import running
from sweepkit.launch.other_sources import OtherSources, settle
from sweepkit.launch.slurm.retries import IS_JOB
from sweepkit.printable import counted
from sweepkit.results.columns import INFEASIBLE, REFERENCE, is_reference
from sweepkit.results.record import RunState
from sweepkit.search import drive, untried
from sweepkit.search.proposals import Proposals
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.search.trial_outcome import TrialState
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.search_spec import GRID

if TYPE_CHECKING:
    import pandas as pd

    from sweepkit.launch.slurm.submit import Submitted
    from sweepkit.promotion.verdict_record import Promotion

_SHOWN = 10
_INVALID_SHOWN = 20
_FINE = frozenset({RunState.complete.value, RunState.diverged.value, RunState.pruned.value, INFEASIBLE})


def add_amend_argument(parser: argparse.ArgumentParser) -> None:
    """``--amend-to``, of the commands that run a search."""
    parser.add_argument(
        "--amend-to",
        type=int,
        metavar="TRIALS",
        help="of a search: more trials on the same study, so many in all; recorded beside the frozen plan",
    )


def amend(n_trials: int, name: str, results_dir: Path) -> None:
    """Record that a search is to have so many trials in all, and say so."""
    from sweepkit.search import raising  # reads verdicts, with pandas

    item = raising.raise_to(n_trials, name, results_dir)
    if item is None:
        print(f"{name}: {counted(n_trials, 'trial')} were asked for already, so none are added")
    else:
        print(f"{name}: {item}; recorded in {running.shown(results_dir / name / item.file)}")


def run(sweep: Frozen, how: running.How, overrides: Sequence[str]) -> int:
    """Search until ``n_trials`` have been; the exit status is 1 where runs failed or trials are missing."""
    if submitted := carry_out(sweep, how, overrides):
        return running.leave(sweep, how, submitted, [])
    status = conclude(sweep, how.results_dir)
    if len(sweep.rungs) > 1:
        print(f"next: sweepkit promote {sweep.name} goes on to {sweep.rungs[1].name} with the best of them")
    else:
        print(f"next: sweepkit results {sweep.name} --best prints what trains the best point")
    return status


def carry_out(sweep: Frozen, how: running.How, overrides: Sequence[str]) -> Submitted | None:
    """Search as far as it goes now; what Slurm still has to do, where it is the launcher."""
    if sweep.search:
        fields = ", ".join(sweep.search.space)
        trials = counted(sweep.search.n_trials, "trial")
        print(f"search: {sweep.search.sampler}, {trials} in total, over {fields}")
        every = untried.points(sweep.search.space, ()) if sweep.search.sampler == GRID else None
        if every is not None and len(every) > sweep.search.n_trials:
            print(f"the grid has {len(every)} points, of which n_trials={sweep.search.n_trials} are tried")
        for item in sweep.more_trials:
            print(f"{item} (after {counted(item.num_lines, 'proposal')})")
    running.note_limits(sweep, [cell for cell in sweep.cells if cell.rung == sweep.rungs[0].name], how)
    if how.is_slurm:
        return _submit(sweep, how, overrides)
    drive.search(
        sweep,
        how.launcher,
        results_dir=how.results_dir,
        overrides=overrides,
        retry_failed=how.retry_failed,
        unattended=IS_JOB in os.environ,
        other_sources=OtherSources(how.other_sources),
    )
    return None


def searched(sweep: Frozen, results_dir: Path) -> Frozen | None:
    """The sweep with its trials' cells, for deciding what climbs; None while there is more to search.

    One bad seed decides a trial: cells of its other seeds were never run, and nothing waits for them.
    """
    ledger = TrialLedger(sweep, results_dir)
    is_stopped = (sweep.sweep_dir / trials.STOP_FILE).exists()
    if is_stopped or ledger.open() or ledger.num_to_ask or len(ledger.outcomes) < len(ledger.trials):
        return None
    whole = frozen.load_frozen(results_dir, sweep.name)
    needless = {cell.plan.run_id for trial in ledger.trials for cell in trial.cells} - ledger.runs.keys()
    needless |= _of_dead_trials(ledger) - {cell.plan.run_id for cell in sweep.fixed}
    return replace(whole, cells=[cell for cell in whole.cells if cell.plan.run_id not in needless])


def _of_dead_trials(ledger: TrialLedger) -> set[str]:
    """Runs that only trials asked for which were lost; others were proposed in their place."""
    dead: set[str] = set()
    needed: set[str] = set()
    for trial in ledger.trials:
        run_ids = {cell.plan.run_id for cell in (*trial.cells, *trial.above)}
        if ledger.outcomes[trial.number].state is TrialState.dead:
            dead |= run_ids
        else:
            needed |= run_ids
    return dead - needed


def _submit(sweep: Frozen, how: running.How, overrides: Sequence[str]) -> Submitted | None:
    """Have array tasks search together, each with the local launcher on its node."""
    from sweepkit.launch.slurm import wait

    automatic = IS_JOB in os.environ
    if not automatic:
        (sweep.sweep_dir / trials.STOP_FILE).unlink(missing_ok=True)
    labels: dict[str, str] = {}
    ledger = TrialLedger(sweep, how.results_dir, labels)
    if not automatic:
        other_sources = OtherSources(how.other_sources)
        settle(ledger.runs.values(), other_sources)
        Proposals(sweep, overrides, ledger, other_sources).begin()
        ledger = TrialLedger(sweep, how.results_dir, labels)
    submitted = _submit_workers(sweep, how, ledger, automatic)
    if submitted is None:
        return None
    workers = counted(submitted.submitted, "worker")
    what = f"{workers} submitted" if submitted.submitted else "workers are queued already"
    to_come = counted(ledger.num_to_ask, "trial")
    print(f"{sweep.name}: {to_come} to come; {what} (jobs {', '.join(submitted.jobs)})")
    if not how.wait:
        return submitted
    again = functools.partial(_submit_workers, sweep, how, ledger, automatic=True)
    wait.wait(ledger, again, title=sweep.name, labels=labels)
    return None


def _submit_workers(
    sweep: Frozen, how: running.How, ledger: TrialLedger, automatic: bool
) -> Submitted | None:
    """None where nothing is left for them."""
    from sweepkit.launch.slurm import workers

    wanted = len(ledger.open()) + ledger.num_to_ask
    if not wanted:
        return None
    side_by_side = how.launcher.slurm.workers_per_task
    return workers.submit_workers(
        sweep.name,
        [
            "resume",
            sweep.name,
            "launcher=local",
            f"launcher.num_workers={side_by_side}",
            f"launcher.processes_per_run={how.launcher.processes_per_run}",
            *(name for name, (word, _) in running.OTHER_SOURCES.items() if word == how.other_sources),
        ],
        -(-wanted // side_by_side),
        len(ledger.outcomes),
        next(iter(ledger.runs.values())).plan,
        how.launcher,
        results_dir=how.results_dir,
        automatic=automatic,
    )


def conclude(sweep: Frozen, results_dir: Path) -> int:
    """Print the best trials beside the reference, and where files are; returns the exit status."""
    from sweepkit.report import tables, terminal
    from sweepkit.search import pareto_front

    console = terminal.console()
    frame = running.load(sweep, results_dir)
    metric = sweep.decision.metric
    where = frame["rung"] == sweep.rungs[0].name
    console.print(tables.summary(best(frame[where], sweep.decision), metric, among=frame[where]))
    ledger = TrialLedger(sweep, results_dir)
    if ledger.spec.second_objective:
        on_it = len(pareto_front.numbers(ledger))
        console.print(f"{counted(on_it, 'trial')} on the front: sweepkit results {sweep.name} --front")
    counts: dict[str, int] = {}
    for number, found in ledger.outcomes.items():
        if ledger.trials[number].counts:
            counts[found.state.value] = counts.get(found.state.value, 0) + 1
    words = ", ".join(f"{number} {state}" for state, number in counts.items())
    console.print(f"{counted(sum(counts.values()), 'trial')}: {words}")
    console.print(trials.said(sweep.sweep_dir, ledger.spec.n_trials, sweep.num_reopened))
    for number, found in list(ledger.outcomes.items())[-_INVALID_SHOWN:]:
        if ledger.trials[number].is_invalid:
            console.print(f"proposal {number} is no valid configuration: {found.reason}")
    ended = frame["run_id"].isin([run.run_id for run in ledger.runs.values()])
    failed = frame[ended & ~frame["state"].isin(_FINE)]
    if len(failed):
        console.print(tables.runs(failed))
    files = {
        "sweep": sweep.sweep_dir,
        "study": sweep.sweep_dir / "study.journal",
        "runs": results_dir / "runs",
    }
    console.print(tables.files(running.near(files)))
    return running.RUNS_FAILED if len(failed) or ledger.num_to_ask else running.DONE


def worth_showing(frame: pd.DataFrame, rule: DecisionRule, promotion: Promotion) -> set[str]:
    """Labels of the best points where it was searched, and of all that were run on a further rung."""
    first = promotion.rungs[0].rung if promotion.rungs else None
    above = {item.variant for result in promotion.rungs[1:] for item in result.verdicts}
    return above | set(best(frame[frame["rung"] == first], rule)["variant"])


def best(frame: pd.DataFrame, rule: DecisionRule) -> pd.DataFrame:
    """The rows of the reference and of the ten variants with the best mean, best first."""
    from sweepkit.report import summary

    metric = rule.metric
    means = summary.complete_means(frame, [metric])[metric].sort_values(ascending=rule.sign > 0)
    names = [str(name) for name in means.index if not is_reference(str(name))][:_SHOWN]
    rows = frame[frame["variant"].isin([*names, REFERENCE])]
    order = {name: place for place, name in enumerate([REFERENCE, *names])}
    return rows.sort_values("variant", key=lambda column: column.map(order), kind="stable")
