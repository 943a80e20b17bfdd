"""Shrunken effects: what a variant's gain will probably be, once its luck is gone.

The best of many estimates is partly the luckiest. Taking all of a rung's variants together, their true
effects are modelled as draws from a mixture of normal distributions around zero, from "nothing" to "as
large as anything seen", whose weights are those under which the estimates are most probable (empirical
Bayes with a scale mixture, Stephens 2016); a variant's shrunken effect is its posterior mean. One
catastrophic variant does not make the others' effects believable, as a single normal prior would. With
one variant alone this is effect × (1 - 1/t²).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIZES = 14  # widths of the mixture's components
_MAX_STEPS = 100
_TOLERANCE = 1e-9  # of the mean log likelihood
_NEAR = 0.9  # of the way to the boundary that a step may go

Array = NDArray[np.float64]


def shrink(effect_WV: Array, standard_error_WV: Array) -> Array:
    """Posterior means.

    Args:
        effect_WV: estimates of V variants of one rung, in each of W independent rungs (one row each).
        standard_error_WV: their standard errors, more than 0.

    Returns:
        Shrunken effects in the same shape: same sign, never larger.
    """
    variance_WV = standard_error_WV**2
    largest_W = np.maximum(effect_WV**2 - variance_WV, 0.0).max(axis=1)
    smallest_W = variance_WV.min(axis=1) / 100.0
    steps_S = np.linspace(0.0, 1.0, _SIZES)
    spread_W = np.maximum(largest_W, smallest_W) / smallest_W
    prior_WS = smallest_W[:, None] * spread_W[:, None] ** steps_S  # variances, geometric
    prior_WS = np.concatenate([np.zeros((len(effect_WV), 1)), prior_WS], axis=1)
    prior_WS = np.minimum(prior_WS, largest_W[:, None])
    total_WVS = variance_WV[:, :, None] + prior_WS[:, None, :]
    log_likelihood_WVS = -0.5 * (np.log(total_WVS) + effect_WV[:, :, None] ** 2 / total_WVS)
    likelihood_WVS = np.exp(log_likelihood_WVS - log_likelihood_WVS.max(axis=2, keepdims=True))
    weight_WS = _likeliest(likelihood_WVS)
    share_WVS = likelihood_WVS * weight_WS[:, None, :]
    share_WVS /= share_WVS.sum(axis=2, keepdims=True)
    kept_WV = (share_WVS * (prior_WS[:, None, :] / total_WVS)).sum(axis=2)
    return np.asarray(effect_WV * kept_WV, dtype=np.float64)


def _likeliest(likelihood_WVS: Array) -> Array:
    """The mixture weights under which the estimates are most probable.

    Minimises ``Σ_s w_s − mean_v log Σ_s L_vs w_s`` over w ≥ 0, whose solution sums to 1 (Kim et al. 2020), by
    a primal-dual interior point method: convex, and exact within some twenty steps, where EM creeps.
    ``slack`` are the multipliers of w ≥ 0; a step keeps both inside, and ``gap`` bounds what is missing.
    """
    num_rungs, num_variants, num_sizes = likelihood_WVS.shape
    found_WS = np.full((num_rungs, num_sizes), 1.0 / num_sizes)
    weight_WS, slack_WS = found_WS.copy(), np.ones_like(found_WS)
    open_W, diagonal = np.arange(num_rungs), np.arange(num_sizes)
    for _ in range(_MAX_STEPS):
        ratio_WVS = likelihood_WVS / np.einsum("wvs,ws->wv", likelihood_WVS, weight_WS)[:, :, None]
        gradient_WS = 1.0 - ratio_WVS.mean(axis=1)
        gap_W = (weight_WS * slack_WS).sum(axis=1)
        found_WS[open_W] = weight_WS
        is_open_W = np.maximum(gap_W, np.abs(gradient_WS - slack_WS).max(axis=1)) > _TOLERANCE
        if not is_open_W.any():
            break
        open_W, gap_W, likelihood_WVS = open_W[is_open_W], gap_W[is_open_W], likelihood_WVS[is_open_W]
        weight_WS, slack_WS = weight_WS[is_open_W], slack_WS[is_open_W]
        ratio_WVS, gradient_WS = ratio_WVS[is_open_W], gradient_WS[is_open_W]
        target_WS = (0.1 * gap_W / num_sizes)[:, None]
        hessian_WSS = ratio_WVS.mT @ ratio_WVS / num_variants
        hessian_WSS[:, diagonal, diagonal] += slack_WS / weight_WS
        towards_WS = target_WS / weight_WS - gradient_WS
        step_WS = np.linalg.solve(hessian_WSS, towards_WS[:, :, None])[:, :, 0]
        slack_step_WS = target_WS / weight_WS - slack_WS - slack_WS / weight_WS * step_WS
        weight_WS = weight_WS + _inside(weight_WS, step_WS) * step_WS
        slack_WS = slack_WS + _inside(slack_WS, slack_step_WS) * slack_step_WS
    return np.asarray(found_WS / found_WS.sum(axis=1, keepdims=True), dtype=np.float64)


def _inside(value_WS: Array, step_WS: Array) -> Array:
    """How much of a step keeps every value above 0; float64 [W, 1], at most 1."""
    shrink_WS = np.where(step_WS < 0.0, -_NEAR * value_WS / np.minimum(step_WS, -1e-300), 1.0)
    return np.asarray(np.minimum(shrink_WS.min(axis=1, keepdims=True), 1.0), dtype=np.float64)
