"""A run as whoever asks for it sees it: trained once, and evaluated as they ask.

A record keeps what the run's own final evaluation measured. Whoever asks for another one (other streams,
other bytes: another ``evaluation_key``) sees what was measured so on the kept weights, from
``evaluations/KEY.json``, and nothing of the run's own losses; where nothing was, the run is ``trained`` to
them, which is no answer yet.
"""

from __future__ import annotations

from dataclasses import replace

from sweepkit import fsio
from sweepkit.results.columns import CORRUPT, Row
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.sweep import metric

_LOSSES = ("val_bpb", "bpb_", metric.EMA, "core")
#: Columns of the runs table that tell of losses: their values, and what they were measured on.
_COLUMNS = (*_LOSSES, "evaluation_fingerprint", "measured_on")
_STATE = ("state", "failure_class", "failure_message")


def read(run_dir: RunDir, key: str) -> RunRecord | None:
    """The record for those who ask for the evaluation ``key``; None for a run that never started."""
    record = run_dir.read_record()
    if record is None or not needs_evaluation(record, key):
        return record
    return seen(record, run_dir.read_evaluation(key))


def needs_evaluation(record: RunRecord, key: str) -> bool:
    """Whether a run has been trained and evaluated in another way than ``key``."""
    return record.state is RunState.complete and record.evaluation_key != key


def is_loss(name: str) -> bool:
    """Whether a result is what an evaluation measures: a loss on a stream, or a score of tasks."""
    return name.startswith(_LOSSES)


def seen(record: RunRecord, evaluation: RunRecord | None) -> RunRecord:
    """A complete record with the losses and the end of another evaluation of its weights; None: not yet."""
    others = {name: value for name, value in record.results.items() if not is_loss(name)}
    if evaluation is None or evaluation.weights != record.weights:
        return replace(
            record, state=RunState.trained, results=others, evaluation_fingerprints={}, measured_on={}
        )
    losses = {name: value for name, value in evaluation.results.items() if is_loss(name)}
    return replace(
        record,
        state=evaluation.state,
        failure_class=_failure_class(evaluation.failure_class),
        failure_message=evaluation.failure_message,
        results=others | losses,
        evaluation_key=evaluation.evaluation_key,
        evaluation_fingerprints=evaluation.evaluation_fingerprints,
        measured_on=evaluation.measured_on,
    )


def is_apart(row: Row, key: str | None) -> bool:
    """Whether a row of the runs table has losses of another evaluation than ``key``; None: of its own."""
    return key is not None and row.get("evaluation_key", key) != key


def seen_row(row: Row, evaluation: Row | None, key: str) -> Row:
    """``seen`` for a row of the runs table that is apart.

    Numbers are of both environments where they differ, so that they compare only with others of these two.
    """
    others = {name: value for name, value in row.items() if not name.startswith(_COLUMNS)}
    others |= {"evaluation_key": key, "evaluated_apart": True}
    if row["state"] != RunState.complete:
        return others
    is_of_these = evaluation is not None and evaluation.get("weights") == row.get("weights")
    if evaluation is None or not is_of_these or evaluation["state"] == CORRUPT:
        return others | {"state": RunState.trained.value}
    found = {name: value for name, value in evaluation.items() if name.startswith((*_COLUMNS, *_STATE))}
    if "failure_class" in found:
        found["failure_class"] = _failure_class(FailureClass(found["failure_class"]))
    environments = [item.get("environment_fingerprint") for item in (row, evaluation)]
    if environments[0] != environments[1]:
        found["environment_fingerprint"] = fsio.digest(environments)[:16]
        found["evaluated_on"] = f"{evaluation.get('hardware')}, {evaluation.get('dtype')}"
    return others | found


def _failure_class(found: FailureClass | None) -> FailureClass | None:
    """What became of an evaluation says nothing against what was trained, unless the loss is not finite."""
    kept = (None, FailureClass.diverged, FailureClass.cancelled)
    return found if found in kept else FailureClass.evaluation
