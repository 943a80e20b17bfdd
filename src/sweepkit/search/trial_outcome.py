"""What a trial came to, judged by its run folders alone, and what of it Optuna is told.

The value is the mean of the decision metric over the trial's seeds. A trial that its own point made fail
(it diverged, ran out of memory, crashed, or measured more memory than allowed) is infeasible, as is a point
that is no valid configuration: the sampler has to learn to keep away. One that was stopped as hopeless is
pruned. A trial whose process was lost, or whose device or text was not there, says nothing about its point:
it is dead, counts for nothing, and another is asked for. A full disk or a cancel decides nothing: the next
launch goes on with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sweepkit.launch.curve import Curve
from sweepkit.launch.ledger import Run
from sweepkit.plan.command_plan import own
from sweepkit.results import answer, flatten
from sweepkit.results.record import FailureClass, RunState
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.trials import Trial

#: What decides nothing: the next launch goes on with the run.
_UNDECIDED = frozenset({FailureClass.cancelled, FailureClass.disk_full, FailureClass.storage})
#: What befell a run from outside; the trial is dead, not bad.
_DEAD = answer.FROM_OUTSIDE | {FailureClass.timeout}


class TrialState(StrEnum):
    complete = "complete"
    pruned = "pruned"
    infeasible = "infeasible"
    invalid = "invalid"  # no valid configuration
    dead = "dead"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        second: of the second objective, where there is one and the trial has a value; smaller is better.
        value: of a complete trial, and of one that is infeasible for what it measured alone.
        loss_at: of a pruned trial: per cent of the schedule, and the training loss there.
        excesses: constraint → by how much it is broken, the most over its runs; above 0 is infeasible. None
            where that is not known.
        reason: of a trial that is not complete, in words.
    """

    state: TrialState
    value: float | None = None
    second: float | None = None
    loss_at: tuple[int, float] | None = None
    excesses: dict[str, float | None] = field(default_factory=dict)
    reason: str = ""
    run_ids: tuple[str, ...] = field(default=())

    @property
    def values(self) -> tuple[float, ...]:
        """Of every objective, smaller is better; empty where there is none."""
        return tuple(item for item in (self.value, self.second) if item is not None)


def decide(trial: Trial, runs: Sequence[Run], rule: DecisionRule, spec: SearchSpec) -> Outcome | None:
    """The outcome, its value as of a loss; None while runs are missing that could still change it.

    One bad seed decides: the trial's other runs are then not needed.
    """
    if not trial.cells:
        return Outcome(TrialState.invalid, reason=trial.error or "no runs")
    run_ids = tuple(run.run_id for run in runs)
    for run in runs:
        if run.record is None or not run.is_final or run.record.failure_class in _UNDECIDED:
            continue
        why = f"{run.run_id}: {run.record.failure_message or run.record.failure_class or run.state}"
        if run.is_pruned:
            return Outcome(TrialState.pruned, loss_at=_loss_when_pruned(run), reason=why, run_ids=run_ids)
        if run.record.failure_class in _DEAD:
            return Outcome(TrialState.dead, reason=why, run_ids=run_ids)
        if run.record.state in (RunState.failed, RunState.diverged):
            return Outcome(TrialState.infeasible, reason=why, run_ids=run_ids)
    rows = [
        flatten.record_row(run.record)
        for run in runs
        if run.record is not None and run.record.state is RunState.complete
    ]
    if len(rows) < len(runs):
        return None
    means: list[float] = []
    second_one = [(spec.second_objective, spec.second_sign)] if spec.second_objective else []
    for name, sign in [(rule.metric, rule.sign), *second_one]:
        values = [row.get(name) for row in rows]
        numbers = [float(value) for value in values if value is not None and math.isfinite(value)]
        if len(numbers) < len(values):
            return Outcome(TrialState.infeasible, reason=f"complete without {name}", run_ids=run_ids)
        means.append(sign * math.fsum(numbers) / len(numbers))
    mean, second = means[0], means[1] if len(means) > 1 else None
    excesses = _worst(rows, spec)
    if broken := next(filter(None, map(spec.infeasible, rows)), None):
        return Outcome(TrialState.infeasible, mean, second, excesses=excesses, reason=broken, run_ids=run_ids)
    return Outcome(TrialState.complete, mean, second, excesses=excesses, run_ids=run_ids)


def _worst(rows: Sequence[Mapping[str, Any]], spec: SearchSpec) -> dict[str, float | None]:
    """Limit or constraint on what is measured → by how much it is broken, the most over the rows."""
    found = [spec.excesses(row) for row in rows]
    known = {name: [row[name] for row in found] for name in spec.limited_by}
    return {name: max((it for it in them if it is not None), default=None) for name, them in known.items()}


def _loss_when_pruned(run: Run) -> tuple[int, float] | None:
    """Whoever has gone on with the run since has logged more."""
    curve = Curve(run.run_dir.metrics_path, own(run.plan).num_steps)
    entry = run.pruner.entry(run.run_dir) if run.pruner else None
    frac = (entry or {}).get("step", curve.last_step) / own(run.plan).num_steps
    loss = curve.loss_at(frac)
    return None if loss is None else (int(100 * frac), loss)
