"""Where a group's levels end, and whether its optimum lies beyond: the last level, or a cliff before it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis.laws.parabolas import Parabola
from sweepkit.analysis.laws.trust_region import TOWERS, Axis, Group, depth_of

#: A step that rises by so many SDs more than the parabola says, and towers, is a cliff.
_CLIFF_SDS = 5.0
#: No extension beyond so many steps of the grid.
_FARTHEST = 3.0
#: Share of a loss by which the means of equal losses differ.
_ROUNDING = 1e-14


@dataclass(frozen=True)
class Step:
    """The nearest cliff: between ``edge`` and ``beyond`` the loss rises by ``drop`` (None: it diverges)."""

    edge: float
    beyond: float
    drop: float | None
    factor: float  # from the optimum to the edge: edge / optimum, or on another axis the difference


def edge(group: Group, fit: Parabola, best: float, cliff: Step | None) -> tuple[int, float, int]:
    """On which side the optimum lies beyond what was tried (1, −1, 0), the outermost level there, and which
    way to extend.

    A side whose next level diverged, or lies behind a cliff, is not extended.
    """
    stands = np.flatnonzero(np.isfinite(group.mean_L))
    if is_tie(group):  # it points nowhere
        return 0, best, 0
    first, last = float(group.z_L[stands[0]]), float(group.z_L[stands[-1]])
    is_open = {1: last == group.z_L[-1], -1: first == group.z_L[0]}
    if cliff is not None:
        side = 1 if cliff.beyond > cliff.edge else -1
        is_open[side] = False
        first, last = (first, cliff.edge) if side > 0 else (cliff.edge, last)
    vertex = fit.vertex
    if vertex is None:
        if math.isfinite(fit.b):
            side = 1 if fit.b < 0 else -1
        else:  # no parabola: only a best level at the end of the grid says where to look
            side = 1 if best == last else -1 if best == first else 0
    else:
        side = 1 if vertex > last else -1 if vertex < first else 0
    if side:
        return side, (last if side > 0 else first), side * is_open[side]
    at_edge = 1 if best == last else -1 if best == first else 0
    return 0, best, at_edge * is_open.get(at_edge, False)


def is_tie(group: Group) -> bool:
    """Whether all levels are alike but for rounding; a parabola through them is of rounding too."""
    stands = group.mean_L[np.isfinite(group.mean_L)]
    return bool(np.ptp(stands) <= _ROUNDING * np.max(np.abs(stands)))


def extension(group: Group, vertex: float | None, last: float, side: int) -> float:
    """How far to extend: two steps of the grid, or one past the parabola's minimum where that is farther."""
    step = max(float(np.median(np.diff(group.z_L))), float(np.ptp(group.z_L)) / 8)
    past = 0.0 if vertex is None else side * (vertex - last) + step
    return float(min(max(2 * step, past), _FARTHEST * step))


def cliff(group: Group, fit: Parabola, centre: float) -> Step | None:
    """The nearest step on either side that diverges, or rises far more than the parabola does."""
    best = int(np.argmin(group.mean_L))
    sd = fit.sd if math.isfinite(fit.sd) else 0.0
    towers = TOWERS * depth_of(group.mean_L[group.region[0] : group.region[1] + 1])
    found = []
    known_L = np.setdiff1d(np.arange(len(group.z_L)), group.holes_L)
    for outwards in (known_L[known_L >= best], known_L[known_L <= best][::-1]):
        for level, beyond in itertools.pairwise(outwards):
            here, there = float(group.mean_L[level]), float(group.mean_L[beyond])
            if not math.isfinite(here):
                break
            expected = fit.at(float(group.z_L[beyond])) - fit.at(float(group.z_L[level]))
            surplus = there - here - max(expected if math.isfinite(expected) else 0.0, 0.0)
            if not math.isfinite(there) or (math.isfinite(fit.c) and surplus > max(towers, _CLIFF_SDS * sd)):
                drop = there - here if math.isfinite(there) else None
                edge = float(group.z_L[level])
                found.append(Step(edge, float(group.z_L[beyond]), drop, edge - centre))
                break
    return min(found, key=lambda step: abs(step.factor), default=None)


def as_step(cliff: Step, measure: Axis, axis: str) -> Step:
    edge, beyond = (measure.out(item) or 0.0 for item in (cliff.edge, cliff.beyond))
    return Step(edge, beyond, cliff.drop, math.exp(cliff.factor) if axis == "log" else cliff.factor)
