"""Runs that a job left behind: why it ended, and whether the run is submitted again.

Slurm's accounting says how the job ended, the run's folder whether the run did. Infrastructure (a node that
died, a preempted or timed-out job, a job that vanished) costs a run one of ``launcher.max_attempts`` tries
and is never scored; only when they are used up is the run recorded as failed, with what happened last. Tries
are counted anew once a job got further than those before it. Want of memory and a time limit are tried again
on another node first; a run that its job had not come to is not out of memory, whatever its job is. A job
that somebody cancelled is not submitted again, whether it ran or waited. All this is for gates: what a person
asks for is submitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.launch import claims, job
from sweepkit.launch.ledger import Run
from sweepkit.launch.slurm import elsewhere, endings
from sweepkit.launch.slurm.submissions import Place
from sweepkit.results.record import FailureClass

_CANCELLED = "CANCELLED"
#: Slurm's word for how a job ended → what that is for a run that it left unfinished.
CLASSES = {
    _CANCELLED: FailureClass.cancelled,
    "TIMEOUT": FailureClass.timeout,
    "DEADLINE": FailureClass.timeout,
    "PREEMPTED": FailureClass.preempted,
    "NODE_FAIL": FailureClass.node_failure,
    "BOOT_FAIL": FailureClass.node_failure,
    "OUT_OF_MEMORY": FailureClass.oom,
    "FAILED": FailureClass.lost,  # a run that crashed says so itself
}


@dataclass(frozen=True)
class Loss:
    """A run whose jobs have ended without finishing it. ``slurm_state`` is None where nobody knows."""

    run: Run
    num_jobs: int  # in a row since the run last ended in order, none of which got further than those before
    failure_class: FailureClass
    slurm_state: str | None
    log_path: Path | None


def find(runs: Sequence[Run], placed: dict[str, list[Place]], results_dir: Path) -> list[Loss]:
    """The losses among runs that are not done and that no job has or will take."""
    ended: dict[str, list[Place]] = {}
    for run in runs:
        if mine := [item for item in placed.get(run.run_id, []) if item.full_id and item.queued is None]:
            ended[run.run_id] = mine
    last = {run_id: mine[-1] for run_id, mine in ended.items()}
    started = {item.full_id for item in last.values() if item.full_id and _has_started(item, results_dir)}
    states = endings.final_states([item.full_id or "" for item in last.values()], started)
    losses = []
    for run in runs:
        if run.run_id in ended:
            full_id = last[run.run_id].full_id or ""
            state = states.get(full_id)
            if state is None and full_id not in started:
                state = (
                    _CANCELLED  # Slurm keeps no trace of a task that was cancelled alone, before it started
                )
            log_path = last[run.run_id].log_path(results_dir)
            found = _class(run, state, full_id)
            losses.append(Loss(run, _num_jobs(run, ended[run.run_id]), found, state, log_path))
    return losses


def _has_started(place: Place, results_dir: Path) -> bool:
    """Whether its task ever ran: Slurm then made the file that it printed to."""
    path = place.log_path(results_dir)
    return path is not None and path.exists()


def _num_jobs(run: Run, ended: Sequence[Place]) -> int:
    since = (run.record.ended_at if run.record is not None else None) or ""
    jobs = {attempt.attempt: attempt.job for attempt in run.run_dir.attempts()}
    steps: dict[object, int] = {}
    for row in fsio.read_lines(run.run_dir.metrics_path):  # of every attempt: metrics() keeps the last one's
        if isinstance(row, dict) and isinstance(step := row.get("step"), int):
            name = jobs.get(row.get("attempt", 0))
            steps[name] = max(steps.get(name, 0), step)
    count = furthest = 0
    for item in ended:
        reached = steps.get(item.full_id, 0)
        if (item.submission.submitted_at or "") >= since:
            count = 1 if reached > furthest else count + 1
        furthest = max(furthest, reached)
    return count


def _class(run: Run, state: str | None, job_id: str | None) -> FailureClass:
    found = CLASSES.get(state or "", FailureClass.lost)
    if found is not FailureClass.oom:
        return found
    attempts = [item for item in run.run_dir.attempts() if item.job == job_id]
    is_its_own = bool(attempts) and attempts[-1].retry is None  # granted: the job dealt with it
    return found if is_its_own else FailureClass.lost


def give_up(loss: Loss, max_attempts: int, results_dir: Path) -> bool:
    """Record a run as cancelled or failed where it is not to be submitted again; False where it is."""
    if loss.failure_class is not FailureClass.cancelled:
        if elsewhere.grant(loss.run.plan, results_dir, loss.failure_class):
            loss.run.refresh()
            return False
        tries = 1 if loss.failure_class is FailureClass.oom else max_attempts
        if loss.num_jobs < tries:
            return False
    claim = claims.claim(loss.run.run_dir)
    if claim is None:  # somebody has it after all, or its holder has not been silent for long enough
        return False
    with claim:
        loss.run.refresh()
        if loss.run.is_final:
            return True
        if loss.failure_class is FailureClass.cancelled:
            job.mark_cancelled(loss.run.plan, loss.run.run_dir)
        else:
            what = f"Slurm: {loss.slurm_state}" if loss.slurm_state else "Slurm no longer knows how"
            jobs = f"{loss.num_jobs} jobs (launcher.max_attempts)" if loss.num_jobs > 1 else "its job"
            job.mark_failed(
                loss.run.plan,
                loss.run.run_dir,
                loss.failure_class,
                f"{jobs} ended without finishing it ({what}); "
                f"log: {loss.log_path}; sweepkit resume SWEEP --failed tries again",
            )
    loss.run.refresh()
    return True
