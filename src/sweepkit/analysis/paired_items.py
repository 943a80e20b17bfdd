"""Two variants on the same items: by task, how many more one gets right, and how much of that is chance.

Items are the same for all runs, so they are paired: of every item the share of a variant's runs that had it
right, less the reference's share. Two errors are told apart. That over items says what another draw of items
would change; that between seeds what training again would. Neither contains the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweepkit.results.core_outcomes import TaskOutcome

#: Label → outcome of one run's tasks.
Tasks = Mapping[str, TaskOutcome]
#: The row of the mean over tasks.
MEAN = "mean of all"


@dataclass(frozen=True)
class PairedScore:
    """One variant on one task, or on all; scores are centred on chance.

    Attributes:
        n: its runs.
        items: asked of each.
        score: mean over its runs.
        difference: to the reference's mean; None for the reference itself.
        se_items, se_seeds: standard errors of the difference, or of the reference's score; between seeds
            None where there is one run.
        won, lost: items that it had right more often than the reference, and less often.
    """

    task: str
    n: int
    items: int
    score: float
    difference: float | None
    se_items: float | None
    se_seeds: float | None
    won: int | None
    lost: int | None


def compare(runs: Sequence[Tasks], reference: Sequence[Tasks], is_reference: bool) -> list[PairedScore]:
    """A variant's runs against the reference's, task by task and then on their mean.

    Args:
        runs: of the variant, at least one; each with the same tasks and items.
        reference: may be empty; then nothing is told but scores.
        is_reference: whether these are the reference's own.
    """
    tasks = [label for label in runs[0] if all(label in run for run in (*runs, *reference))]
    found = [_task(label, runs, [] if is_reference else reference) for label in tasks]
    if len(found) < 2:
        return found
    others = [] if is_reference else reference
    means, base = (np.array([_mean(run, tasks) for run in group]) for group in (runs, others))
    errors = [item.se_items for item in found if item.se_items is not None]
    whole = math.sqrt(math.fsum(error**2 for error in errors)) / len(tasks)
    mean = PairedScore(
        MEAN,
        len(runs),
        sum(item.items for item in found),
        float(means.mean()),
        float(means.mean() - base.mean()) if len(base) else None,
        whole if len(errors) == len(tasks) else None,
        _between(means, base if others else None),
        _sum(item.won for item in found),
        _sum(item.lost for item in found),
    )
    return [*found, mean]


def _task(label: str, runs: Sequence[Tasks], reference: Sequence[Tasks]) -> PairedScore:
    own, base = (np.array([_right(run[label]) for run in group]) for group in (runs, reference))
    scale = 1 - 0.01 * runs[0][label].baseline
    scores, base_scores = (np.array([run[label].centred for run in group]) for group in (runs, reference))
    difference = own.mean(axis=0) - base.mean(axis=0) if len(base) else own.mean(axis=0)
    num_items = own.shape[1]
    return PairedScore(
        label,
        len(runs),
        num_items,
        float(scores.mean()),
        float(scores.mean() - base_scores.mean()) if len(base) else None,
        float(difference.std(ddof=1)) / math.sqrt(num_items) / scale if num_items > 1 else None,
        _between(scores, base_scores if len(base) else None),
        int((difference > 0).sum()) if len(base) else None,
        int((difference < 0).sum()) if len(base) else None,
    )


def _right(task: TaskOutcome) -> npt.NDArray[np.float64]:
    return np.frombuffer(task.correct.encode(), dtype=np.uint8).astype(np.float64) - ord("0")


def _mean(run: Tasks, tasks: Sequence[str]) -> float:
    return math.fsum(run[label].centred for label in tasks) / len(tasks)


def _between(scores: npt.NDArray[np.float64], base: npt.NDArray[np.float64] | None) -> float | None:
    """Standard error of a mean over runs, or of a difference of two."""
    groups = [scores] if base is None else [scores, base]
    if any(len(group) < 2 for group in groups):
        return None
    return math.sqrt(math.fsum(float(group.var(ddof=1)) / len(group) for group in groups))


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
