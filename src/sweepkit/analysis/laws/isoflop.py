"""Approach 2: the best size of each budget from a parabola in log N, and a power law through these.

Runs of a budget need not have its very FLOPs. Where these follow size they tilt the valley, and move its
minimum by far more than the interval says: every loss is taken to the budget first, along the fitted surface
at the run's own size. Biased still where a budget's sizes do not lie evenly about the best one, for the
valley is no parabola. How much is measured: noiseless losses of the surface, at the very sizes that ran,
through the same parabolas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster import hierarchy

from sweepkit import errors
from sweepkit.analysis.laws import optima
from sweepkit.analysis.laws.intervals import Floats, t_limit
from sweepkit.analysis.laws.optima import Optimum
from sweepkit.analysis.laws.power_law import Law, counted_errors, power_law
from sweepkit.analysis.laws.surface import Surface
from sweepkit.printable import counted, percent

#: All runs of one budget lie within this factor in FLOPs.
SAME_BUDGET = 1.25
#: Runs that lie farther off their budget, in log FLOPs, are said to have been taken there.
_SAID_OFF = 0.01
#: Sizes that a budget's parabola needs.
LEAST_SIZES = 4
#: How far off a minimum that a draw has lost counts, in spans of its sizes.
_FAR = 3.0


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
    """The budget of each run: the geometric mean of runs that all lie within a quarter of each other."""
    known_K, place_N = np.unique(flops_N, return_inverse=True)
    if len(known_K) < 2:
        return np.asarray(flops_N, dtype=float)
    log_N = np.log(flops_N)
    tree = hierarchy.linkage(np.log(known_K)[:, None], "complete")  # of all pairs: each value once
    label = hierarchy.fcluster(tree, math.log(SAME_BUDGET), "distance")[place_N] - 1
    means = np.exp(np.bincount(label, weights=log_N) / np.bincount(label))
    found: Floats = means[label]
    return found


def at_budget(
    params_N: Floats, tokens_N: Floats, flops_N: Floats, loss_N: Floats, budget_N: Floats, found: Surface
) -> tuple[Floats, list[str]]:
    """The loss of every run, had its size had the budget's FLOPs; and a sentence where these are far."""
    moved_N: Floats = found.at(params_N, tokens_N * budget_N / flops_N) - found.at(params_N, tokens_N)
    off_N = np.abs(np.log(flops_N / budget_N))
    far = int((off_N > _SAID_OFF).sum())
    farthest, most = math.expm1(float(off_N.max())), float(np.max(np.abs(moved_N) / loss_N))
    said = (
        f"{counted(far, 'run')} with FLOPs up to {100 * farthest:.0f}% off the mean of their budget: for its "
        f"parabola losses are taken there along the surface, by up to {percent(most)}"
    )
    return loss_N + moved_N, [said] if far else []


def by_parabolas(
    params_N: Floats, loss_N: Floats, budget_N: Floats, found: Surface, factor: float, confidence: float
) -> tuple[list[Budget], dict[str, Law] | None, list[str]]:
    """Approach 2 from losses at their budgets, and sentences about what is no part of its law."""
    usable = [b for b in np.unique(budget_N) if len(np.unique(params_N[budget_N == b])) >= LEAST_SIZES]
    left_out = len(np.unique(budget_N)) - len(usable)
    notes = []
    if left_out:
        notes.append(f"no parabola for {counted(left_out, 'budget')} with fewer than {LEAST_SIZES} sizes")
    budgets = []
    for flops in usable:
        mine = budget_N == flops
        try:
            (best,) = optima.optima(params_N[mine], loss_N[mine], confidence=confidence)
        except errors.SweepkitError as error:
            notes.append(f"{flops:.3g}: no parabola, {error}")
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
    known = [item for item in budgets if item.best.is_known]
    for is_found, why in ((True, "no end of an interval"), (False, "no best size found")):
        gone = [
            item for item in budgets if not item.best.is_known and is_found == (item.best.value is not None)
        ]
        if gone:
            listed = ", ".join(f"{item.flops:.3g}" for item in gone)
            notes.append(f"{why}, so no part of the law through parabolas: {listed}")
    if sum(item.best.has_value for item in known) < 3:
        notes.append("fewer than three budgets with a minimum among their sizes: no law through parabolas")
        return budgets, None, notes
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
    sizes = params_N[(params_N >= low) & (params_N <= high)]
    if len(np.unique(sizes)) < 3:
        return None
    loss = found.at(sizes, flops / factor / sizes)
    z = np.log(sizes)
    c, b, _ = np.polyfit(z - z.mean(), loss, 2)
    if c <= 0 or not 0.0 < surface_best < math.inf:
        return None
    return float(z.mean() - b / (2 * c) - math.log(surface_best))


def bias_of_exponent(budgets: Sequence[Budget]) -> float | None:
    """What biases add to the exponent, each by its optimum's weight; None for fewer than three."""
    there = [
        (item, item.bias)
        for item in budgets
        if item.bias is not None and item.best.has_value and item.best.is_known
    ]
    if len(there) < 3:
        return None
    law = power_law(
        np.array([item.flops for item, _ in there]),
        np.exp([bias for _, bias in there]),
        np.array([item.best.error or math.nan for item, _ in there]),
    )
    return law.exponent


def exponents(
    budgets: Sequence[Budget], law: Law, params_N: Floats, loss_N: Floats, budget_N: Floats, signs_SN: Floats
) -> Floats:
    """The law's exponent in made-up losses, (S,): a wild bootstrap.

    A drawn loss is the parabola's plus the run's own residual by its sign, over what the fit leaves of it
    (1 − leverage). Every draw has every size, so that it is the estimator that the law is, on the same sizes;
    drawing runs instead leaves budgets with three sizes, or with none on one side. Optima count by the law's
    weights, and draws are as much wider as Student's t is for so few residuals. A parabola through
    three runs leaves no residual: theirs are the SD that the other budgets have; draws are NaN where none has
    one. Censored optima stay what they are; a minimum that a draw loses counts as lying far off on its side.

    Args:
        law: of parameters.
        signs_SN: 1 or −1 for every run in every draw.
    """
    known = [item for item in budgets if item.best.has_value and item.best.is_known]
    flops_K = np.log([item.flops for item in known])
    error_K = counted_errors(np.array([item.best.error or 0.0 for item in known]))
    weight_K = 1 / np.maximum(error_K**2 + law.scatter**2, 1e-18)
    off_K = weight_K * (flops_K - weight_K @ flops_K / weight_K.sum())
    total = sum(item.best.df for item in known)
    square = sum(item.best.df * (item.best.sd or 0.0) ** 2 for item in known)
    sd, df = math.sqrt(square / total) if total else math.nan, max(total, 1)
    moved_SK = np.stack([_moved(item, params_N, loss_N, budget_N, signs_SN, sd) for item in known], axis=1)
    wider = t_limit(df, law.interval.confidence) / t_limit(math.inf, law.interval.confidence)
    found: Floats = law.exponent + wider * moved_SK @ off_K / float(off_K @ flops_K)
    return found


def _moved(
    item: Budget, params_N: Floats, loss_N: Floats, budget_N: Floats, signs_SN: Floats, sd: float
) -> Floats:
    """By how much the log of a budget's best size moves in every draw, (S,)."""
    low, high = _region(item.best)
    mine = (budget_N == item.flops) & (params_N >= low) & (params_N <= high)
    z_M, y_M = np.log(params_N[mine]), loss_N[mine]
    z_M = z_M - z_M.mean()
    x_M3 = np.stack([np.ones_like(z_M), z_M, z_M**2], axis=1)
    to_3M = np.linalg.pinv(x_M3)
    fitted_M = x_M3 @ (to_3M @ y_M)
    left_M = np.maximum(1 - np.einsum("mp,pm->m", x_M3, to_3M), 0.05)
    y_SM = fitted_M + signs_SN[:, mine] * ((y_M - fitted_M) / left_M if item.best.df else sd)
    (_, b, c), (_, b_S, c_S) = to_3M @ y_M, to_3M @ y_SM.T
    far = _FAR * float(np.ptp(z_M))
    vertex_S = np.where(c_S > 0, -b_S / (2 * np.where(c_S > 0, c_S, 1.0)), -np.sign(b_S) * far)
    found: Floats = np.clip(vertex_S, -far, far) + b / (2 * c)
    return found


def _region(best: Optimum) -> tuple[float, float]:
    """The smallest and the largest size that a budget's parabola was fitted to."""
    fitted = [level.value for level in best.levels if level.fitted is not None]
    return min(fitted, default=0.0) * (1 - 1e-6), max(fitted, default=0.0) * (1 + 1e-6)
