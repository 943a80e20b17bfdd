"""Least squares and the intervals of ratios, which may be unbounded.

The place of a parabola's minimum is a ratio of two estimates. Its interval is Fieller's: all values that a t
test at the same level would not reject. Where the data do not show that there is a minimum at all, that set
has no end on one side or on both; then it says so, instead of a short interval around a guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

#: float64 where nothing else is said.
Floats = NDArray[Any]
CONFIDENCE = 0.95
#: Losses in a unit near 1 are known no better, however well a curve goes through them.
_LEAST_SD = 1e-12


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``; None where it has no end on that side."""

    low: float | None
    high: float | None
    confidence: float = CONFIDENCE

    @property
    def is_bounded(self) -> bool:
        return self.low is not None and self.high is not None

    def moved(self, by: float) -> Interval:
        low, high = (None if end is None else end + by for end in (self.low, self.high))
        return Interval(low, high, self.confidence)

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    @classmethod
    def around(cls, value: float, error: float, df: float, confidence: float = CONFIDENCE) -> Interval:
        """A t interval; unbounded where nothing is left to estimate the error from."""
        if df <= 0 or not math.isfinite(error):
            return cls(None, None, confidence)
        half = t_limit(df, confidence) * error
        return cls(value - half, value + half, confidence)

    @classmethod
    def of_draws(cls, draws: Floats, confidence: float = CONFIDENCE) -> Interval:
        """The central part of draws, of a bootstrap say; NaN draws are left out."""
        there = draws[np.isfinite(draws)]
        if len(there) < 2:
            return cls(None, None, confidence)
        low, high = np.quantile(there, [(1 - confidence) / 2, (1 + confidence) / 2])
        return cls(float(low), float(high), confidence)


def t_limit(df: float, confidence: float = CONFIDENCE) -> float:
    """The two-sided limit of Student's t."""
    return float(special.stdtrit(df, (1 + confidence) / 2))


def unit_of(y_N: Floats) -> float:
    """A power of two about as large as the finite values: in it no square overflows, and no digit is lost."""
    largest = float(np.max(np.abs(y_N[np.isfinite(y_N)]), initial=0.0))
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1000), 1000)) if largest else 1.0


@dataclass(frozen=True)
class Fitted:
    """A linear fit.

    Attributes:
        beta_P, cov_PP: coefficients and their covariance, the noise's variance included.
        sd, df: the noise's, from ``df`` degrees of freedom; sd is NaN where there are none.
        residual_N: what is left.
    """

    beta_P: Floats
    cov_PP: Floats
    sd: float
    df: int
    residual_N: Floats


def least_squares(x_NP: Floats, y_N: Floats, num_absorbed: int = 0) -> Fitted:
    """Ordinary least squares, of losses in a unit near 1 (``unit_of``).

    Args:
        num_absorbed: parameters that were taken out before (a mean a block).

    Raises:
        np.linalg.LinAlgError: columns that depend on each other.
    """
    unit_P = np.linalg.norm(x_NP, axis=0)  # units of x must not decide what depends on what
    scaled_NP = x_NP / np.where(unit_P > 0, unit_P, 1.0)
    if np.linalg.matrix_rank(scaled_NP) < x_NP.shape[1]:
        raise np.linalg.LinAlgError("columns depend on each other")
    beta_P: Floats = np.linalg.lstsq(scaled_NP, y_N, rcond=None)[0] / unit_P
    residual_N = y_N - x_NP @ beta_P
    df = len(y_N) - x_NP.shape[1] - num_absorbed
    variance = max(float(residual_N @ residual_N) / df, _LEAST_SD**2) if df > 0 else math.nan
    cov_PP = np.linalg.inv(scaled_NP.T @ scaled_NP) * variance / np.outer(unit_P, unit_P)
    return Fitted(beta_P, cov_PP, math.sqrt(variance), df, residual_N)


def ratio(
    top: float, bottom: float, cov_22: Floats, df: float, confidence: float = CONFIDENCE
) -> tuple[Interval, float]:
    """Fieller's interval of ``top / bottom``, and the standard error by the delta method.

    Of a set that leaves out the middle, the part is taken that holds the estimate: the other one is of
    parabolas that open downwards.
    """
    top, bottom = float(top), float(bottom)
    value = top / bottom
    gradient_2 = np.array([1.0, -value]) / bottom
    error = math.sqrt(max(float(gradient_2 @ cov_22 @ gradient_2), 0.0))
    if df <= 0 or not np.isfinite(cov_22).all():
        return Interval(None, None, confidence), math.nan
    t2, v_tb, v_bb = t_limit(df, confidence) ** 2, float(cov_22[0, 1]), float(cov_22[1, 1])
    # at a distance d from the estimate: bottom²d² ≤ t²(V_tt − 2(value + d)V_tb + (value + d)²V_bb)
    a, b, c = bottom**2 - t2 * v_bb, 2 * t2 * (v_tb - value * v_bb), -t2 * (error * bottom) ** 2
    inside = b * b - 4 * a * c
    if a == 0 or (inside <= 0 and a < 0):
        return Interval(None, None, confidence), error
    root = math.sqrt(max(inside, 0.0))
    first, second = sorted((value + (-b - root) / (2 * a), value + (-b + root) / (2 * a)))
    if a > 0:
        return Interval(first, second, confidence), error
    return (Interval(second, None) if value >= second else Interval(None, first)), error
