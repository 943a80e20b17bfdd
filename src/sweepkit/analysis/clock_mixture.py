"""The ratio of two step times where the sizes of host effects and drift are not known: a mixture.

The model (``step_time.py``) is solved for every combination in ``HOST``, ``ON_HOST`` and ``DRIFT``, each a
generalised least squares fit with Student's t for the ratio; the answers are averaged by how likely they make
the runs (marginal likelihood, flat over the grid; Box and Tiao 1973). Variants whose runs were laid out alike
have one covariance and are solved together.

Shapes: n runs, G combinations of the grid, V variants, P = 2 coefficients.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import elementwise

from sweepkit.analysis.effects import Effect

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Variance over that of the noise: between hosts; of a ratio between hosts; of drift, per length of a run.
HOST = (0.1, 1.0, 10.0, 100.0, 1000.0)
ON_HOST = (0.0, 1.0, 10.0)
DRIFT = (0.0, 0.1, 1.0, 10.0, 100.0)
CLOCK = "clock"
_ROUNDING = 1e-9  # residuals of logarithms below this are none


def covariances(
    host_n: Codes, block_n: Codes, moment_n: Array, is_variant_n: NDArray[np.bool_], num_shared: int
) -> Array:
    """Of the runs, per variance of the noise, for every combination: float64 [G, n, n].

    Args:
        host_n, block_n: numbers of hosts and of blocks.
        moment_n: in lengths of a run; NaN where they are not known, and blocks count as moments.
        num_shared: hosts that both ran on.
    """
    same_host = np.equal.outer(host_n, host_n)
    both_variant = np.logical_and.outer(is_variant_n, is_variant_n)
    if np.isnan(moment_n).any():
        drift = (same_host & np.equal.outer(block_n, block_n)).astype(float)
    else:
        since_n = moment_n - np.where(same_host, moment_n, np.inf).min(axis=1)
        drift = same_host * np.minimum.outer(since_n, since_n)
    # one host's level is the mean's; a ratio's spread over hosts shows where several are shared
    host = HOST if len(set(host_n.tolist())) > 1 else (0.0,)
    on_host = ON_HOST if num_shared > 1 else (0.0,)
    sizes_G3 = np.asarray(list(itertools.product(host, on_host, DRIFT)))
    parts = np.stack([same_host, same_host & both_variant, drift]).astype(float)
    return np.asarray(np.eye(len(host_n)) + np.tensordot(sizes_G3, parts, axes=1))


@dataclass(frozen=True)
class Mixture:
    """Student's t distributions of the log ratio with one number of degrees of freedom, [G, V] each."""

    weight_GV: Array
    centre_GV: Array
    scale_GV: Array
    df: int
    is_known_V: NDArray[np.bool_]  # False where there is no spread at all

    @classmethod
    def of(cls, y_nV: Array, is_variant_n: NDArray[np.bool_], covariance_Gnn: Array) -> Mixture | None:
        """None where there are no degrees of freedom."""
        x_nP = np.column_stack([np.ones(len(y_nV)), is_variant_n])
        df = len(y_nV) - x_nP.shape[1]
        if df < 1:
            return None
        root_Gnn = np.linalg.cholesky(covariance_Gnn)
        both = np.concatenate([x_nP, y_nV], axis=1)
        white = np.linalg.solve(root_Gnn, np.broadcast_to(both, (len(root_Gnn), *both.shape)))
        white_GnP, white_GnV = white[:, :, :2], white[:, :, 2:]
        gram_GPP = white_GnP.mT @ white_GnP
        inverse_GPP = np.linalg.inv(gram_GPP)
        beta_GPV = inverse_GPP @ (white_GnP.mT @ white_GnV)
        rest_GV = ((white_GnV - white_GnP @ beta_GPV) ** 2).sum(axis=1)
        is_known_V = rest_GV.min(axis=0) > len(y_nV) * _ROUNDING**2
        rest_GV = np.where(is_known_V, rest_GV, 1.0)
        log_det_G = 2.0 * np.log(np.diagonal(root_Gnn, axis1=1, axis2=2)).sum(axis=1)
        same_G = log_det_G + np.log(np.linalg.det(gram_GPP))
        weight_GV = special.softmax(-0.5 * (same_G[:, None] + df * np.log(rest_GV)), axis=0)
        scale_GV = np.sqrt(rest_GV / df * inverse_GPP[:, 1, 1, None])
        return cls(weight_GV, beta_GPV[:, 1], scale_GV, df, is_known_V)

    def below(self, x_v: Array, v: Codes) -> Array:
        """Probability that the log ratio of each of the variants ``v`` is below ``x``."""
        t_Gv = (x_v - self.centre_GV[:, v]) / self.scale_GV[:, v]
        return np.asarray((self.weight_GV[:, v] * special.stdtr(self.df, t_Gv)).sum(axis=0))

    def effects(self, variants: list[str], n: int, alpha: float) -> list[Effect | None]:
        """Each as one t statistic around the median, as wide as the mixture at this level."""
        confidence, every = 1.0 - 2.0 * alpha, np.arange(len(variants))
        widest_V = self.scale_GV.max(axis=0) * special.stdtrit(self.df, 1.0 - alpha / 10)
        reach_V = np.ptp(self.centre_GV, axis=0) + widest_V
        centre_V = (self.weight_GV * self.centre_GV).sum(axis=0)
        median_V = elementwise.find_root(
            lambda x, v: self.below(x, v) - 0.5, (centre_V - reach_V, centre_V + reach_V), args=(every,)
        ).x
        half_V = elementwise.find_root(
            lambda x, v: self.below(median_V[v] + x, v) - self.below(median_V[v] - x, v) - confidence,
            (np.zeros_like(reach_V), 2.0 * reach_V),
            args=(every,),
        ).x
        error_V = half_V / float(special.stdtrit(self.df, 1.0 - alpha))
        p_V = special.stdtr(self.df, median_V / error_V)
        ends = zip(median_V.tolist(), half_V.tolist(), strict=True)
        return [
            Effect(
                name, n, median, error, self.df, median - half, median + half, confidence, p, None, CLOCK
            ) if is_known else None
            for name, (median, half), error, p, is_known in zip(
                variants, ends, error_V.tolist(), p_V.tolist(), self.is_known_V, strict=True
            )
        ]  # fmt: skip
