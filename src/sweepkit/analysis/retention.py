"""How the effects of a whole rung travel to the next: what is retained, and what selection explains.

Retention is the slope of effects on the upper rung against those on the lower. Plain regression dilutes it,
for what is measured below has noise of its own (to 0.63 where noise and effects are 0.77 to 1): here the
known noise variance is taken out of the lower rung's sums of squares (errors in variables; Fuller 1987).
Variants that were picked for looking good are luckier than they are good, so each counts by one over its
chance of having climbed: winners once, randomly chosen others for all that were not chosen. The reference
is one more point, whose effect is zero on both rungs; the error it shares with all effects thereby drops out.

The part of shrinkage that selection explains follows from the lower rung alone: given how all effects spread
there, the expected true effect of those that climbed lies closer to the middle than what was measured. The
spread is the mixture of ``shrinkage.py``, which one catastrophic variant does not widen for all others.

Kendall's τ compares ranks; its null spread is that of unrelated rungs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from sweepkit.analysis import shrinkage
from sweepkit.printable import counted

MIN_VARIANTS = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Climber:
    """One variant on two neighbouring rungs.

    Attributes:
        below, above: its effects, in the metric's unit.
        error: standard error of its own mean on the lower rung, without the reference's.
        chance: of having climbed; 1 for those that were picked.
        flips: whether the effects have opposite signs, shown on both rungs.
    """

    variant: str
    below: float
    above: float
    error: float
    chance: float = 1.0
    flips: bool = False


@dataclass(frozen=True)
class Retention:
    """What one rung says about the next.

    Attributes:
        n: variants that were run on both.
        slope, low, high: errors-in-variables retention with its interval; None where it cannot be told.
        plain_slope: least squares, diluted by noise.
        tau, tau_null_sd, tau_p: Kendall's τ, its spread between unrelated rungs, two-sided p.
        flips: variants whose effects have opposite signs, shown on both rungs.
        measured_below, expected, measured_above: mean effect of the variants that were picked: as measured
            below, as expected from the lower rung with luck taken out, and as measured above.
        explained: share of the shrinkage that selection alone explains; None without shrinkage.
        sentence: all of this in words.
    """

    lower: str
    upper: str
    n: int
    slope: float | None
    low: float | None
    high: float | None
    confidence: float
    plain_slope: float | None
    tau: float | None
    tau_null_sd: float | None
    tau_p: float | None
    flips: list[str]
    measured_below: float | None
    expected: float | None
    measured_above: float | None
    explained: float | None
    sentence: str


def retention(
    lower: str,
    upper: str,
    climbers: Sequence[Climber],
    everybody: Mapping[str, tuple[float, float]],
    picked: Sequence[str],
    alpha: float,
) -> Retention:
    """What the lower rung says about the upper one.

    Args:
        climbers: the variants that were run on both.
        everybody: variant → effect and own error on the lower rung, for the spread of true effects.
        picked: those that climbed for looking good.
        alpha: intervals have confidence ``1 - 2 alpha``.
    """
    confidence = 1.0 - 2.0 * alpha
    slope = low = high = plain = tau = spread = tau_p = None
    if len(climbers) >= MIN_VARIANTS:
        x = np.asarray([0.0, *(item.below for item in climbers)])
        y = np.asarray([0.0, *(item.above for item in climbers)])
        weights = np.asarray([1.0, *(1.0 / item.chance for item in climbers)])
        own = np.asarray([item.error for item in climbers]) ** 2
        variances = np.asarray([float(own.mean()), *own])
        slope, low, high = errors_in_variables(x, y, variances, weights, alpha)
        centred = x - np.average(x, weights=weights)
        plain = float(np.sum(weights * centred * y) / np.sum(weights * centred**2)) if x.any() else None
        tau, spread, tau_p = kendall([i.below for i in climbers], [i.above for i in climbers])
    chosen = [item for item in climbers if item.variant in set(picked)]
    below = _mean([item.below for item in chosen])
    above = _mean([item.above for item in chosen])
    likely = true_effects(everybody)
    expected = _mean([likely[item.variant] for item in chosen]) if likely else None
    explained = None
    if below is not None and above is not None and expected is not None and above - below > 0.0 > below:
        explained = min(1.0, max(0.0, (expected - below) / (above - below)))
    flips = [item.variant for item in climbers if item.flips]
    found = Retention(
        lower, upper, len(climbers), slope, low, high, confidence, plain, tau, spread, tau_p, flips,
        below, expected, above, explained, "",
    )  # fmt: skip
    return Retention(**{**asdict(found), "sentence": _sentence(found)})


def errors_in_variables(
    x: Array, y: Array, variances: Array, weights: Array, alpha: float
) -> tuple[float | None, float | None, float | None]:
    """Slope of ``y`` against what ``x`` measures with noise of known ``variances``, with Fieller's interval.

    ``Σ w (x − x̄)(y − ȳ) / Σ w ((x − x̄)² − variance)`` is a ratio of two means, so the interval inverts the
    test that ``numerator − slope × denominator`` is zero, with its empirical variance. All None where noise
    alone would spread ``x`` as far.

    Args:
        x, y, variances, weights: one entry a variant, all of one length; weights above 0.
    """
    centre_x, centre_y = np.average(x, weights=weights), np.average(y, weights=weights)
    kept = 1.0 - weights / weights.sum()  # share of a point's own noise that centring leaves
    top = weights * (x - centre_x) * (y - centre_y)
    bottom = weights * ((x - centre_x) ** 2 - variances * kept)
    if bottom.sum() <= 0.0:
        return None, None, None
    slope = float(top.sum() / bottom.sum())
    n = len(x)
    spread = np.cov(top, bottom) * n
    t = float(special.stdtrit(n - 2, 1.0 - alpha))
    a = bottom.sum() ** 2 - t**2 * spread[1, 1]
    b = top.sum() * bottom.sum() - t**2 * spread[0, 1]
    c = top.sum() ** 2 - t**2 * spread[0, 0]
    if a <= 0.0:
        return slope, None, None
    half = math.sqrt(max(0.0, b * b - a * c))
    return slope, float(b - half) / float(a), float(b + half) / float(a)


def kendall(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Kendall's τ-b, its standard deviation between unrelated rankings, and a two-sided p (exact for few)."""
    found = stats.kendalltau(x, y)
    n = len(x)
    return float(found.statistic), math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))), float(found.pvalue)


def true_effects(everybody: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Expected true effects: posterior means around the median; none of too few.

    Unlike what was measured, they are not biased by choosing the best (Dawid 1994).

    Args:
        everybody: variant → effect and own error. The reference's error moves all effects alike, so it is no
            part of their spread.
    """
    if len(everybody) < MIN_VARIANTS:
        return {}
    values, errors = np.asarray(list(everybody.values()), dtype=float).T
    middle = float(np.median(values))
    shrunk = middle + shrinkage.shrink((values - middle)[None], errors[None])[0]
    return dict(zip(everybody, map(float, shrunk), strict=True))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _sentence(found: Retention) -> str:
    if found.slope is None:
        few = found.n < MIN_VARIANTS
        why = f"{counted(found.n, 'variant')} on both" if few else "their spread below is no more than noise"
        said = f"{found.lower} → {found.upper}: retention cannot be told ({why})"
    else:
        interval = (
            "no bounded interval; more variants drawn at random would give one (decision.num_unselected)"
            if found.low is None or found.high is None
            else f"{found.confidence:.0%} interval {found.low:.0%} to {found.high:.0%}"
        )
        said = f"{found.lower} → {found.upper}: {found.slope:.0%} of an effect is retained ({interval})"
    if found.tau is not None and found.tau_p is not None:
        said += f"; ranks agree with τ = {found.tau:.2f} (unrelated rungs: 0 ± {found.tau_null_sd:.2f})"
    if found.explained is not None:
        said += f"; selection alone explains {found.explained:.0%} of the shrinkage of those that climbed"
    if found.flips:
        said += f"; sign flips shown: {', '.join(found.flips)}"
    return said
