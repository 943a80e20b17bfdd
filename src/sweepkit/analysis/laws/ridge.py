"""Two axes together: loss as a quadratic surface of two logarithms, its minimum and its ridge.

Where two fields trade against each other (learning rate and batch) the valley is a ridge: for every value of
the second there is a best value of the first, x1 ∝ x2^slope, along which the loss hardly changes. The slope
is a ratio of two coefficients and has Fieller's interval. Only runs near the best pair are fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweepkit import errors
from sweepkit.analysis.laws.intervals import (
    CONFIDENCE,
    Fitted,
    Floats,
    Interval,
    least_squares,
    ratio,
    unit_of,
)
from sweepkit.analysis.laws.trust_region import TOWERS, depth_of

#: What is fitted: pairs within this factor of the best one on either axis that do not tower over it.
_FACTOR = 8.0 + 1e-9
_DRAWS = 2000


@dataclass(frozen=True)
class Ridge:
    """The minimum over two axes in one group, and the ridge through it.

    Attributes:
        values: of the two axes at the minimum; None where the surface has none.
        intervals: of each, from draws of the coefficients.
        slope: d log x1 / d log x2 of the best first value; None where the valley of x1 is not shown.
        slope_interval: Fieller's.
        steepness: curvature across the ridge over that along it; large: a long valley.
        censored: the minimum lies outside of what was tried.
        residuals: (x1, x2, mean loss, fitted) of every pair that was fitted.
    """

    group: str
    best_pair: tuple[float, float]
    values: tuple[float, float] | None
    intervals: tuple[Interval, Interval] | None
    slope: float | None
    slope_interval: Interval
    steepness: float | None
    loss: float | None
    censored: bool
    sd: float | None
    df: int
    residuals: list[tuple[float, float, float, float]]
    notes: list[str]


def ridges(
    x1_N: Floats,
    x2_N: Floats,
    y_N: Floats,
    groups: Sequence[str] | None = None,
    seeds: Sequence[str] | None = None,
    confidence: float = CONFIDENCE,
) -> tuple[list[Ridge], list[str]]:
    """The minimum and the ridge of every group; values above 0, lower losses better, NaN where diverged.

    Returns:
        The ridges, and a sentence about every group that has too few pairs for one.

    Raises:
        ConfigError: no group has enough.
    """
    names = ["all"] * len(y_N) if groups is None else list(groups)
    found, said, unit = list[Ridge](), list[str](), unit_of(np.asarray(y_N, dtype=float))
    first: errors.ConfigError | None = None
    y_N = np.asarray(y_N, dtype=float) / unit
    for name in dict.fromkeys(names):
        mine = np.array([item == name for item in names]) & np.isfinite(y_N)
        block = None
        if seeds is not None:
            block = np.unique([seeds[int(row)] for row in np.flatnonzero(mine)], return_inverse=True)[1]
        u_N, v_N = np.log(x1_N[mine]), np.log(x2_N[mine])
        try:
            found.append(in_unit(_ridge(name, u_N, v_N, y_N[mine], block, confidence), unit))
        except errors.ConfigError as error:
            said.append(f"{name}: no ridge, {error}")
            first = first or error
    if first is not None and not found:
        raise first
    return found, said


def in_unit(item: Ridge, unit: float) -> Ridge:
    """A ridge of losses in another unit; −1: of minus a metric as one of the metric, the highest the best."""
    rows = [(x1, x2, mean * unit, fitted * unit) for x1, x2, mean, fitted in item.residuals]
    loss, sd = (None if value is None else value * by
                for value, by in ((item.loss, unit), (item.sd, abs(unit))))  # fmt: skip
    return replace(item, loss=loss, sd=sd, residuals=rows)


def _ridge(
    name: str, u_N: Floats, v_N: Floats, y_N: Floats, block_N: Floats | None, confidence: float
) -> Ridge:
    pairs, place_N = np.unique(np.round(np.stack([u_N, v_N], axis=1), 12), axis=0, return_inverse=True)
    place_N = place_N.ravel()
    mean_K = np.bincount(place_N, weights=y_N) / np.bincount(place_N)
    centre = pairs[int(mean_K.argmin())]
    near_K = (np.abs(pairs - centre) <= math.log(_FACTOR)).all(axis=1)
    near_K &= mean_K - mean_K.min() <= TOWERS * depth_of(mean_K[near_K])
    if len(np.unique(pairs[near_K][:, 0])) < 3 or len(np.unique(pairs[near_K][:, 1])) < 3 or near_K.sum() < 6:
        contract = "have three values of either axis and six pairs near the best one"
        raise errors.invalid(
            f"pairs of {name}", int(near_K.sum()), contract, "run a grid around the best pair"
        )
    rows = near_K[place_N]
    u, v = u_N[rows] - centre[0], v_N[rows] - centre[1]
    x_NP, y = np.stack([u, v, u * u, v * v, u * v], axis=1), y_N[rows]
    block = (
        np.zeros(len(y), dtype=int) if block_N is None else np.unique(block_N[rows], return_inverse=True)[1]
    )
    count_B = np.bincount(block)
    means = np.stack([np.bincount(block, weights=c) / count_B for c in x_NP.T], axis=1)[block]
    y_mean = (np.bincount(block, weights=y) / count_B)[block]
    try:
        fit = least_squares(x_NP - means, y - y_mean, len(count_B))
    except np.linalg.LinAlgError:
        raise errors.invalid(
            f"pairs of {name}", "on a line", "fill a grid", "run both axes against each other"
        ) from None
    b_2, q_22 = (
        fit.beta_P[:2],
        np.array([[2 * fit.beta_P[2], fit.beta_P[4]], [fit.beta_P[4], 2 * fit.beta_P[3]]]),
    )
    level = float(np.mean(y - x_NP @ fit.beta_P))
    eigen = np.linalg.eigvalsh(q_22)
    values = intervals = slope = steepness = loss = None
    slope_interval, censored, notes = Interval(None, None, confidence), False, []
    if q_22[0, 0] > 0:  # x1 has a best value for each x2: −(b1 + q12·v) / q11
        slope = float(-q_22[0, 1] / q_22[0, 0])
        to = np.zeros((2, 5))
        to[0, 4], to[1, 2] = -1, 2
        slope_interval, _ = ratio(-q_22[0, 1], q_22[0, 0], to @ fit.cov_PP @ to.T, fit.df, confidence)
    if eigen[0] > 0:
        best = -np.linalg.solve(q_22, b_2)
        values = (math.exp(best[0] + centre[0]), math.exp(best[1] + centre[1]))
        steepness = float(eigen[1] / eigen[0])
        loss = level + float(b_2 @ best) / 2
        intervals = _by_draws(fit, centre, confidence)
        censored = bool(((best + centre < pairs.min(axis=0)) | (best + centre > pairs.max(axis=0))).any())
    else:
        notes.append("no minimum: along one direction the loss only falls within what was tried")
    fitted_K = level + _columns(pairs[near_K] - centre) @ fit.beta_P
    residuals = [
        (math.exp(a), math.exp(b), float(m), float(f))
        for (a, b), m, f in zip(pairs[near_K], mean_K[near_K], fitted_K, strict=True)
    ]
    sd = fit.sd if math.isfinite(fit.sd) else None
    return Ridge(
        name,
        (math.exp(centre[0]), math.exp(centre[1])),
        values,
        intervals,
        slope,
        slope_interval,
        steepness,
        loss,
        censored,
        sd,
        fit.df,
        residuals,
        notes,
    )


def _by_draws(fit: Fitted, centre: Floats, confidence: float) -> tuple[Interval, Interval]:
    """The minimum's coordinates, from draws of the coefficients; unbounded where too many have none."""
    unknown = Interval(None, None, confidence)
    if fit.df <= 0:
        return unknown, unknown
    rng = np.random.default_rng(0)
    scale_S = np.sqrt(fit.df / rng.chisquare(fit.df, _DRAWS))
    noise_SP = rng.multivariate_normal(np.zeros(5), fit.cov_PP, _DRAWS, method="svd") * scale_S[:, None]
    b1, b2, q11, q22, q12 = (fit.beta_P + noise_SP).T * np.array([1, 1, 2, 2, 1])[:, None]
    det = q11 * q22 - q12**2
    has_minimum = (q11 > 0) & (det > 0)
    if (~has_minimum).mean() > (1 - confidence) / 2:
        return unknown, unknown
    at_S2 = np.stack([q12 * b2 - q22 * b1, q12 * b1 - q11 * b2], axis=1)[has_minimum] / det[has_minimum, None]
    first, second = (Interval.of_draws(np.exp(column), confidence) for column in (at_S2 + centre).T)
    return first, second


def _columns(uv: Floats) -> Floats:
    u, v = uv.T
    return np.stack([u, v, u * u, v * v, u * v], axis=1)
