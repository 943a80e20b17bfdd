"""Approach 2: the best size of each budget from a parabola in log N, and a power law through these.

Biased where a budget's sizes do not lie evenly about the best one, for the valley is no parabola. How much is
measured: noiseless losses of the fitted surface, at the very sizes that ran, through the same parabolas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweepkit import errors
from sweepkit.analysis.laws import optima
from sweepkit.analysis.laws.intervals import Floats
from sweepkit.analysis.laws.optima import Optimum
from sweepkit.analysis.laws.power_law import Law, power_law
from sweepkit.analysis.laws.surface import Surface

#: Runs within this factor of each other in FLOPs are of one budget.
SAME_BUDGET = 1.12
#: Sizes that a budget's parabola needs.
LEAST_SIZES = 4


@dataclass(frozen=True)
class Budget:
    """One budget by approach 2.

    Attributes:
        flops: geometric mean of its runs'.
        best: the size with the lowest loss.
        tokens: trained on at that size, by the budget.
        surface_params: the best size by approach 3.
        bias: log of what a parabola finds in noiseless losses of the surface at these sizes, over the
            surface's best size.
    """

    flops: float
    num_sizes: int
    best: Optimum
    tokens: float | None
    ratio: float | None
    surface_params: float
    bias: float | None


def budgets_of(flops_N: Floats) -> Floats:
    """The budget of each run: the geometric mean of a chain of runs within 12% of each other."""
    order = np.argsort(flops_N)
    steps = np.concatenate([[False], np.diff(np.log(flops_N[order])) > math.log(SAME_BUDGET)])
    label = np.empty(len(flops_N), dtype=int)
    label[order] = np.cumsum(steps)
    means = np.exp(np.bincount(label, weights=np.log(flops_N)) / np.bincount(label))
    return means[label]


def by_parabolas(
    params_N: Floats, loss_N: Floats, budget_N: Floats, found: Surface, factor: float, confidence: float
) -> tuple[list[Budget], dict[str, Law] | None, list[str]]:
    usable = [b for b in np.unique(budget_N) if len(np.unique(params_N[budget_N == b])) >= LEAST_SIZES]
    left_out = len(np.unique(budget_N)) - len(usable)
    notes = []
    if left_out:
        notes.append(f"{left_out} budgets with fewer than {LEAST_SIZES} sizes have no parabola")
    budgets = []
    for flops in usable:
        mine = budget_N == flops
        try:
            (best,) = optima.optima(params_N[mine], loss_N[mine], confidence=confidence)
        except errors.SweepkitError:
            continue
        tokens = flops / factor / best.value if best.value else None
        surface_best = float(found.best_params(np.array(flops), factor))
        budgets.append(
            Budget(
                float(flops), len(np.unique(params_N[mine])), replace(best, group=f"{flops:.3g}"), tokens,
                tokens / best.value if tokens and best.value else None, surface_best,
                _bias(found, params_N[mine], float(flops), factor, best, surface_best),
            )
        )  # fmt: skip
    inside = [item for item in budgets if item.best.has_value]
    if len(inside) < 3:
        notes.append("fewer than three budgets with a minimum among their sizes: no law by approach 2")
        return budgets, None, notes
    known = [item for item in budgets if item.best.value is not None]
    flops_K = np.array([item.flops for item in known])
    laws = {}
    for name, sign in (("params", 1), ("tokens", -1)):
        value_K = np.array([item.best.value if sign > 0 else item.tokens for item in known], dtype=float)
        error_K = np.array([item.best.error or math.nan for item in known], dtype=float)
        turned = {"above": "below", "below": "above"}
        sides = [item.best.censored if sign > 0 else turned.get(item.best.censored, "") for item in known]
        laws[name] = power_law(
            flops_K,
            value_K,
            error_K,
            sides,
            [f"{item:.3g}" for item in flops_K],
            "FLOPs",
            confidence=confidence,
        )
    return budgets, laws, notes


def _bias(
    found: Surface, params_N: Floats, flops: float, factor: float, best: Optimum, surface_best: float
) -> float | None:
    """Noiseless losses of the surface at the sizes of the trust region, through the same parabola."""
    low, high = _region(best)
    sizes = np.unique(params_N[(params_N >= low) & (params_N <= high)])
    if len(sizes) < 3:
        return None
    loss = found.at(sizes, flops / factor / sizes)
    z = np.log(sizes)
    c, b, _ = np.polyfit(z - z.mean(), loss, 2)
    return None if c <= 0 else float(z.mean() - b / (2 * c) - math.log(surface_best))


def bias_of_exponent(budgets: Sequence[Budget]) -> float | None:
    """What biases add to the exponent, each by its optimum's weight; None for fewer than three."""
    there = [(item, item.bias) for item in budgets if item.bias is not None and item.best.has_value]
    if len(there) < 3:
        return None
    law = power_law(
        np.array([item.flops for item, _ in there]),
        np.exp([bias for _, bias in there]),
        np.array([item.best.error or math.nan for item, _ in there]),
    )
    return law.exponent


def exponent_of(
    budgets: Sequence[Budget], params_N: Floats, loss_N: Floats, budget_N: Floats, weight_N: Floats
) -> float:
    """The exponent of weighted runs, for the bootstrap: the trust regions as they are, no intervals."""
    points = []
    for item in budgets:
        low, high = _region(item.best)
        mine = (budget_N == item.flops) & (params_N >= low) & (params_N <= high) & (weight_N > 0)
        z = np.log(params_N[mine])
        if len(np.unique(z)) < 3:
            continue
        zero = z.mean()
        c, b, _ = np.polyfit(z - zero, loss_N[mine], 2, w=np.sqrt(weight_N[mine]))
        if c > 0 and z.min() <= (vertex := zero - b / (2 * c)) <= z.max():
            points.append((math.log(item.flops), vertex))
    if len(points) < 3:
        return math.nan
    return _slope(points)


def _region(best: Optimum) -> tuple[float, float]:
    """The smallest and the largest size that a budget's parabola was fitted to."""
    fitted = [level.value for level in best.levels if level.fitted is not None]
    return min(fitted, default=0.0) * (1 - 1e-6), max(fitted, default=0.0) * (1 + 1e-6)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])
