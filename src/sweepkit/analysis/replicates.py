"""Which runs of a variant count, which count against it, and which are simply missing.

A diverged run counts against its variant, and so does one that ran out of memory: both are the variant's own
doing. A lost worker, a full disk, a cancelled or crashed run says nothing about the variant; it is missing,
never zero. Runs that have not ended yet are told apart, because nothing is decided while there are any.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sweepkit.results.columns import CORRUPT, PLANNED
from sweepkit.results.record import FailureClass, RunState

UNFINISHED = frozenset({PLANNED, RunState.running.value, RunState.preempted.value})
_AGAINST = frozenset({FailureClass.diverged.value, FailureClass.oom.value})


@dataclass(frozen=True)
class Replicates:
    """Run ids of one variant on one rung; ``missing`` and ``against`` map each to what happened."""

    complete: list[str]
    against: dict[str, str]
    missing: dict[str, str]
    unfinished: list[str]


def sort_runs(rows: pd.DataFrame, metric: str) -> Replicates:
    """Sort one variant's rows (columns run_id, state, failure_class and ``metric``) by fate."""
    found = Replicates([], {}, {}, [])
    classes = rows["failure_class"] if "failure_class" in rows else [None] * len(rows)
    for run_id, state, failure, value in zip(
        rows["run_id"], rows["state"], classes, rows[metric], strict=True
    ):
        why = None if pd.isna(failure) else str(failure)
        if state == RunState.complete and not pd.isna(value):
            found.complete.append(str(run_id))
        elif state == RunState.complete:
            found.missing[str(run_id)] = f"complete without {metric}"
        elif state == RunState.diverged:
            found.against[str(run_id)] = "diverged"
        elif state == RunState.failed and why in _AGAINST:
            found.against[str(run_id)] = why
        elif state in UNFINISHED:
            found.unfinished.append(str(run_id))
        else:
            found.missing[str(run_id)] = why or str(CORRUPT if state == CORRUPT else state)
    return found
