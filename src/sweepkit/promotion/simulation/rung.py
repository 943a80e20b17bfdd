"""One rung in W worlds at once: what its runs measure, and what the gate would make of it.

The same rule as ``promotion/gate.py`` for runs that are complete and paired by seed, in arrays: W worlds,
S variants on the rung, N seeds, M runs of the reference a seed. ``tests/promotion`` holds it against the
gate where it finds the noise equal and the reference in line. What the gate does else is measured by
``verdicts.py``; cost axes and calibrations are left out too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweepkit.analysis import dunnett, shrinkage, spending
from sweepkit.promotion.simulation import worlds
from sweepkit.promotion.simulation.worlds import Array, Truth
from sweepkit.sweep.decision import DecisionRule

_NO_NOISE = 1e-30
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Measured differences from the reference's runs.

    Attributes:
        loss_WSN, reference_WMN: the metric of every run.
        stable_WS: whether its runs diverged no more often than the reference's; others are never adopted, and
            here do not climb either (the gate lets those climb that are not shown to be less stable).
    """

    loss_WSN: Array
    reference_WMN: Array
    stable_WS: Mask


@dataclass(frozen=True)
class Estimates:
    """Effects against the reference and their common standard error."""

    effect_WS: Array
    standard_error_W: Array
    df_W: Array

    @property
    def p_WS(self) -> Array:
        """One-sided."""
        t_WS = self.effect_WS / self.standard_error_W[:, None]
        return np.asarray(special.stdtr(self.df_W[:, None], t_WS), dtype=np.float64)


def run(
    truth: Truth,
    rung: int,
    variant_WS: Index,
    num_seeds: int,
    rng: np.random.Generator,
    reference_replicates: int = 1,
) -> Runs:
    """Run variants (indices into the world's) and the reference with fresh seeds."""
    num_worlds, num_variants = variant_WS.shape
    row_W1 = np.arange(num_worlds)[:, None]
    effect_WS = truth.effect_WVR[row_W1, variant_WS, rung]
    rate_WS = truth.divergence_WVR[row_W1, variant_WS, rung]
    luck_WN = truth.world.luck_sd[rung] * rng.standard_normal((num_worlds, num_seeds))
    own_WSN = worlds.noise(truth.world, rung, (num_worlds, num_variants, num_seeds), rng)
    shape_WMN = (num_worlds, reference_replicates, num_seeds)
    reference_WMN = luck_WN[:, None, :] + worlds.noise(truth.world, rung, shape_WMN, rng)
    diverged_WS = np.asarray(rng.binomial(num_seeds, rate_WS))
    num_reference = num_seeds * reference_replicates
    reference_diverged_W1 = np.asarray(rng.binomial(num_reference, truth.world.divergence, (num_worlds, 1)))
    stable_WS = diverged_WS * num_reference <= reference_diverged_W1 * num_seeds
    return Runs(effect_WS[:, :, None] + luck_WN[:, None, :] + own_WSN, reference_WMN, stable_WS)


def estimate(runs: Runs, active_WS: Mask, num_seeds: int) -> Estimates:
    """The two-way fit (variant + seed) of the first ``num_seeds`` seeds of the active variants."""
    loss_WSN, reference_WMN = runs.loss_WSN[:, :, :num_seeds], runs.reference_WMN[:, :, :num_seeds]
    replicates = reference_WMN.shape[1]
    effect_WS = (loss_WSN - reference_WMN.mean(axis=1, keepdims=True)).mean(axis=2)
    # Q runs a seed, the reference's first; each centred at the mean of its variant
    centred_WQN = np.concatenate(
        [
            reference_WMN - reference_WMN.mean(axis=(1, 2), keepdims=True),
            loss_WSN - loss_WSN.mean(axis=2, keepdims=True),
        ],
        axis=1,
    )
    counted_WQ = np.concatenate([np.ones((len(active_WS), replicates), dtype=bool), active_WS], axis=1)
    counted_WQ1 = counted_WQ[:, :, None]
    size_W11 = counted_WQ1.sum(axis=1, keepdims=True)
    seed_W1N = (centred_WQN * counted_WQ1).sum(axis=1, keepdims=True) / size_W11
    residual_WQN = (centred_WQN - seed_W1N) * counted_WQ1
    df_W = (size_W11[:, 0, 0] - 1.0) * (num_seeds - 1) + (replicates - 1.0)
    variance_W = (residual_WQN**2).sum(axis=(1, 2)) / np.maximum(df_W, 1.0)
    # nothing is left where nobody is
    error_W = np.sqrt((1.0 + 1.0 / replicates) * np.maximum(variance_W, _NO_NOISE) / num_seeds)
    return Estimates(effect_WS, error_W, np.maximum(df_W, 1.0))


def climb(
    runs: Runs, active_WS: Mask, num_seeds: int, decision: DecisionRule, keep: int, is_searched: bool = False
) -> Index:
    """Who goes on, as the gate screens: places on this rung [W, keep], best first, -1 for nobody."""
    good_WS = active_WS & runs.stable_WS
    if num_seeds == 1:
        effect_WS = runs.loss_WSN[:, :, 0] - runs.reference_WMN[:, :, 0].mean(axis=1, keepdims=True)
        if is_searched:  # ``promotion/searched.py``
            good_WS = good_WS & (effect_WS <= -decision.min_effect)
        rank_WS = np.where(good_WS, effect_WS, np.inf)
    else:
        found = estimate(runs, good_WS, num_seeds)
        half_W = special.stdtrit(found.df_W, 1.0 - decision.alpha) * found.standard_error_W
        hopeless_WS = found.effect_WS - half_W[:, None] > -decision.min_effect
        wanted_WS = good_WS & ~hopeless_WS & (found.effect_WS <= -decision.min_effect)
        rank_WS = np.where(wanted_WS, found.effect_WS, np.inf)
    keep = min(keep, rank_WS.shape[1])
    place_WS = np.argsort(rank_WS, axis=1)[:, :keep]
    taken_WS = np.take_along_axis(rank_WS, place_WS, axis=1)
    return np.where(np.isfinite(taken_WS), place_WS, -1).astype(np.int64)


def shrunk(runs: Runs, active_WS: Mask, num_seeds: int) -> Array:
    """Shrunken effects as a screen has them; of single runs, whose noise it cannot see, the measured ones."""
    if num_seeds == 1:
        return np.asarray(runs.loss_WSN[:, :, 0] - runs.reference_WMN[:, :, 0].mean(axis=1, keepdims=True))
    return _shrunk(estimate(runs, active_WS, num_seeds), active_WS)


def _shrunk(found: Estimates, active_WS: Mask) -> Array:
    effect_WS = np.where(active_WS, found.effect_WS, 0.0)
    return shrinkage.shrink(effect_WS, _normal_error(found.effect_WS, found))


def adopt(
    runs: Runs, active_WS: Mask, looks: tuple[int, ...], decision: DecisionRule
) -> tuple[Mask, Array, Array]:
    """The last rung, look by look.

    Returns:
        adopted [W, S]; the shrunken effects at the look that decided [W, S]; runs used, the reference's
        among them [W].
    """
    family_W = active_WS.sum(axis=1)
    replicates = runs.reference_WMN.shape[1]
    open_WS, adopted_WS = active_WS & runs.stable_WS, np.zeros_like(active_WS)
    shrunk_WS, used_W, before = np.zeros(active_WS.shape), np.zeros(len(active_WS)), 0
    # an unstable variant is found out by then, and has cost its runs of the first look
    used_W += (active_WS & ~runs.stable_WS).sum(axis=1) * looks[0]
    for look, seeds in enumerate(looks):
        playing_W = open_WS.any(axis=1)
        used_W += np.where(playing_W, (open_WS.sum(axis=1) + replicates) * (seeds - before), 0)
        found = estimate(runs, open_WS, seeds)
        now_WS = _shrunk(found, open_WS)
        shrunk_WS = np.where(open_WS, now_WS, shrunk_WS)
        fractions = tuple(item / looks[-1] for item in looks[: look + 1])
        left_W, rho = family_W - adopted_WS.sum(axis=1), dunnett.rho(replicates)
        shown_WS = _step_down(found, open_WS, left_W, fractions, decision.alpha, rho)
        new_WS = shown_WS & (now_WS <= -decision.min_effect) & open_WS & (found.df_W[:, None] >= 4)
        half_W = special.stdtrit(found.df_W, 1.0 - decision.alpha) * found.standard_error_W
        hopeless_WS = found.effect_WS - half_W[:, None] > -decision.min_effect
        adopted_WS |= new_WS & ~hopeless_WS
        open_WS &= ~(new_WS | hopeless_WS)
        before = seeds
    return adopted_WS, shrunk_WS, used_W


def _step_down(
    found: Estimates,
    open_WS: Mask,
    family_W: NDArray[np.int64],
    fractions: tuple[float, ...],
    alpha: float,
    rho: float,
) -> Mask:
    """Dunnett's step-down test at the last of the looks."""
    z_WS = np.where(open_WS, -special.ndtri(np.clip(found.p_WS, 1e-300, 1.0)), -np.inf)
    order_WS = np.argsort(-z_WS, axis=1)
    sorted_WS = np.take_along_axis(z_WS, order_WS, axis=1)
    bound_WS = np.full(z_WS.shape, np.inf)
    for size in np.unique(family_W):
        for df in np.unique(found.df_W[family_W == size]):
            rows = np.flatnonzero((family_W == size) & (found.df_W == df))
            for rank in range(min(int(size), z_WS.shape[1])):
                bound_WS[rows, rank] = _bound(alpha, int(size) - rank, float(df), fractions, rho)
    shown_WS = np.logical_and.accumulate(sorted_WS >= bound_WS, axis=1)
    result_WS = np.zeros_like(shown_WS)
    np.put_along_axis(result_WS, order_WS, shown_WS, axis=1)
    return result_WS


def _bound(alpha: float, size: int, df: float, fractions: tuple[float, ...], rho: float) -> float:
    """The normal statistic to reach at the last of these looks."""
    if df < 1:
        return float("inf")
    marginal = float(special.stdtr(df, -dunnett.critical(alpha, size, df, rho)))
    if fractions == (1.0,):
        return float(-special.ndtri(marginal))
    return spending.boundaries(marginal, fractions)[-1]


def _normal_error(effect_WS: Array, found: Estimates) -> Array:
    """Standard errors that make t statistics normal ones of equal p."""
    t_WS = np.abs(effect_WS) / found.standard_error_W[:, None]
    tail_WS = np.maximum(special.stdtr(found.df_W[:, None], -t_WS), 1e-300)
    z_WS = -special.ndtri(tail_WS)
    plain_WS = np.broadcast_to(found.standard_error_W[:, None], effect_WS.shape)
    return np.where(z_WS > 1e-6, np.abs(effect_WS) / np.maximum(z_WS, 1e-6), plain_WS)
