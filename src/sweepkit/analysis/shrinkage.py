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
_MAX_STEPS = 200
_TOLERANCE = 1e-4

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
    weight_WS = np.full(prior_WS.shape, 1.0 / prior_WS.shape[1])
    for _ in range(_MAX_STEPS):  # EM; the likelihood is concave in the weights
        share_WVS = likelihood_WVS * weight_WS[:, None, :]
        share_WVS /= share_WVS.sum(axis=2, keepdims=True)
        updated_WS = share_WVS.mean(axis=1)
        change = float(np.abs(updated_WS - weight_WS).max(initial=0.0))
        weight_WS = updated_WS
        if change < _TOLERANCE:
            break
    share_WVS = likelihood_WVS * weight_WS[:, None, :]
    share_WVS /= share_WVS.sum(axis=2, keepdims=True)
    kept_WV = (share_WVS * (prior_WS[:, None, :] / total_WVS)).sum(axis=2)
    return np.asarray(effect_WV * kept_WV, dtype=np.float64)
