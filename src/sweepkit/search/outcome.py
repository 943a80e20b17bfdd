"""What a trial came to, judged by its run folders alone, and what of it Optuna is told.

The value is the mean of the decision metric over the trial's seeds. Nothing is ever told as infinity, which
Optuna would take for a number: a trial that diverged, ran out of memory or crashed has failed, one that was
stopped as hopeless is pruned, one that needed more memory than allowed is infeasible. A trial whose process
was lost says nothing about its point: it is dead, counts for nothing, and another is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sweepkit.launch.ledger import Run
from sweepkit.results import answer, flatten
from sweepkit.results.record import FailureClass, RunState
from sweepkit.search.curve import Curve
from sweepkit.sweep.trials import Trial

#: What decides nothing: the next launch goes on with the run.
_GOES_ON = frozenset({FailureClass.cancelled, FailureClass.disk_full, FailureClass.storage})
#: What befell a run from outside; the trial is dead, not bad.
_DEAD = answer.FROM_OUTSIDE | {FailureClass.timeout}


class TrialState(StrEnum):
    complete = "complete"
    pruned = "pruned"
    failed = "failed"
    dead = "dead"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        value: of a complete trial.
        loss_at: of a pruned trial: per cent of the schedule, and the training loss there.
        excess_gib: measured peak memory less the limit; above 0 is infeasible. None without a limit.
        reason: of a trial that is not complete, in words.
    """

    state: TrialState
    value: float | None = None
    loss_at: tuple[int, float] | None = None
    excess_gib: float | None = None
    reason: str = ""
    run_ids: tuple[str, ...] = field(default=())


def decide(trial: Trial, runs: Sequence[Run], metric: str, max_memory_gib: float | None) -> Outcome | None:
    """The outcome; None while runs are missing that could still change it.

    One bad seed decides: the trial's other runs are then not needed. A cancelled run, or one that a full disk
    stopped, decides nothing, for the next launch goes on with it.
    """
    if not trial.cells:
        return Outcome(TrialState.failed, reason=trial.error or "no runs")
    run_ids = tuple(run.run_id for run in runs)
    for run in runs:
        if run.record is None or not run.is_final or run.record.failure_class in _GOES_ON:
            continue
        why = f"{run.run_id}: {run.record.failure_message or run.record.failure_class or run.state}"
        if run.is_pruned:
            return Outcome(TrialState.pruned, loss_at=_loss_when_pruned(run), reason=why, run_ids=run_ids)
        if run.record.failure_class in _DEAD:
            return Outcome(TrialState.dead, reason=why, run_ids=run_ids)
        if run.record.state in (RunState.failed, RunState.diverged):
            return Outcome(TrialState.failed, reason=why, run_ids=run_ids)
    rows = [
        flatten.record_row(run.record.to_json())
        for run in runs
        if run.record is not None and run.record.state is RunState.complete
    ]
    if len(rows) < len(runs):
        return None
    values = [row.get(metric) for row in rows]
    numbers = [float(value) for value in values if value is not None and math.isfinite(value)]
    if len(numbers) < len(values):
        return Outcome(TrialState.failed, reason=f"complete without {metric}", run_ids=run_ids)
    peaks = [float(row["peak_memory_gib"]) for row in rows if row.get("peak_memory_gib") is not None]
    excess = max(peaks) - max_memory_gib if max_memory_gib is not None and peaks else None
    mean = math.fsum(numbers) / len(numbers)
    return Outcome(TrialState.complete, mean, excess_gib=excess, run_ids=run_ids)


def _loss_when_pruned(run: Run) -> tuple[int, float] | None:
    """Whoever has gone on with the run since has logged more."""
    curve = Curve(run.run_dir.metrics_path, run.plan.num_steps)
    entry = run.pruner.entry(run.run_dir) if run.pruner else None
    frac = (entry or {}).get("step", curve.last_step) / run.plan.num_steps
    loss = curve.loss_at(frac)
    return None if loss is None else (int(100 * frac), loss)
