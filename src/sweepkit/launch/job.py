"""One run, carried out by this process: claim it, look again, run it, record how it ended, release it.

A run that is trained is only evaluated where that is asked in another way than before (``results/asked.py``).

Every launcher goes through ``carry_out``. The claim comes first and the record is read under it, so a
run that someone else has just finished is not run again. A ``cancel`` marker in the run's folder, looked
for twice a second, stops the run with a checkpoint; so does whatever ``stop`` says.
"""

from __future__ import annotations

import platform
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sweepkit.errors import DiskFullError, StorageError
from sweepkit.launch import claims
from sweepkit.plan.run_spec import RunSpec
from sweepkit.results import asked
from sweepkit.results.pruned import Pruner
from sweepkit.results.record import FINAL_STATES, STOPPED, Attempt, FailureClass, RunDir, RunRecord, RunState

_KILLED = (
    "out of memory (the kernel killed its process); lower horizon.device_batch_size or launcher.num_workers, "
    "or raise launcher.slurm.mem_gib"
)
#: Before a run that failed for its storage is tried again; what is read and written was patient itself.
STORAGE_PAUSES_S = (2.0, 20.0)
Stop = Callable[[], bool]
Work = Callable[[], RunRecord]
#: Why the run that is being carried out is hopeless; None while it is not.
Hopeless = Callable[[], str | None]


@dataclass(frozen=True)
class Pruning:
    """Who may stop the run, what tells when, and what that went by."""

    pruner: Pruner
    hopeless: Hopeless
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Runs(Protocol):
    """What a launcher needs of ``training.session.Session``; plans are RunSpecs of the trainer's own kind."""

    def run(
        self, plan: Any, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool] = ...
    ) -> RunRecord: ...

    def evaluate(self, plan: Any, run_dir: RunDir, should_stop: Callable[[], bool] = ...) -> RunRecord: ...


def carry_out(
    plan: RunSpec,
    results_dir: Path,
    session: Runs,
    *,
    driver: str,
    max_attempts: int,
    stop: Stop,
    pruning: Pruning | None = None,
) -> RunRecord | None:
    """Train and evaluate ``plan``, what of that is not done; None when another process holds it.

    Args:
        session: does the training.
        driver: id of the launch, for the claim.
        max_attempts: after that many processes died holding it, none of which had got further than those
            before, the run is recorded as lost.
        stop: polled by the training loop; True ends the run with a checkpoint.
        pruning: asked before it starts, and polled with ``stop``, so after every step; a reason ends the run.

    Returns:
        The run's record: final, or ``preempted`` when it was stopped.

    Raises:
        StorageError: the disk is full, or storage fails; later the run can go on from its last checkpoint.
    """
    run_dir = RunDir.of(results_dir, plan.run_id)
    claim = claims.claim(run_dir, driver=driver, attempt=next_attempt(run_dir))
    if claim is None:
        return None
    with claim:
        record = asked.read(run_dir, plan.evaluation_key)
        if record is not None and record.state in FINAL_STATES:
            return record
        if record is not None and pruning is not None and pruning.pruner.has_pruned(run_dir, record):
            return record
        if cancel_marker(run_dir).exists():
            return mark_cancelled(plan, run_dir)
        begun = run_dir.write_plan(plan)
        if claim.info.deaths >= max_attempts:
            return _lost(plan, run_dir, claim.info.deaths)
        cancelled = threading.Event()
        reasons: list[str] = []

        def look() -> None:
            if cancel_marker(run_dir).exists():
                cancelled.set()

        claim.watch(look)

        def is_stopped() -> bool:
            return cancelled.is_set() or claim.lost.is_set() or stop()

        def should_stop() -> bool:
            if pruning is not None and not reasons and (reason := pruning.hopeless()) is not None:
                reasons.append(reason)
            return bool(reasons) or is_stopped()

        if record is None or record.state is not RunState.trained:
            if pruning is not None and (reason := pruning.hopeless()) is not None:
                return _mark_stopped(plan, run_dir, record or _fresh(plan), pruning, reason)

            def train() -> RunRecord:
                return session.run(begun, run_dir, next_attempt(run_dir), should_stop)

            record = _patiently(train, begun, run_dir, should_stop)
        if record.state is RunState.trained or asked.needs_evaluation(record, plan.evaluation_key):
            reasons.clear()  # it is trained after all

            def evaluate() -> RunRecord:
                return session.evaluate(plan, run_dir, is_stopped)

            record = _patiently(evaluate, plan, run_dir, is_stopped)
        if cancelled.is_set() and not claim.lost.is_set() and record.state is RunState.preempted:
            return mark_cancelled(plan, run_dir)
        if pruning is not None and reasons and not claim.lost.is_set() and record.state is RunState.preempted:
            record = _mark_stopped(plan, run_dir, record, pruning, reasons[0])
        if record.state in FINAL_STATES or record.state in STOPPED:
            cancel_marker(run_dir).unlink(missing_ok=True)  # came too late
        return record


def _patiently(work: Work, plan: RunSpec, run_dir: RunDir, should_stop: Stop) -> RunRecord:
    """The record that ``work`` leaves; again where storage fails. Raises StorageError where that lasts."""
    record = _recorded(work, plan, run_dir)
    for pause_s in STORAGE_PAUSES_S:
        if record.failure_class is not FailureClass.storage or should_stop():
            break
        time.sleep(pause_s)
        record = _recorded(work, plan, run_dir)
    if record.failure_class is FailureClass.storage and not _is_recorded(record, plan, run_dir):
        raise StorageError(record.failure_message or f"{run_dir.path}: storage fails")
    if record.failure_class is FailureClass.disk_full:
        raise DiskFullError(record.failure_message or f"{run_dir.path}: the disk is full")
    return record


def _recorded(work: Work, plan: RunSpec, run_dir: RunDir) -> RunRecord:
    """The session's record; an exception it should have classified becomes a failed one."""
    attempt = next_attempt(run_dir)
    try:
        return work()
    except Exception as error:
        trace = traceback.format_exc()
        run_dir.say(trace)
        message = f"{type(error).__name__}: {error}"
        return _end(plan, run_dir, RunState.failed, FailureClass.of(error), message, attempt)


def _is_recorded(record: RunRecord, plan: RunSpec, run_dir: RunDir) -> bool:
    there = asked.read(run_dir, plan.evaluation_key)
    return there is not None and there.state is record.state


def next_attempt(run_dir: RunDir) -> int:
    """One more than the attempts this run has had."""
    return max(run_dir.attempt_numbers(), default=0) + 1


def cancel_marker(run_dir: RunDir) -> Path:
    """A file that asks whoever holds the run to stop it."""
    return run_dir.path / "cancel"


def mark_cancelled(plan: RunSpec, run_dir: RunDir) -> RunRecord:
    """Record the run as cancelled and take the marker away; the caller holds the claim."""
    message = "launch it again and it goes on"
    record = _end(plan, run_dir, RunState.cancelled, FailureClass.cancelled, message)
    cancel_marker(run_dir).unlink(missing_ok=True)
    return record


def _mark_stopped(
    plan: RunSpec, run_dir: RunDir, record: RunRecord, pruning: Pruning, reason: str
) -> RunRecord:
    """Record a run that was stopped as hopeless; few are gone on with, so its checkpoints are dropped."""
    pruner = pruning.pruner
    pruner.note(run_dir, record.step, reason, pruning.evidence)
    by = f"{pruner.state} by {pruner.name} ({pruner.rule['kind']})" if "kind" in pruner.rule else pruner.name
    said = f"{by}: {reason}"
    record = replace(record, state=pruner.state, failure_message=said, ended_at=now())
    run_dir.write_record(record)
    if not plan.keep_checkpoints:
        shutil.rmtree(run_dir.checkpoints_path, ignore_errors=True)
    return record


def refuse(plan: RunSpec, results_dir: Path, error: Exception) -> None:
    """Record a run as failed by ``error`` before it has started, unless somebody holds it or it has ended."""
    run_dir = RunDir.of(results_dir, plan.run_id)
    claim = claims.claim(run_dir)
    if claim is None:
        return
    with claim:
        record = asked.read(run_dir, plan.evaluation_key)
        if record is None or record.state not in FINAL_STATES:
            run_dir.say(str(error))
            mark_failed(plan, run_dir, FailureClass.of(error), str(error))


def mark_failed(plan: RunSpec, run_dir: RunDir, failure_class: FailureClass, message: str) -> RunRecord:
    """Record the run as failed by what happened around it; the caller holds the claim."""
    return _end(plan, run_dir, RunState.failed, failure_class, message)


def _end(
    plan: RunSpec,
    run_dir: RunDir,
    state: RunState,
    failure_class: FailureClass,
    message: str,
    attempt: int | None = None,
) -> RunRecord:
    """Record how a run ended without a session; of one that is trained, how its evaluation did."""
    trained = run_dir.read_record()
    is_trained = trained is not None and asked.needs_evaluation(trained, plan.evaluation_key)
    record = replace(
        _fresh(plan) if trained is None or is_trained else trained,
        state=state,
        failure_class=failure_class,
        failure_message=message,
        ended_at=now(),
    )
    if trained is not None and is_trained:
        record.weights, record.step = trained.weights, trained.step
        run_dir.write_evaluation(record)
        return record
    record.attempt = attempt or record.attempt
    run_dir.write_plan(plan)
    run_dir.write_record(record)
    return record


def reopen(plan: RunSpec, results_dir: Path) -> bool:
    """Make a run with a final record (cancelled, failed) startable again; False when someone holds it.

    A run that had started goes on from its checkpoint; one that had not loses its record, and one that is
    trained that of its evaluation.
    """
    run_dir = RunDir.of(results_dir, plan.run_id)
    claim = claims.claim(run_dir)
    if claim is None:
        return False
    with claim:
        cancel_marker(run_dir).unlink(missing_ok=True)
        record = run_dir.read_record()
        if record is not None and asked.needs_evaluation(record, plan.evaluation_key):
            run_dir.evaluation_path(plan.evaluation_key).unlink(missing_ok=True)
            return True
        if record is None or record.state is RunState.complete:
            return True
        if record.started_at is None:
            run_dir.record_path.unlink(missing_ok=True)
        else:
            run_dir.write_record(
                replace(record, state=RunState.preempted, failure_class=None, failure_message=None)
            )
    return True


def now() -> str:
    """The current time as records write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def out_of_memory(plan: RunSpec, run_dir: RunDir, attempt: int) -> None:
    """Note that the kernel killed the process of an attempt for want of memory; somebody else noticed.

    Whoever took the run over meanwhile, and gave it up, could not know: that record is put right.
    """
    if (trained := run_dir.read_record()) is not None and trained.state is RunState.complete:
        return  # it was being evaluated
    begun = next((item for item in run_dir.attempts() if item.attempt == attempt), None)
    ended = replace(
        begun or Attempt(attempt, host=platform.node()),
        state=RunState.failed,
        failure_class=FailureClass.oom,
        failure_message=_KILLED,
        ended_at=now(),
    )
    run_dir.write_attempt(ended)
    record = run_dir.read_record()
    if record is None or record.failure_class is not FailureClass.lost:
        return  # a claim of ours would end the count of its deaths
    if (claim := claims.claim(run_dir)) is not None:
        with claim:
            mark_failed(plan, run_dir, FailureClass.oom, _KILLED)


def _lost(plan: RunSpec, run_dir: RunDir, deaths: int) -> RunRecord:
    attempts = run_dir.attempts()
    if attempts and attempts[-1].failure_class is FailureClass.oom:
        return mark_failed(plan, run_dir, FailureClass.oom, _KILLED)
    message = (
        f"its process died {deaths} times in a row without getting further (launcher.max_attempts), perhaps "
        "for want of memory: lower horizon.device_batch_size or launcher.num_workers; run the same command "
        "again to retry"
    )
    return mark_failed(plan, run_dir, FailureClass.lost, message)


def _fresh(plan: RunSpec) -> RunRecord:
    """Of a run that never wrote any."""
    return RunRecord(
        run_id=plan.run_id,
        variant_id=plan.variant_id,
        seed=plan.seed,
        state=RunState.running,
        num_steps=plan.num_steps,
        evaluation_key=plan.evaluation_key,
    )
