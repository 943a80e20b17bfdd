"""Which runs of a variant count, which count against it, and which are simply missing.

A diverged run counts against its variant, always. One that ran out of memory or time does once it has
done so again after a retry, on another machine where the sweep has several, or a third time where no other
takes it: before that, a neighbour on the node may have been to blame; and one that is impossible. A crashed
run is missing, never zero.
Runs without an answer (``results/answer.py``) are told apart, because nothing is decided while there are any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sweepkit.results import answer
from sweepkit.results.columns import CORRUPT, PLANNED
from sweepkit.results.record import FailureClass, RunState

_UNFINISHED = frozenset({PLANNED, RunState.running.value, RunState.preempted.value})
_NAMED = 5
_DIVERGED = FailureClass.diverged.value
_RESOURCES = frozenset({FailureClass.oom.value, FailureClass.timeout.value})
_FATE = ("run_id", "state", "failure_class", "failure_message", "failed_attempts", "failed_hosts")


@dataclass(frozen=True)
class Replicates:
    """Run ids of one variant on one rung; ``missing``, ``against`` and ``stopped`` map each to what happened.

    What was stopped for futility is neither lost nor against it: its variant had no chance left.
    """

    complete: list[str]
    against: dict[str, str]
    missing: dict[str, str]
    unfinished: list[str]
    stopped: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All runs that have ended."""
        return len(self.complete) + len(self.against) + len(self.missing) + len(self.stopped)

    @property
    def divergence(self) -> tuple[int, int]:
        """How many runs diverged, of how many that showed whether they would."""
        diverged = sum(what == _DIVERGED for what in self.against.values())
        return diverged, diverged + len(self.complete)

    @property
    def does_not_fit(self) -> dict[str, str]:
        """Runs that ran out of memory or time, again after a retry, or were impossible."""
        return {run_id: what for run_id, what in self.against.items() if what != _DIVERGED}


def of_each_variant(rows: pd.DataFrame, metric: str, num_hosts: int) -> dict[str, Replicates]:
    """Variant → its runs, as ``sort_runs`` sorts them."""
    of_variant: dict[str, list[dict[Any, Any]]] = {}
    for row in _records(rows, "variant", *_FATE, metric):
        of_variant.setdefault(row["variant"], []).append(row)
    return {name: _sorted(own, metric, num_hosts) for name, own in of_variant.items()}


def sort_runs(rows: pd.DataFrame, metric: str, num_hosts: int = 1) -> Replicates:
    """Sort one variant's rows by fate.

    Args:
        rows: columns run_id, state and ``metric``; failure_class, failed_attempts and failed_hosts where
            there are any.
        metric: what is compared.
        num_hosts: machines that the sweep's runs were on.
    """
    return _sorted(_records(rows, *_FATE, metric), metric, num_hosts)


def _sorted(rows: Iterable[dict[Any, Any]], metric: str, num_hosts: int) -> Replicates:
    found = Replicates([], {}, {}, [])
    for row in rows:
        run_id, state, value = str(row["run_id"]), row["state"], row[metric]
        why = _failure(row)
        if state == RunState.complete and not pd.isna(value):
            found.complete.append(run_id)
        elif state == RunState.complete:
            found.missing[run_id] = f"complete without {metric}"
        elif state == RunState.diverged:
            found.against[run_id] = _DIVERGED
        elif state == RunState.failed and why == FailureClass.impossible:
            found.against[run_id] = f"{why}, for its configuration and its text do not go together"
        elif state == RunState.failed and why in _RESOURCES:
            if _is_confirmed(row, num_hosts):
                found.against[run_id] = f"{why}, again after a retry"
            else:
                found.missing[run_id] = f"{why}, not retried{' elsewhere' if num_hosts > 1 else ''}"
        elif state == RunState.futile:
            message = row.get("failure_message")
            found.stopped[run_id] = "stopped for futility" if pd.isna(message) else str(message)
        elif state in _UNFINISHED:
            found.unfinished.append(run_id)
        else:
            found.missing[run_id] = why or str(CORRUPT if state == CORRUPT else state)
    return found


def num_hosts(rows: pd.DataFrame) -> int:
    """Machines that the runs of a table were on; 1 where none is known."""
    return max(1, int(rows["host"].nunique())) if "host" in rows else 1


def unanswered(rows: pd.DataFrame) -> dict[str, str]:
    """Run id → what there is instead of an answer: a state, or a failure that is not the run's own."""
    return {
        str(row["run_id"]): _failure(row) or str(row["state"])
        for row in _records(rows, *_FATE)
        if not answer.is_answer(row["state"], _failure(row))
    }


def in_words(runs: Mapping[str, str]) -> str:
    """``d2-0123-s1: cancelled, ...`` of runs and what became of them, the first few."""
    some = [f"{run_id}: {what}" for run_id, what in list(runs.items())[:_NAMED]]
    return ", ".join(some) + (", ..." if len(runs) > len(some) else "")


def to_retry(rows: pd.DataFrame) -> dict[str, str]:
    """Run id → failure of runs that ran out of memory or time, which a retry has yet to confirm."""
    if "failed_attempts" not in rows:
        return {}
    failed = rows[(rows["state"] == RunState.failed) & rows["failure_class"].isin(_RESOURCES)]
    hosts = num_hosts(rows)
    return {
        str(row["run_id"]): str(row["failure_class"])
        for row in _records(failed, *_FATE)
        if not _is_confirmed(row, hosts)
    }


def _records(rows: pd.DataFrame, *names: str) -> list[dict[Any, Any]]:
    """The rows with the columns that are read, as far as there are such: a runs table has a hundred more."""
    return rows[rows.columns.intersection(list(names), sort=False)].to_dict("records")


def _failure(row: dict[Any, Any]) -> str | None:
    found = row.get("failure_class")
    return None if pd.isna(found) else str(found)


def _is_confirmed(row: dict[Any, Any], hosts: int) -> bool:
    attempts, on = row.get("failed_attempts"), row.get("failed_hosts")
    if pd.isna(attempts) or pd.isna(on):
        return False
    return int(attempts) >= 2 and (int(on) >= min(2, hosts) or int(attempts) > 2)
