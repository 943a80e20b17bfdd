"""Whose noise is not like the others': the reference's, or everybody's.

``noise.py`` pools one variance over a rung. Three things break that. A single wild variant leaves the pool
there. Here are the other two:

* **The reference is noisier than its variants.** All comparisons share its runs, so its noise does not
  average out over them, while a pool of many variants hides it. Its residual variance is held against the
  variants'
  by an F test at ``REFERENCE_LEVEL``. If it is larger, a comparison's variance is the sum of both, each with
  its own degrees of freedom (Satterthwaite 1946). The reference's is drawn towards the variants' as if
  ``PRIOR_DF`` degrees of freedom of it had been seen: alone it has too few.
* **The variants differ among themselves** (Bartlett's test at ``VARIANTS_LEVEL``). Then every variant and the
  reference have a variance of their own, drawn towards the common one by as many degrees of freedom as the
  spread of the variances tells (empirical Bayes, Smyth 2004).

The levels were chosen in simulation: they trade power where noise is equal for error rates where it is not
(docs/statistics.md).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import optimize, special

from sweepkit.analysis import noise
from sweepkit.analysis.noise import TwoWay

REFERENCE_LEVEL = 0.1
VARIANTS_LEVEL = 0.05
PRIOR_DF = 1.0
_LEAST_PRIOR_DF = 0.5
_TINY = 1e-5  # of the median variance; the logarithm of a smaller one would speak too loudly


class Kind(StrEnum):
    equal = "equal"
    reference = "reference"
    everybody = "everybody"


@dataclass(frozen=True)
class Variance:
    """An estimated variance with its degrees of freedom."""

    value: float
    df: float


@dataclass(frozen=True)
class Spread:
    """The noise of one rung's runs, where it is not equal.

    Attributes:
        fit: the two-way fit that comparisons are taken from.
        variances: variant → its variance; empty where all have one.
    """

    kind: Kind
    fit: TwoWay
    variances: Mapping[str, Variance]

    def error(self, variant: str, reference: str) -> Variance | None:
        """Variance of the estimate of ``variant - reference``; None where it does not exist."""
        if self.fit.contrast(variant, reference) is None:
            return None
        place_v, distinct = self._kinds
        weight_k = np.bincount(place_v, weights=self.fit.squared_weights(variant, reference))
        parts = [weight * one.value for weight, one in zip(weight_k, distinct, strict=True)]
        total = math.fsum(parts)
        return Variance(
            total, total**2 / sum(part**2 / one.df for part, one in zip(parts, distinct, strict=True))
        )

    @functools.cached_property
    def _kinds(self) -> tuple[list[int], list[Variance]]:
        """The place of every variant's variance among those that differ; and these."""
        places: dict[Variance, int] = {}
        place_v = [places.setdefault(self.variances[name], len(places)) for name in self.fit.parts]
        return place_v, list(places)

    def correlations(self, variants: Sequence[str], reference: str) -> dict[str, float]:
        """Variant → the smallest correlation of its comparison with another's."""
        variances = {name: self.variances[name].value for name in self.fit.parts}
        return self.fit.smallest_correlations(variants, reference, variances)


def spread(
    labels: Sequence[str], blocks: Sequence[str], values: Sequence[float], reference: str, pool: noise.Pool
) -> Spread:
    """Which noise is unequal, by the tests above; one entry a run in the first three.

    Needs two variants beside the reference: with one alone nobody can say whose noise it is.
    """
    whole = noise.fit_two_way(labels, blocks, values) if pool.excluded else pool.fit
    if reference not in whole.parts:
        return Spread(Kind.equal, pool.fit, {})
    own = _own_variances(noise.without(whole, reference, values), values)
    if len(own) > 2 and bartlett_p(list(own.values())) < VARIANTS_LEVEL:
        of_reference, _ = _reference_variance(whole, reference, values)
        if of_reference is not None:
            alone = [name for name in whole.parts if name not in own and name != reference]  # of one run
            return Spread(Kind.everybody, whole, moderated(own | {reference: of_reference}, reference, alone))
    of_reference, of_variants = _reference_variance(pool.fit, reference, values)
    if of_reference is None or of_variants is None:
        return Spread(Kind.equal, pool.fit, {})
    if f_test_p(of_reference, of_variants) >= REFERENCE_LEVEL:
        return Spread(Kind.equal, pool.fit, {})
    variances = dict.fromkeys(pool.fit.parts, of_variants)
    variances[reference] = drawn(_separated(of_reference, of_variants, pool.fit, reference), of_variants)
    return Spread(Kind.reference, pool.fit, variances)


def f_test_p(one: Variance, other: Variance) -> float:
    """One-sided, of "the first is no larger"."""
    return float(special.fdtrc(one.df, other.df, one.value / other.value))


def bartlett_p(variances: Sequence[Variance]) -> float:
    """P of "they are all equal" (Bartlett 1937), with variances of nothing raised to next to nothing."""
    value, df = _raised(variances)
    total, k = df.sum(), len(df)
    pooled = float(df @ value) / total
    if pooled <= 0.0:
        return 1.0
    statistic = total * math.log(pooled) - float(df @ np.log(value))
    statistic /= 1.0 + ((1.0 / df).sum() - 1.0 / total) / (3.0 * (k - 1))
    return float(special.chdtrc(k - 1, max(statistic, 0.0)))


def moderated(
    variances: Mapping[str, Variance], reference: str, alone: Sequence[str] = ()
) -> dict[str, Variance]:
    """Each variance drawn towards what the variants' have in common (Smyth 2004).

    Args:
        alone: variants that have no variance of their own; theirs is what the others have in common.
    """
    variants = [found for name, found in variances.items() if name != reference]
    value, df = _raised(variants)
    e = np.log(value) - special.digamma(df / 2.0) + np.log(df / 2.0)
    excess = float(e.var(ddof=1) - special.polygamma(1, df / 2.0).mean())
    prior_df = max(2.0 * _inverse_trigamma(excess), _LEAST_PRIOR_DF) if excess > 1e-4 else 1e4
    centre = float(e.mean() + special.digamma(prior_df / 2.0) - math.log(prior_df / 2.0))
    prior = Variance(math.exp(centre), prior_df)
    return {name: _averaged(found, prior) for name, found in variances.items()} | dict.fromkeys(alone, prior)


def _own_variances(fit: TwoWay, values: Sequence[float]) -> dict[str, Variance]:
    """Variant → the residual variance that goes with it."""
    found = {}
    for name, (rest_sse, rest_df) in fit.without_each(values).items():
        df = fit.df - rest_df
        if df > 0:
            found[name] = Variance(max(fit.sse - rest_sse, 0.0) / df, float(df))
    return found


def _reference_variance(
    fit: TwoWay, reference: str, values: Sequence[float]
) -> tuple[Variance | None, Variance | None]:
    """The residual variance that goes with the reference, and that of the variants among themselves."""
    rest = noise.without(fit, reference, values)
    df = fit.df - rest.df
    mine = Variance(max(fit.sse - rest.sse, 0.0) / df, float(df)) if df > 0 else None
    theirs = Variance(rest.sse / rest.df, float(rest.df)) if rest.df > 0 and rest.sse > 0.0 else None
    return mine, theirs


def _separated(mine: Variance, theirs: Variance, fit: TwoWay, reference: str) -> Variance:
    """The reference's alone: its residuals hold some of the variants' noise, by the size of the blocks."""
    blocks = fit.parts[reference].blocks
    num_blocks, runs = len(set(blocks)), len(blocks)
    times = runs / num_blocks
    of_theirs = (num_blocks - 1) * times / (times + len(fit.parts) - 1) / max(mine.df, 1.0)
    return Variance((mine.value - of_theirs * theirs.value) / (1.0 - of_theirs), mine.df)


def drawn(mine: Variance, theirs: Variance) -> Variance:
    """The reference's variance, drawn towards the variants' by ``PRIOR_DF`` degrees of freedom."""
    return _averaged(mine, Variance(theirs.value, PRIOR_DF))


def _averaged(one: Variance, other: Variance) -> Variance:
    total = one.df + other.df
    return Variance((one.df * one.value + other.df * other.value) / total, total)


def _raised(variances: Sequence[Variance]) -> tuple[noise.Array, noise.Array]:
    value = np.asarray([found.value for found in variances])
    df = np.asarray([found.df for found in variances])
    floor = max(_TINY * float(np.median(value)), 1e-300)
    return np.maximum(value, floor), df


def _inverse_trigamma(value: float) -> float:
    return float(
        np.exp(optimize.brentq(lambda x: float(special.polygamma(1, math.exp(x))) - value, -12.0, 12.0))
    )
