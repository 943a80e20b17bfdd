"""Which runs of a variant count, which count against it, and which are simply missing.

A diverged run counts against its variant, always. One that ran out of memory or time does once it has
done so again after a retry, on another machine where the sweep has several: before that, a neighbour on
the node may have been to blame. A lost worker, a full disk, a cancelled or crashed run says nothing about
the variant; it is missing, never zero. Runs that have not ended yet are told apart, because nothing is
decided while there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweepkit.results.columns import CORRUPT, PLANNED
from sweepkit.results.record import FailureClass, RunState

UNFINISHED = frozenset({PLANNED, RunState.running.value, RunState.preempted.value})
_DIVERGED = FailureClass.diverged.value
_RESOURCES = frozenset({FailureClass.oom.value, FailureClass.timeout.value})


@dataclass(frozen=True)
class Replicates:
    """Run ids of one variant on one rung; ``missing`` and ``against`` map each to what happened."""

    complete: list[str]
    against: dict[str, str]
    missing: dict[str, str]
    unfinished: list[str]

    @property
    def divergence(self) -> tuple[int, int]:
        """How many runs diverged, of how many that showed whether they would."""
        diverged = sum(what == _DIVERGED for what in self.against.values())
        return diverged, diverged + len(self.complete)

    @property
    def does_not_fit(self) -> dict[str, str]:
        """Runs that ran out of memory or time, again after a retry."""
        return {run_id: what for run_id, what in self.against.items() if what != _DIVERGED}


def sort_runs(rows: pd.DataFrame, metric: str, num_hosts: int = 1) -> Replicates:
    """Sort one variant's rows by fate.

    Args:
        rows: columns run_id, state and ``metric``; failure_class, failed_attempts and failed_hosts where
            there are any.
        metric: what is compared.
        num_hosts: machines that the sweep's runs were on.
    """
    found = Replicates([], {}, {}, [])
    for row in rows.to_dict("records"):
        run_id, state, value = str(row["run_id"]), row["state"], row[metric]
        why = None if pd.isna(row.get("failure_class")) else str(row["failure_class"])
        if state == RunState.complete and not pd.isna(value):
            found.complete.append(run_id)
        elif state == RunState.complete:
            found.missing[run_id] = f"complete without {metric}"
        elif state == RunState.diverged:
            found.against[run_id] = _DIVERGED
        elif state == RunState.failed and why in _RESOURCES:
            if _is_confirmed(row, num_hosts):
                found.against[run_id] = f"{why}, again after a retry"
            else:
                found.missing[run_id] = f"{why}, not retried{' elsewhere' if num_hosts > 1 else ''}"
        elif state in UNFINISHED:
            found.unfinished.append(run_id)
        else:
            found.missing[run_id] = why or str(CORRUPT if state == CORRUPT else state)
    return found


def to_retry(rows: pd.DataFrame) -> list[str]:
    """Ids of runs that ran out of memory or time and have not been tried again."""
    if "failed_attempts" not in rows:
        return []
    of_resources = (rows["state"] == RunState.failed) & rows["failure_class"].isin(_RESOURCES)
    once = rows["failed_attempts"].astype("Float64").fillna(1.0) < 2.0
    return [str(run_id) for run_id in rows.loc[of_resources & once, "run_id"]]


def _is_confirmed(row: dict[Any, Any], num_hosts: int) -> bool:
    attempts, hosts = row.get("failed_attempts"), row.get("failed_hosts")
    if pd.isna(attempts) or pd.isna(hosts):
        return False
    return int(attempts) >= 2 and int(hosts) >= min(2, num_hosts)
