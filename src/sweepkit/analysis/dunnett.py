"""Dunnett's distribution: the largest of k t statistics that share one reference and one noise estimate.

Many variants compared with one reference are not independent: a lucky reference makes all of them look bad.
With m runs of the reference to one of each variant any two of the statistics correlate with ρ = 1 / (1 + m),
½ where there are as many, and the chance that none of them exceeds c is (Dunnett 1955)

    ∫ ds f(s) ∫ du φ(u) Φ((c s + √ρ u) / √(1 - ρ))^k        s² ~ χ²_df / df

which is integrated here by fixed nodes: the trapezoidal rule in u, Gauss-Legendre in s. So the same numbers
give the same p on every machine; scipy.stats.dunnett integrates by random points. Where runs are missing the
statistics are not all alike; with the smallest of their correlations the p comes out too large rather than
too small (Slepian's inequality).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

#: Correlation of two comparisons with one reference that has as many runs as either variant.
RHO = 0.5
_TAIL = 1e-14  # of the chi distribution that is left out at either end
_INFINITE_DF = 1e6
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)

Array = NDArray[np.float64]


def upper_tail(t: ArrayLike, k: int, df: float, rho: float = RHO) -> Array:
    """Chance that the largest of ``k`` null statistics is ``t`` or more.

    Args:
        t: statistics, any shape; large speaks for a difference.
        k: statistics in the family, at least 1.
        df: degrees of freedom of the noise estimate, more than 0; may be infinite.
        rho: correlation of any two of them, 0 to less than 1.

    Returns:
        Probabilities in the shape of ``t``; right to about 1e-10, and relatively so for small ones.
    """
    statistics = np.asarray(t, dtype=np.float64)
    if k == 1:
        return np.asarray(special.stdtr(min(df, _INFINITE_DF), -statistics), dtype=np.float64)
    u, u_weights = _normal_nodes()
    s, s_weights = _chi_nodes(float(df))
    chances = [
        # 1 - Φ^k without cancellation
        s_weights
        @ (
            -np.expm1(k * special.log_ndtr((c * s[:, None] + np.sqrt(rho) * u) / np.sqrt(1.0 - rho)))
            @ u_weights
        )
        for c in statistics.ravel()
    ]
    return np.asarray(chances, dtype=np.float64).reshape(statistics.shape)


def rho(reference_replicates: float) -> float:
    """Correlation of two comparisons with a reference that has so many runs to one of each variant."""
    return 1.0 / (1.0 + reference_replicates)


@functools.lru_cache(maxsize=4096)
def critical(alpha: float, k: int, df: float, rho: float = RHO) -> float:
    """The statistic that the largest of ``k`` exceeds with probability ``alpha``."""
    low, high = -10.0, 10.0
    while upper_tail(high, k, df, rho) > alpha:
        high *= 2.0
    return float(optimize.brentq(lambda t: float(upper_tail(t, k, df, rho)) - alpha, low, high, xtol=1e-10))


def adjust(p_values: Sequence[float], df: float, rho: float = RHO) -> list[float]:
    """Step-down adjusted p values, in the given order.

    Args:
        p_values: one-sided, of each variant's own t test.
        df, rho: as in ``upper_tail``.

    Returns:
        For each the smallest family-wise level at which it is rejected: the smallest p is held against
        the largest of all statistics, the next against the largest of the rest, and so on (closed
        testing; Dunnett and Tamhane 1991).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        p = p_values[index]
        if running < 1.0 and 0.0 < p < 1.0:
            t = -float(special.stdtrit(min(df, _INFINITE_DF), p))
            p = float(upper_tail(t, len(p_values) - rank, df, rho))
        running = max(running, p)
        adjusted[index] = running
    return adjusted


@functools.cache
def _normal_nodes() -> tuple[Array, Array]:
    """Trapezoidal rule for ∫ φ(u) g(u) du; converges faster than any power for smooth g."""
    u = np.linspace(-9.0, 9.0, 145)
    weights = np.exp(-0.5 * u * u)
    return u, weights / weights.sum()


@functools.lru_cache(maxsize=256)
def _chi_nodes(df: float) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights for the density of √(χ²_df / df)."""
    if df > _INFINITE_DF:
        return np.ones(1), np.ones(1)
    low, high = (float(np.sqrt(q(df, _TAIL) / df)) for q in (_chi2_low, special.chdtri))
    s = low + (high - low) * (_NODES + 1.0) / 2.0
    log_density = (df - 1.0) * np.log(s) - 0.5 * df * s * s
    density = np.exp(log_density - log_density.max()) * _WEIGHTS
    return s, density / density.sum()


def _chi2_low(df: float, tail: float) -> float:
    return 2.0 * float(special.gammaincinv(df / 2.0, tail))
