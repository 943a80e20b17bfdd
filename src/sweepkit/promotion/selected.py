"""What the selection runs of ``tune`` select (``sweep/tuning.py``): every variant's best point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sweepkit.results.record import RunState
from sweepkit.sweep import tuning
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.tuning import Point


@dataclass(frozen=True)
class Tried:
    """What the selection runs of a point say.

    Attributes:
        mean: of the metric over the selection seeds; None where a run of the point has no loss.
        is_taken: it is its variant's best.
        at_edge: fields whose best value is the smallest or the largest that was tried.
    """

    point: Point
    mean: float | None
    is_taken: bool
    at_edge: tuple[str, ...] = ()


def tried(
    sweep: SweepFile,
    runs: pd.DataFrame,
    extra: Sequence[str] = (),
    frozen: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Tried]:
    """What the selection runs say of every point, and which each variant takes.

    A point of which a run has ended without a loss is not taken; equal ones, the variant's own first.

    Args:
        runs: of ``NAME-tune``, one row a run.
        frozen: what was taken, where that is frozen by now; runs may have been deleted since.
    """
    metric, sign = sweep.decision.metric, sweep.decision.sign
    losses: dict[str, list[float]] = {}
    for label, state, loss in zip(runs["variant"], runs["state"], runs[metric], strict=True):
        if state == RunState.complete and not pd.isna(loss):
            losses.setdefault(str(label), []).append(float(loss))
    whole = {
        label: math.fsum(mine) / len(mine) for label, mine in losses.items() if len(mine) == sweep.tune_seeds
    }
    found = []
    for _, group in itertools.groupby(tuning.points(sweep, extra), lambda point: point.variant.label):
        mine = list(group)
        mean = {point.label: whole[point.label] for point in mine if point.label in whole}
        best = min(mean, key=lambda label: sign * mean[label]) if mean else mine[0].label
        for point in mine:
            taken_there = None if frozen is None else frozen.get(point.variant.label, ())
            is_taken = point.label == best if taken_there is None else point.overrides == taken_there
            edge = _edges(point, mine) if is_taken else ()
            found.append(Tried(point, mean.get(point.label), is_taken, edge))
    return found


def taken(results: Sequence[Tried]) -> dict[str, tuple[str, ...]]:
    """Variant → what it sets beside its levels; nothing where its own values were best."""
    return {
        item.point.variant.label: item.point.overrides
        for item in results
        if item.is_taken and item.point.overrides
    }


def _edges(point: Point, mine: Sequence[Point]) -> tuple[str, ...]:
    """Fields in which a point has the smallest or the largest of three or more numbers."""
    found = []
    for name, best in point.settings.items():
        numbers = [item for of in mine if isinstance(item := of.settings[name], int | float)]
        if len({*numbers}) > 2 and best in (min(numbers), max(numbers)):
            found.append(name)
    return tuple(found)
