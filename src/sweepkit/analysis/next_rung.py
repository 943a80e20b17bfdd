"""What the next rung will show, foretold from the rungs below it: numbers with intervals, by several methods.

Every forecast is a Student t distribution of what will be *measured*: its centre, the SD of the true value,
and the noise of one run, so that it says the same whether three or eight seeds are run in the end.

Effects. ``RETENTION``: what is left of the shrunken effect below (``shrinkage.py``, for what climbs looks
better than it is), times the share that is retained from rung to rung. That share starts as ``PRIOR`` and
learns from every pair of rungs that was measured. ``LAW``: where two rungs or more lie below, the reducible
loss of a variant over the reference's is a power of training compute. ``NO_CHANGE`` and ``SAME_EFFECT`` are
the baselines: the variant is like the reference, or exactly as good as it was measured below.

The reference's loss. ``LAW``: ``L = E + A C^-a`` over training FLOPs C. Two or three rungs cannot tell E, so
it is taken evenly from nothing to ``_MOST_IRREDUCIBLE`` of the lowest loss, each weighted by how well the
rungs below agree with it. ``NO_CHANGE`` is the loss below, ``SAME_EFFECT`` the last step down once more.

On a ladder depth, width and tokens move together, so no law here tells which of them did it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweepkit.analysis.effects import Effect
from sweepkit.analysis.retention import Retention
from sweepkit.results.columns import REFERENCE

RETENTION, LAW, NO_CHANGE, SAME_EFFECT = "retention", "law", "no change", "same effect"
METHODS = (RETENTION, LAW, NO_CHANGE, SAME_EFFECT)
EFFECT, LOSS = "effect", "loss"
#: Of every forecast's interval.
CONFIDENCE = 0.9
#: Mean share of a true effect that is retained one rung up, and its SD, before anything was measured.
PRIOR = (0.8, 0.35)
_BETWEEN_PAIRS = 0.2  # SD of retention from one pair of rungs to another
_MOST_IRREDUCIBLE = 0.95
_MISFIT = 0.005  # SD of a law's own error, of the reducible loss
_EFFECT_MISFIT = 0.1  # the same of an effect, of its size
_GRID = 39
_MOST_DF = 1e4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Below:
    """A decided rung.

    Attributes:
        flops: of training one run of the reference.
        loss: the reference's mean, in the metric's unit.
        loss_sd: of single runs of the reference; None of a single one.
        n: seeds of the reference.
        effects: variant → its effect.
    """

    flops: float
    loss: float
    loss_sd: float | None
    n: int
    effects: Mapping[str, Effect]


@dataclass(frozen=True)
class Prediction:
    """One number of the next rung, foretold by one method.

    Attributes:
        kind: ``EFFECT`` of a variant, or ``LOSS`` of the reference.
        target: the variant; the reference's label for its loss.
        mean: the most likely value, in the metric's unit.
        sd: of the true value.
        run_sd: of what single runs add; of an effect with seed and variant taken out.
        df: degrees of freedom of the whole; where ``sd`` is a law's own, those of noise weigh less.
        n: seeds that are planned.
        reference_replicates: runs of the reference a seed.
        low, high: where the measured value will lie with probability ``CONFIDENCE``, with ``n`` seeds.
    """

    kind: str
    target: str
    method: str
    mean: float
    sd: float
    run_sd: float
    df: float
    n: int
    reference_replicates: int
    low: float
    high: float

    def scale(self, n: int) -> float:
        """Of the distribution of what ``n`` seeds will measure."""
        runs = 1.0 + 1.0 / self.reference_replicates if self.kind == EFFECT else 1.0
        return math.sqrt(self.sd**2 + self.run_sd**2 * runs / n)

    def interval(self, n: int) -> tuple[float, float]:
        """Where what ``n`` seeds measure lies with probability ``CONFIDENCE``."""
        half = float(special.stdtrit(self.df, 0.5 + CONFIDENCE / 2)) * self.scale(n)
        return self.mean - half, self.mean + half

    def log_score(self, measured: float, n: int) -> float:
        """Log of the density that it gave to what came out (natural; per unit of the metric)."""
        scale, df = self.scale(n), self.df
        z = (measured - self.mean) / scale
        normed = special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - 0.5 * math.log(df * math.pi)
        return float(normed - math.log(scale) - (df + 1) / 2 * math.log1p(z * z / df))


def predict(
    below: Sequence[Below],
    flops: float,
    variants: Sequence[str],
    n: int,
    reference_replicates: int,
    retentions: Sequence[Retention],
    is_loss: bool,
) -> list[Prediction]:
    """Every method's forecast of the next rung, as far as it has one.

    Args:
        below: the decided rungs from the bottom up, at least one.
        flops: of training one run of the reference on the next rung.
        variants: that will be run there.
        n: seeds there.
        reference_replicates: runs of the reference a seed there.
        retentions: measured between the rungs below, or elsewhere between rungs like these.
        is_loss: whether the metric falls towards a floor above 0, as a law asks.
    """
    law = _Law.of(below, flops) if is_loss else None
    found = _losses(below[-1], below[:-1], law, n)
    share = retained(retentions)
    for name in variants:
        effect = below[-1].effects.get(name)
        if effect is None or effect.effect is None or effect.standard_error is None or not effect.noise_sd:
            continue
        found += _effects(name, effect, share, law, n, reference_replicates)
    return found


def retained(retentions: Sequence[Retention]) -> tuple[float, float]:
    """Mean and SD of the share of a true effect that is kept: ``PRIOR``, and what was measured."""
    precision = PRIOR[1] ** -2
    total = PRIOR[0] * precision
    for item in retentions:
        if item.slope is None or item.low is None or item.high is None:
            continue
        error = (item.high - item.low) / 2.0 / float(special.ndtri(0.5 + item.confidence / 2.0))
        weight = 1.0 / (error**2 + _BETWEEN_PAIRS**2)
        precision, total = precision + weight, total + weight * item.slope
    return total / precision, math.hypot(precision**-0.5, _BETWEEN_PAIRS)


def _losses(last: Below, before: Sequence[Below], law: _Law | None, n: int) -> list[Prediction]:
    if not last.loss_sd:
        return []
    error = last.loss_sd / math.sqrt(last.n)

    def of(method: str, mean: float, sd: float) -> Prediction:
        assert last.loss_sd is not None
        noise = last.loss_sd**2 / n
        df = (last.n - 1) * (1.0 if method != LAW else ((sd**2 + noise) / noise) ** 2)  # Satterthwaite
        return _prediction(LOSS, REFERENCE, method, mean, sd, last.loss_sd, min(df, _MOST_DF), n, 1)

    found = [of(LAW, *law.loss())] if law else []
    found.append(of(NO_CHANGE, last.loss, error))
    if before:
        step = last.loss - before[-1].loss
        other = before[-1].loss_sd or 0.0
        sd = math.hypot(2.0 * error, other / math.sqrt(before[-1].n))
        found.append(of(SAME_EFFECT, last.loss + step, sd))
    return found


def _effects(
    name: str, last: Effect, share: tuple[float, float], law: _Law | None, n: int, replicates: int
) -> list[Prediction]:
    assert last.effect is not None and last.standard_error is not None and last.noise_sd is not None
    noise_sd = last.noise_sd

    def of(method: str, mean: float, sd: float) -> Prediction:
        return _prediction(EFFECT, name, method, mean, sd, noise_sd, last.df, n, replicates)

    shrunk = last.effect if last.shrunk is None else last.shrunk
    kept = shrunk / last.effect if last.effect else 0.0
    variance = max(0.0, kept) * last.standard_error**2  # of the posterior
    mean, sd = share
    spread = math.sqrt(mean**2 * variance + shrunk**2 * sd**2 + variance * sd**2)
    found = [of(RETENTION, mean * shrunk, spread)]
    if law and (told := law.effect(name)):
        found.append(of(LAW, *told))
    return [*found, of(NO_CHANGE, 0.0, 0.0), of(SAME_EFFECT, last.effect, last.standard_error)]


def _prediction(
    kind: str, target: str, method: str, mean: float, sd: float, run_sd: float, df: float, n: int, m: int
) -> Prediction:
    made = Prediction(kind, target, method, mean, sd, run_sd, max(1.0, float(df)), n, m, 0.0, 0.0)
    low, high = made.interval(n)
    return Prediction(kind, target, method, mean, sd, run_sd, made.df, n, m, low, high)


@dataclass(frozen=True)
class _Law:
    """``L = E + A C^-a`` at ``flops``, for every E of a grid (u): loss there, its SD, weight."""

    below: Sequence[Below]
    flops: float
    floor_u: Array
    loss_u: Array
    sd_u: Array
    weight_u: Array

    @classmethod
    def of(cls, below: Sequence[Below], flops: float) -> _Law | None:
        """None of a single rung, of rungs that cost the same, and where noise is not known."""
        losses = np.asarray([item.loss for item in below])
        scales = {item.flops for item in below}
        if len(scales) < 2 or min([*scales, flops]) <= 0.0 or losses.min() <= 0.0:
            return None
        floor_u = np.linspace(0.0, _MOST_IRREDUCIBLE, _GRID) * losses.min()
        errors = np.asarray([(item.loss_sd or 0.0) / math.sqrt(item.n) for item in below])
        x = np.log([item.flops for item in below])
        rest_uk = losses - floor_u[:, None]
        variance_uk = (errors / rest_uk) ** 2 + _MISFIT**2
        centre_u, spread_u, misfit_u = _line(x, np.log(rest_uk), variance_uk, math.log(flops))
        left_u = np.exp(centre_u)
        sd_u = left_u * np.sqrt(spread_u + _MISFIT**2)
        weight_u = np.exp(-0.5 * (misfit_u - misfit_u.min()))
        return cls(below, flops, floor_u, floor_u + left_u, sd_u, weight_u / weight_u.sum())

    def loss(self) -> tuple[float, float]:
        """Mean and SD of the reference's loss."""
        return _mixed(self.loss_u, self.sd_u, self.weight_u)

    def effect(self, name: str) -> tuple[float, float] | None:
        """Mean and SD of a variant's effect; None unless it was measured on two rungs below."""
        known = [
            (item.flops, item.loss, effect.effect, effect.standard_error)
            for item in self.below
            if (effect := item.effects.get(name)) and effect.effect is not None and effect.standard_error
        ]
        if len({row[0] for row in known}) < 2:
            return None
        flops, loss, effect_k, error = np.asarray(known).T
        rest_uk = loss - self.floor_u[:, None]
        is_above_u = (rest_uk + effect_k > 0.0).all(axis=1)
        if not is_above_u.any():
            return None
        rest_uk, left_u = rest_uk[is_above_u], (self.loss_u - self.floor_u)[is_above_u]
        variance_uk = (error / (rest_uk + effect_k)) ** 2
        told = _line(np.log(flops), np.log1p(effect_k / rest_uk), variance_uk, math.log(self.flops))
        centre_u, spread_u, _ = told
        weight_u = self.weight_u[is_above_u]
        sd_u = left_u * np.exp(centre_u) * np.sqrt(spread_u)
        mean_u = left_u * np.expm1(centre_u)
        sd_u = np.hypot(sd_u, _EFFECT_MISFIT * mean_u)
        return _mixed(mean_u, sd_u, weight_u / weight_u.sum())


def _line(x_k: Array, y_uk: Array, variance_uk: Array, at: float) -> tuple[Array, Array, Array]:
    """Weighted straight lines at ``at``: value and variance there, and weighted sum of squares; each [u]."""
    weight_uk = 1.0 / variance_uk
    share_uk = weight_uk / weight_uk.sum(axis=1, keepdims=True)
    off_uk = x_k - (share_uk @ x_k)[:, None]
    centre_u = (share_uk * y_uk).sum(axis=1)
    squares_u = (weight_uk * off_uk**2).sum(axis=1)
    slope_u = (weight_uk * off_uk * y_uk).sum(axis=1) / squares_u
    ahead_u = at - share_uk @ x_k
    rest_uk = y_uk - centre_u[:, None] - slope_u[:, None] * off_uk
    spread_u = 1.0 / weight_uk.sum(axis=1) + ahead_u**2 / squares_u
    return centre_u + slope_u * ahead_u, spread_u, (weight_uk * rest_uk**2).sum(axis=1)


def _mixed(mean_u: Array, sd_u: Array, weight_u: Array) -> tuple[float, float]:
    """Mean and SD of a mixture."""
    mean = float(np.sum(weight_u * mean_u))
    return mean, math.sqrt(float(np.sum(weight_u * (sd_u**2 + (mean_u - mean) ** 2))))
