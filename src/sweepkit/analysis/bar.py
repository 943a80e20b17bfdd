"""Groups of runs against a bar: is the mean below a number that was fixed beforehand?

As speedruns judge a record: one-sided, by the noise σ of a run that others have measured, so that a group of
n runs is shown to be below the bar when (bar − mean)·√n / σ is large (normal, or Student's t where σ has
degrees of freedom). Without σ the groups' own spread is used: one variance pooled over the groups where
Bartlett's test finds them equally noisy, else each group's own. Holm's p values of all groups stand beside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from sweepkit.analysis import multiplicity, unequal
from sweepkit.analysis.unequal import Variance

_ODD_LEVEL = 0.01


@dataclass(frozen=True)
class Barred:
    """One group against the bar, a lower value being better.

    Attributes:
        group: its label.
        n, mean, sd: of its runs; no sd of a single one.
        margin: (bar − mean)·√n, what speedruns hold against a number; in the metric's unit.
        noise_sd, df: of one run, and how well it is known (infinite: taken as known).
        p: one-sided, of "the true mean is not below the bar"; None where the noise is not known.
        p_corrected: by Holm over all groups.
        p_above: one-sided, of "the true mean is not above the bar".
        is_noisier: whether the runs scatter more than ``noise_sd`` lets them (χ² at 1%).
    """

    group: str
    n: int
    mean: float
    sd: float | None
    margin: float
    noise_sd: float | None
    df: float
    p: float | None
    p_corrected: float | None
    p_above: float | None
    is_noisier: bool


def against(groups: Mapping[str, Sequence[float]], bar: float, sigma: Variance | None) -> list[Barred]:
    """Every group against the bar, in the given order.

    Args:
        groups: label → values of its runs, at least one; lower is better.
        bar: what they are to be below.
        sigma: variance of a run as others have measured it; its df may be infinite.
    """
    noise = dict.fromkeys(groups, sigma) if sigma else _own(groups)
    found = [
        _one(name, list(values), bar, noise.get(name), sigma is not None) for name, values in groups.items()
    ]
    corrected = multiplicity.holm([1.0 if item.p is None else item.p for item in found])
    return [
        item if item.p is None else Barred(**{**vars(item), "p_corrected": p})
        for item, p in zip(found, corrected, strict=True)
    ]


def _one(name: str, values: Sequence[float], bar: float, noise: Variance | None, is_given: bool) -> Barred:
    n, mean = len(values), math.fsum(values) / len(values)
    sd = math.sqrt(_variance(values)) if n > 1 else None
    margin = (bar - mean) * math.sqrt(n)
    if noise is None:
        return Barred(name, n, mean, sd, margin, None, 0.0, None, None, None, False)
    z = margin / math.sqrt(noise.value)
    p, p_above = (
        float(special.ndtr(t) if math.isinf(noise.df) else special.stdtr(noise.df, t)) for t in (-z, z)
    )
    is_noisier = False
    if is_given and sd is not None:
        ratio = sd**2 / noise.value
        tail = (
            special.chdtrc(n - 1, (n - 1) * ratio)
            if math.isinf(noise.df)
            else special.fdtrc(n - 1, noise.df, ratio)
        )
        is_noisier = bool(tail < _ODD_LEVEL)
    return Barred(name, n, mean, sd, margin, math.sqrt(noise.value), noise.df, p, None, p_above, is_noisier)


def _variance(values: Sequence[float]) -> float:
    """Of two values or more; 0 where all are equal, which a rounded mean would not leave."""
    return float(np.var(values, ddof=1)) if min(values) < max(values) else 0.0


def _own(groups: Mapping[str, Sequence[float]]) -> dict[str, Variance]:
    """The groups' own spread: pooled where they are equally noisy; a single run has that of the pool."""
    own = {
        name: Variance(_variance(values), len(values) - 1.0)
        for name, values in groups.items()
        if len(values) > 1
    }
    there = [item for item in own.values() if item.value > 0.0]
    if not there:
        return {}
    if len(there) > 1 and unequal.bartlett_p(there) < unequal.VARIANTS_LEVEL:
        return {name: item for name, item in own.items() if item.value > 0.0}
    df = math.fsum(item.df for item in own.values())
    pooled = Variance(math.fsum(item.df * item.value for item in own.values()) / df, df)
    return dict.fromkeys(groups, pooled)
