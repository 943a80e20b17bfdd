"""What the next rung will show, foretold from the rungs below it: numbers with intervals, by several methods.

Every forecast is a Student t distribution of what will be *measured*: its centre, the SD of the true value,
and the noise of one run, so that it says the same whether three or eight seeds are run in the end.

Effects. ``RETENTION``: what is left of the shrunken effect below (``shrinkage.py``, for what climbs looks
better than it is), times the share that is retained from rung to rung. That share starts as ``PRIOR`` and
learns from every pair of rungs that was measured. ``LAW``: where two rungs or more lie below, the ratio of a
variant's loss to the reference's is a power of the number of parameters. ``NO_CHANGE`` and ``SAME_EFFECT``
are the baselines: the variant is like the reference, or exactly as good as it was measured below.

The reference's loss. ``LAW``: ``laws/size_forecast.py`` on the reference's runs of all rungs below, two at
least. ``NO_CHANGE`` is the loss below, ``SAME_EFFECT`` the last step down once more.

On a ladder depth, width and tokens move together, so no law here tells which of them did it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from sweepkit.analysis.effects import Effect
from sweepkit.analysis.laws import size_forecast
from sweepkit.analysis.laws.intervals import t_limit
from sweepkit.analysis.retention import Retention
from sweepkit.results.columns import REFERENCE

RETENTION, LAW, NO_CHANGE, SAME_EFFECT = "retention", "law", "no change", "same effect"
METHODS = (RETENTION, LAW, NO_CHANGE, SAME_EFFECT)
EFFECT, LOSS = "effect", "loss"
#: Of every forecast's interval.
CONFIDENCE = 0.9
#: Mean share of a true effect that is retained one rung up, and its SD, before anything was measured. What is
#: published shrinks; effects of the committed rounds grew or turned too, and an SD of 0.35 held 54% of them.
PRIOR = (0.8, 0.7)
_BETWEEN_PAIRS = 0.2  # SD of retention from one pair of rungs to another
_EFFECT_MISFIT = 0.1  # SD of the law's own error, of an effect


#: Parameters, and the tokens that one run trains on.
Size = tuple[float, float]


@dataclass(frozen=True)
class Below:
    """A decided rung.

    Attributes:
        size: of the reference; None where it is not known.
        losses: of the reference, one a seed, in the metric's unit.
        effects: variant → its effect.
    """

    size: Size | None
    losses: tuple[float, ...]
    effects: Mapping[str, Effect]

    @property
    def n(self) -> int:
        return len(self.losses)

    @property
    def loss(self) -> float:
        return statistics.fmean(self.losses)

    @property
    def loss_sd(self) -> float:
        """Of single runs; 0 of a single one."""
        return statistics.stdev(self.losses) if self.n > 1 else 0.0


@dataclass(frozen=True)
class Prediction:
    """One number of the next rung, foretold by one method.

    Attributes:
        kind: ``EFFECT`` of a variant, or ``LOSS`` of the reference.
        target: the variant; the reference's label for its loss.
        mean: the most likely value, in the metric's unit.
        sd: of the true value.
        run_sd: of what single runs add; of an effect with seed and variant taken out.
        df: degrees of freedom of both together.
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
    size: Size | None,
    variants: Sequence[str],
    n: int,
    reference_replicates: int,
    retentions: Sequence[Retention],
    is_loss: bool,
) -> list[Prediction]:
    """Every method's forecast of the next rung, as far as it has one.

    Args:
        below: the decided rungs from the bottom up, at least one.
        size: of the reference on the next rung.
        variants: that will be run there.
        n: seeds there.
        reference_replicates: runs of the reference a seed there.
        retentions: measured between the rungs below.
        is_loss: whether the metric falls towards a floor above 0, as a law asks.
    """
    is_fit = is_loss and min(min(item.losses) for item in below) > 0.0
    sized = [(item.size, item) for item in below if item.size]
    is_fit = is_fit and len(sized) == len(below)
    law = _law_of_loss(sized, size) if is_fit and size else None
    found = _losses(below, law, n)
    share = retained(retentions)
    for name in variants:
        effect = below[-1].effects.get(name)
        if effect is None or effect.effect is None or effect.standard_error is None or not effect.noise_sd:
            continue
        told = _law_of_effect(sized, size, name) if is_fit and size else None
        found += _effects(name, effect, share, told, n, reference_replicates)
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


def _losses(below: Sequence[Below], law: tuple[float, float, int] | None, n: int) -> list[Prediction]:
    last = below[-1]
    if last.loss_sd == 0.0:
        return []
    error = last.loss_sd / math.sqrt(last.n)

    def of(method: str, mean: float, sd: float, df: int = last.n - 1) -> Prediction:
        return _prediction(LOSS, REFERENCE, method, mean, sd, last.loss_sd, df, n, 1)

    found = [of(LAW, *law)] if law else []
    found.append(of(NO_CHANGE, last.loss, error))
    if len(below) > 1:
        before = below[-2]
        sd = math.hypot(2.0 * error, before.loss_sd / math.sqrt(before.n))
        found.append(of(SAME_EFFECT, 2.0 * last.loss - before.loss, sd))
    return found


def _law_of_loss(below: Sequence[tuple[Size, Below]], to: Size) -> tuple[float, float, int] | None:
    """The reference's loss by the fitted law, the SD of its true value, and degrees of freedom."""
    runs = [(*size, loss) for size, item in below for loss in item.losses]
    params, tokens, losses = np.asarray(runs).T
    num_sizes = len(np.unique(size_forecast.sizes_of(params)))
    if num_sizes < 2 or to[0] <= params.max():
        return None
    found = size_forecast.forecast(params, tokens, losses, num_sizes, [to], CONFIDENCE)
    (told,) = found.forecasts
    assert told.interval.high is not None, "as of every forecast of a size"
    df = num_sizes + 1  # as its interval has
    scale = math.log(told.interval.high / told.expected) / t_limit(df, CONFIDENCE)
    sd = told.expected * math.sqrt(max(0.0, scale**2 - found.noise_sd**2))
    return told.expected, sd, df


def _law_of_effect(below: Sequence[tuple[Size, Below]], to: Size, name: str) -> tuple[float, float] | None:
    """An effect by its law, and the SD of its true value; None unless it was measured on two sizes below."""
    known = [
        (size[0], item.loss, effect.effect, effect.standard_error)
        for size, item in below
        if (effect := item.effects.get(name)) and effect.effect is not None and effect.standard_error
    ]
    params, loss, effects, error = np.asarray(known).T
    if len(set(params)) < 2 or (loss + effects <= 0.0).any():
        return None
    weight = ((loss + effects) / error) ** 2
    x, y = np.log(params), np.log1p(effects / loss)
    centre_x, centre_y = np.average(x, weights=weight), np.average(y, weights=weight)
    squares = np.sum(weight * (x - centre_x) ** 2)
    ahead = math.log(to[0]) - centre_x
    ratio = centre_y + ahead * np.sum(weight * (x - centre_x) * (y - centre_y)) / squares
    at = float(loss[-1])  # what it falls by until then is less than the law's own error
    mean = at * math.expm1(ratio)
    spread = at * math.exp(ratio) * math.sqrt(1.0 / weight.sum() + ahead**2 / squares)
    return float(mean), math.hypot(float(spread), _EFFECT_MISFIT * mean)


def _effects(
    name: str,
    last: Effect,
    share: tuple[float, float],
    law: tuple[float, float] | None,
    n: int,
    replicates: int,
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
    if law:
        found.append(of(LAW, *law))
    return [*found, of(NO_CHANGE, 0.0, 0.0), of(SAME_EFFECT, last.effect, last.standard_error)]


def _prediction(
    kind: str, target: str, method: str, mean: float, sd: float, run_sd: float, df: float, n: int, m: int
) -> Prediction:
    made = Prediction(kind, target, method, mean, sd, run_sd, max(1.0, float(df)), n, m, 0.0, 0.0)
    low, high = made.interval(n)
    return Prediction(kind, target, method, mean, sd, run_sd, made.df, n, m, low, high)
