"""Stop a sweep's runs: those being worked on end with a checkpoint, those waiting are not started.

A marker in the run's folder asks its holder, here or on another host, to stop; it looks twice a second.
What a living launch, or Slurm, still has to do is recorded as cancelled at once, which takes it off that
list. Gates and array tasks that wait for nothing else are taken out of Slurm's queue. Runs that nobody was
asked for stay as they are: there is nothing to stop. Launching the sweep again takes the marks away and goes
on from the checkpoints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit.launch import claims, job, named
from sweepkit.launch.drivers import live_drivers
from sweepkit.launch.ledger import Run
from sweepkit.launch.slurm import cluster, submissions
from sweepkit.results.record import STOPPED, RunDir
from sweepkit.sweep import frozen, trials

_TICK_S = 0.2


@dataclass
class Cancelled:
    """What ``cancel`` did, by run_id."""

    stopped: list[str] = field(default_factory=list)  # were running, have ended with a checkpoint
    stopping: list[str] = field(default_factory=list)  # have been asked to, have not ended yet
    not_started: list[str] = field(default_factory=list)  # will not be started
    untouched: int = 0  # done, or not asked of any launch


def cancel(results_dir: Path, name: str, *, wait_s: float = 60.0) -> Cancelled:
    """Cancel a sweep, or the one run of that run_id.

    Args:
        results_dir: holds ``runs/`` and the sweeps.
        name: a sweep or a run_id.
        wait_s: how long to wait for running ones to end.

    Raises:
        SweepkitError: there is neither a sweep nor a run of that name.
    """
    result = Cancelled()
    _stop_proposing(results_dir, name)
    asked = {run_id for driver in live_drivers(results_dir) for run_id in driver.run_ids}
    asked |= _leave_queue(results_dir, name)
    for plan in named.plans(results_dir, name):
        run = Run(plan, RunDir.of(results_dir, plan.run_id))
        run.refresh()
        is_open = run.record is not None and run.record.state not in STOPPED
        if run.is_final or not (run.is_held or run.run_id in asked or is_open):
            result.untouched += 1
        elif _cancel_waiting(run):
            result.not_started.append(run.run_id)
        else:
            job.cancel_marker(run.run_dir).touch()
            result.stopping.append(run.run_id)
    _wait(results_dir, result, wait_s)
    return result


def _stop_proposing(results_dir: Path, name: str) -> None:
    """Have a search's workers ask for no more; whoever is just asking has asked when this returns."""
    sweep_dir = results_dir / name
    if name in frozen.frozen_names(results_dir) and (sweep_dir / trials.FILE).exists():
        (sweep_dir / trials.STOP_FILE).touch()
        while (claim := claims.acquire(sweep_dir / trials.CLAIM_FILE)) is None:
            time.sleep(_TICK_S)
        claim.release()


def _leave_queue(results_dir: Path, name: str) -> set[str]:
    """Take gates and waiting array tasks of a sweep, or of one run, out of Slurm's queue; run ids it had.

    Gates go first, so that none submits anew what is cancelled here. A running task stays: its runs end with
    a checkpoint, and then it ends.
    """
    submitted = submissions.read_all(results_dir)
    if not submitted:
        return set()
    run_ids = {plan.run_id for plan in named.plans(results_dir, name)}
    gates = [item.name for item in submitted if item.is_gate and item.title == name]
    # a search's workers would go on asking; told to stop, they end with a checkpoint
    workers = [item.name for item in submitted if item.is_search and item.title == name]
    cluster.cancel([task.full_id for task in cluster.queue([*gates, *workers])])
    placed = submissions.look(results_dir)
    queued = {
        run_id: item for run_id in run_ids for item in placed.get(run_id, []) if item.queued is not None
    }
    waiting = {
        item.queued.full_id
        for item in queued.values()
        if item.queued is not None
        and item.queued.state == "PENDING"
        and run_ids.issuperset(item.submission.tasks[item.task])
    }
    cluster.cancel(waiting)
    return set(queued)


def _cancel_waiting(run: Run) -> bool:
    """Record a run that nobody holds as cancelled; False when somebody does."""
    run.run_dir.path.mkdir(parents=True, exist_ok=True)
    claim = claims.claim(run.run_dir)
    if claim is None:
        return False
    with claim:
        run.refresh()
        if not run.is_final:
            job.mark_cancelled(run.plan, run.run_dir)
    return True


def _wait(results_dir: Path, result: Cancelled, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while result.stopping and time.monotonic() < until:
        for run_id in list(result.stopping):
            run_dir = RunDir.of(results_dir, run_id)
            holder = claims.holder(run_dir.claim_path)
            if holder is None or not holder.alive:
                result.stopping.remove(run_id)
                result.stopped.append(run_id)
        if result.stopping:
            time.sleep(_TICK_S)
