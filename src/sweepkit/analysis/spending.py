"""Looking more than once: how interim looks at growing data share one error rate.

Testing at 5% after every few seeds errs far more often than in 5% of sweeps. A spending function says how
much of the level may be used up at each fraction of the planned seeds. O'Brien and Fleming's, in the form
of Lan and DeMets (1983), spends almost nothing early, so that the last look keeps nearly all of it:

    α(f) = 2 (1 - Φ(z_{α/2} / √f))

The critical values at each look follow from the joint distribution of the statistics, a random walk with
independent increments (Armitage, McPherson and Rowe 1969). That is exact for a mean with known noise and,
with t statistics turned into normal ones of equal p, a close approximation otherwise; ``tests/analysis``
measures it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

_LOWEST = 1e-12  # p values are told apart down to here
_FAR = 9.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
Array = NDArray[np.float64]


def spent(alpha: float, fraction: float) -> float:
    """O'Brien-Fleming spending: how much of ``alpha`` may be used up at ``fraction`` (above 0, up to 1)."""
    return float(2.0 * special.ndtr(special.ndtri(alpha / 2.0) / np.sqrt(fraction)))


@functools.lru_cache(maxsize=4096)
def boundaries(alpha: float, fractions: tuple[float, ...]) -> tuple[float, ...]:
    """The normal statistic to reach at each look.

    Args:
        alpha: one-sided level of all looks together.
        fractions: share of the planned information at each look, increasing, at most 1; looks that were not
            taken are left out.
    """
    found = [float(-special.ndtri(spent(alpha, fractions[0])))]
    # density of the score S = z √f of walks that have not crossed
    score, mass = _below(found[0] * np.sqrt(fractions[0]), np.sqrt(fractions[0]))
    mass = mass * _density(score / np.sqrt(fractions[0])) / np.sqrt(fractions[0])
    for before, now in itertools.pairwise(fractions):
        step = float(np.sqrt(now - before))
        newly = spent(alpha, now) - spent(alpha, before)

        def excess(
            z: float,
            now: float = now,
            step: float = step,
            score: Array = score,
            mass: Array = mass,
            newly: float = newly,
        ) -> float:
            return float(mass @ special.ndtr((score - z * np.sqrt(now)) / step)) - newly

        z = float(optimize.brentq(excess, -_FAR, 2 * _FAR, xtol=1e-10))
        found.append(z)
        new_score, width = _below(z * np.sqrt(now), np.sqrt(now))
        mass = width * (_density((new_score[:, None] - score) / step) / step @ mass)
        score = new_score
    return tuple(found)


def sequential_p(p_values: Sequence[float], fractions: Sequence[float]) -> float:
    """One p for all looks so far: the smallest level at which one of them would have stopped.

    Args:
        p_values: one-sided, of all data up to each look.
        fractions: as in ``boundaries``.

    Returns:
        A p that is at most alpha with probability alpha, or less, when nothing is true; with a single look at
        fraction 1 the p itself.
    """
    if len(p_values) == 1 and fractions[0] == 1.0:
        return p_values[0]
    z_values = [-float(special.ndtri(min(max(p, _LOWEST), 1.0 - _LOWEST))) for p in p_values]

    def shortfall(log_alpha: float) -> float:
        reached = boundaries(float(np.exp(log_alpha)), tuple(fractions))
        return max(z - bound for z, bound in zip(z_values, reached, strict=True))

    low, high = float(np.log(_LOWEST)), float(np.log(0.999))
    if shortfall(high) < 0.0:
        return 1.0
    if shortfall(low) >= 0.0:
        return _LOWEST
    return float(np.exp(optimize.brentq(shortfall, low, high, xtol=1e-6)))


def _below(top: float, spread: float) -> tuple[Array, Array]:
    """Nodes and widths on the scores below ``top``."""
    bottom = min(-_FAR * spread, top - spread)
    half = (top - bottom) / 2.0
    return bottom + half * (_NODES + 1.0), half * _WEIGHTS


def _density(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi), dtype=np.float64)
