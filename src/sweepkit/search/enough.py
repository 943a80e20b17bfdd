"""When a search has had enough before its ``n_trials``: hours are spent, or nothing improves any more.

Both are read off the run folders, so that they hold however many processes search and however often they were
stopped. Nothing that runs is stopped by them: no further trial is proposed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from sweepkit.launch.ledger import Run
from sweepkit.launch.pace import seconds_since
from sweepkit.search.trial_outcome import Outcome, TrialState
from sweepkit.sweep.trials import Trial

_UNHEEDED = frozenset({TrialState.dead, TrialState.invalid})


def improves(values: Sequence[float], best: Sequence[Sequence[float]], by: float) -> bool:
    """Whether values, smaller is better, are not matched by any of those before.

    Args:
        by: how much better the first has to be to count.
    """
    return not any(
        (before[0] <= values[0] or before[0] - by < values[0])
        and all(a <= b for a, b in zip(before[1:], values[1:], strict=True))
        for before in best
    )


def trials_without_gain(
    trials: Iterable[Trial], outcomes: Mapping[int, Outcome], min_effect: float, since: int = 0
) -> int:
    """How many trials in a row, up to the last that has ended, did not improve on all before them.

    What had ended before the search began is improved upon, but is no trial without a gain; neither are
    repeats, points that are no valid configuration, and trials that were lost.

    Args:
        min_effect: smallest improvement that counts.
        since: trials before that number are no trials without a gain either: an amendment came after them.
    """
    best: list[tuple[float, ...]] = []
    count = 0
    for trial in trials:
        found = outcomes.get(trial.number)
        if found is None or not trial.cells or found.state in _UNHEEDED:
            continue
        if found.state is TrialState.complete and improves(found.values, best, min_effect):
            best.append(found.values)
            count = 0
        elif trial.number >= since and not trial.is_earlier:
            count += 1
    return count


def hours(runs: Iterable[Run], now: float | None = None) -> float:
    """How long any of these runs was at work, by the clock: side by side counts once, and a pause not at all.

    Args:
        now: seconds since the epoch.
    """
    now = time.time() if now is None else now
    spans = sorted(span for run in runs if (span := _span(run, now)) is not None)
    total, until = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total / 3600


def _span(run: Run, now: float) -> tuple[float, float] | None:
    """Start and end of a run's last attempt, in seconds since the epoch; None where it is not known."""
    record = run.record
    if record is None:
        return None
    began, ended = seconds_since(record.started_at, now), seconds_since(record.ended_at, now)
    if began is None or (ended is None and not run.is_held):
        return None
    return now - began, now - (ended or 0.0)
