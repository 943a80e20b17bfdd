"""The best value along an axis: loss as a parabola in the logarithm, near the best level of every group.

Only levels near the best one are fitted (the trust region: two on either side, or a factor of 4 where levels
lie closer, up to a cliff, and fewer while a cubic term shows that the valley is crooked). Seeds are blocks:
what a seed does to all levels alike is taken out. Groups (depths, budgets) have a minimum of their own each;
the curvature is their own or shared. The interval is Fieller's and may have no end. An optimum beyond the
levels that were tried is *censored*, known to lie at least there, where losses are shown to fall towards that
edge; where neither a minimum nor such a slope is shown, none is found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from sweepkit import errors
from sweepkit.analysis.laws import edges, parabolas, trust_region
from sweepkit.analysis.laws.intervals import CONFIDENCE, Floats, Interval, ratio, t_limit, unit_of
from sweepkit.analysis.laws.parabolas import Curvature, Parabola
from sweepkit.analysis.laws.trust_region import AXES, Axis, Group
from sweepkit.printable import counted

#: An interval's end that lies farther from the grid than so many times its span is none.
_NO_END = 3.0
#: How sure it must be that losses between two valleys are higher, and two valleys not told apart.
_VALLEY = 0.999
#: What is said where losses neither have a minimum among the levels nor fall towards an edge.
NOT_FOUND = "not found: no minimum among the levels, and no slope towards an edge is shown"


@dataclass(frozen=True)
class Level:
    """One value that was tried in one group.

    Attributes:
        loss: mean over its runs; None where one of them diverged.
        fitted, residual: of the parabola, at the mean over seeds; None outside of the trust region.
    """

    value: float
    num_runs: int
    loss: float | None
    fitted: float | None = None
    residual: float | None = None


@dataclass(frozen=True)
class Optimum:
    """The best value of an axis in one group.

    Attributes:
        value: the parabola's minimum; the outermost level where it is censored; None where none is found.
        interval: Fieller's, in the axis's own unit.
        error: standard error in the axis's coordinate (of log value on a logarithmic axis).
        loss, curvature: at the minimum; second derivative by the coordinate.
        width: values whose loss is not distinguishable from the minimum's.
        tolerated: values that lose less than the tolerance asked for.
        censored: ``above`` or ``below`` the levels that were tried; empty where it is among them.
        extend_to: values to add where the best level is the last one.
        sd, df: noise of a run, and its degrees of freedom.
    """

    group: str
    best_level: float
    value: float | None
    interval: Interval
    error: float | None
    loss: float | None
    curvature: float | None
    width: Interval
    tolerated: Interval | None
    censored: str
    extend_to: float | None
    cliff: edges.Step | None
    sd: float | None
    df: int
    levels: list[Level] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_value(self) -> bool:
        return self.value is not None and not self.censored

    @property
    def is_known(self) -> bool:
        """Whether it says something to a law: it is a bound, or has an interval, or too few runs for one."""
        shown = bool(self.censored) or self.df == 0 or self.interval.is_bounded
        return self.value is not None and shown


def optima(
    x_N: Floats,
    y_N: Floats,
    groups: Sequence[str] | None = None,
    seeds: Sequence[str] | None = None,
    axis: str = "log",
    curvature: Curvature = "auto",
    tolerance: float | None = None,
    confidence: float = CONFIDENCE,
) -> list[Optimum]:
    """The best value of every group, in the order in which groups appear.

    Args:
        x_N: the value that each run had.
        y_N: its loss, lower is better; NaN or infinite where it diverged.
        groups: what each run belongs to (depth, budget); None: all to one.
        seeds: blocks; None: every run on its own.
        axis: ``log``, ``one_minus`` (the logarithm of 1 − x, for betas) or ``linear``.
        curvature: one for all groups, one each, or one each where their runs are enough for that.
        tolerance: a loss that does not matter, in the metric's unit.

    Raises:
        ConfigError: a value that the axis does not have, or a group with fewer than three levels.
    """
    measure = AXES[axis]
    bad_N = ~np.asarray(measure.is_valid(x_N), dtype=bool)
    if bad_N.any():
        value = float(x_N[bad_N][0])
        raise errors.invalid(
            "axis", value, measure.contract, "leave such rows out with --where, or --axis-scale linear"
        )
    names = ["all"] * len(x_N) if groups is None else list(groups)
    blocks = [str(row) for row in range(len(x_N))] if seeds is None else list(seeds)
    z_N = np.asarray(measure.forward(np.asarray(x_N, dtype=float)), dtype=float)
    reach = 0.0 if axis == "linear" else trust_region.REACH_LOG
    unit = unit_of(np.asarray(y_N, dtype=float))
    loss_N, is_blocked = np.asarray(y_N, dtype=float) / unit, seeds is not None
    tolerance = None if tolerance is None else tolerance / unit
    found = trust_region.placed(
        [
            trust_region.group_of(name, z_N, loss_N, names, blocks, is_blocked, reach)
            for name in dict.fromkeys(names)
        ]
    )
    for _ in range(4):  # the region follows the parabola's minimum, not the luckiest level
        fits, _ = parabolas.fit_all(found, curvature)
        moved = [parabolas.recentred(group, fits[group.name]) for group in found]
        if [group.region for group in moved] == [group.region for group in found]:
            break
        found = moved
    found = [parabolas.straightened(group, confidence) for group in found]
    fits, notes = parabolas.fit_all(found, curvature)
    made = [_optimum(group, fits[group.name], measure, axis, tolerance, confidence) for group in found]
    made = [replace(item, notes=[*notes[item.group], *item.notes]) for item in made]
    return [in_unit(item, unit) for item in made]


def fittable(
    x_N: Floats, y_N: Floats, groups: Sequence[str] | None
) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Runs of groups that a parabola can be asked of, and a sentence about every other one.

    Of all runs where no group is one of them, so that ``optima`` says what is wrong.
    """
    kept_N, said = np.ones(len(x_N), dtype=bool), []
    for name in dict.fromkeys(groups or ()):
        mine_N = np.array([item == name for item in groups or ()])
        few, stands_N = len(np.unique(x_N[mine_N])) < 3, y_N[mine_N & np.isfinite(y_N)]
        is_tie = len(stands_N) == mine_N.sum() and np.ptp(stands_N) == 0.0
        if few or is_tie or not len(stands_N):
            kept_N &= ~mine_N
            why = "at fewer than three levels" if few else "alike" if is_tie else "diverged, all of them"
            said.append(f"{name}: {counted(int(mine_N.sum()), 'run')} {why}, no parabola")
    return (kept_N, said) if kept_N.any() else (~kept_N, [])


def in_unit(item: Optimum, unit: float) -> Optimum:
    """An optimum of losses in another unit; −1: of minus a metric as one of the metric, highest the best."""

    def of(value: float | None) -> float | None:
        return None if value is None else value * unit

    def size(value: float | None) -> float | None:
        return None if value is None else value * abs(unit)

    levels = [
        replace(level, loss=of(level.loss), fitted=of(level.fitted), residual=of(level.residual))
        for level in item.levels
    ]
    cliff = None if item.cliff is None else replace(item.cliff, drop=size(item.cliff.drop))
    loss, curvature, sd = of(item.loss), of(item.curvature), size(item.sd)
    return replace(item, loss=loss, curvature=curvature, sd=sd, cliff=cliff, levels=levels)


def _optimum(
    group: Group, fit: Parabola, measure: Axis, axis: str, tolerance: float | None, confidence: float
) -> Optimum:
    z_L, vertex = group.z_L, fit.vertex
    best = float(z_L[int(np.argmin(group.mean_L))])
    unknown = Interval(None, None, confidence)

    def back(interval: Interval) -> Interval:
        far = _NO_END * float(z_L[-1] - z_L[0])
        low = None if interval.low is None or interval.low < z_L[0] - far else interval.low
        high = None if interval.high is None or interval.high > z_L[-1] + far else interval.high
        return Interval(measure.out(low), measure.out(high), confidence)

    interval, error, width, tolerated = unknown, math.nan, unknown, None
    if vertex is not None:
        turn = np.array([[-1.0, 0.0], [0.0, 2.0]])  # to −b and 2c
        found, error = ratio(-fit.b, 2 * fit.c, turn @ fit.cov_22 @ turn.T, fit.df, confidence)
        interval = back(found.moved(fit.zero))
        width = back(parabolas.distinguishable(fit, vertex, confidence))
        if tolerance is not None:
            half = math.sqrt(tolerance / fit.c)
            tolerated = back(Interval(vertex - half, vertex + half, confidence))
    cliff = edges.cliff(group, fit, best if vertex is None else vertex)
    side, bound, beyond = edges.edge(group, fit, best, cliff)
    edge = int(np.argmin(np.abs(z_L - bound)))
    is_censored = bool(side) and parabolas.falls_towards(group, fit, edge, confidence) == side
    is_found = is_censored if side else vertex is not None and not edges.is_tie(group)
    is_last = best == bound
    if not is_found:
        interval, error, width, tolerated = unknown, math.nan, unknown, None
    extend = (
        None
        if not beyond or not (is_censored or is_last)
        else measure.out(bound + beyond * edges.extension(group, vertex, bound, beyond))
    )
    return Optimum(
        group.name,
        measure.out(best) or 0.0,
        measure.out(bound if is_censored else vertex) if is_found else None,
        interval,
        error if math.isfinite(error) else None,
        None if vertex is None or not is_found else fit.at(vertex),
        2 * fit.c if math.isfinite(fit.c) else None,
        width,
        tolerated,
        {1: "above", -1: "below"}[side] if is_censored else "",
        extend,
        None if cliff is None else edges.as_step(cliff, measure, axis),
        fit.sd if math.isfinite(fit.sd) else None,
        fit.df,
        _levels(group, fit, measure),
        _said(group, fit, measure) if is_found else [NOT_FOUND],
    )


def _said(group: Group, fit: Parabola, measure: Axis) -> list[str]:
    """What the parabola does not show: levels between others that diverged, and another valley."""
    said, best, sd = [], int(np.argmin(group.mean_L)), fit.sd if fit.df > 0 else math.nan
    if len(group.holes_L):
        where = ", ".join(f"{measure.out(float(z)):g}" for z in group.z_L[group.holes_L])
        said.append(
            f"a run diverged at {where}, between levels that stand: left out, and not taken for a cliff"
        )
    limit = t_limit(fit.df, _VALLEY) if fit.df > 0 else math.nan
    error_L = sd * np.sqrt(1.0 / group.count_L + 1.0 / group.count_L[best])
    above_L = group.mean_L - group.mean_L[best]
    is_outside_L = (np.arange(len(above_L)) < group.region[0]) | (np.arange(len(above_L)) > group.region[1])
    for other in map(int, np.flatnonzero(is_outside_L & (above_L <= limit * error_L))):
        between = slice(min(best, other) + 1, max(best, other))
        ridge_L = above_L[between] - max(0.0, float(above_L[other]))
        if np.any(ridge_L > limit * error_L[between]):
            low, high = (f"{measure.out(float(group.z_L[at])):g}" for at in (other, best))
            said.append(
                f"another valley: at {low} losses are not told from those at {high}, between them they are"
            )
            break
    return said


def _levels(group: Group, fit: Parabola, measure: Axis) -> list[Level]:
    found = []
    for place, (z, mean, count) in enumerate(zip(group.z_L, group.mean_L, group.count_L, strict=True)):
        value, loss = measure.out(float(z)) or 0.0, float(mean) if math.isfinite(mean) else None
        inside = group.region[0] <= place <= group.region[1] and loss is not None and math.isfinite(fit.c)
        fitted = fit.at(float(z)) if inside else None
        residual = loss - fitted if inside and loss is not None and fitted is not None else None
        found.append(Level(value, int(count), loss, fitted, residual))
    return found
