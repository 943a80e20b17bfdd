"""Correcting for having tried several variants at once.

Variants that are measured by one pooled noise, all paired or all unpaired, and compared with one reference
are corrected step-down by Dunnett's distribution, which knows how much they have in common: the largest
statistic as one of all, the next as one of those that are left (Marcus, Peritz and Gabriel 1976). Where some
have a noise of their own (Welch, own differences, moderated) there is no joint distribution to use, and all
are corrected by Holm's method, which needs none.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.analysis import dunnett
from sweepkit.analysis.effects import ONE_WAY, POOLED, Effect

DUNNETT, HOLM = "step-down Dunnett", "Holm"


def correct(found: Sequence[Effect], p_values: Sequence[float]) -> tuple[list[float], str]:
    """Corrected p values, in the given order, and the method's name.

    Args:
        found: the metric's effects, one a variant: they say how the comparisons are related.
        p_values: one a variant, of its own; 1 where nothing was measured.
    """
    measured = [effect for effect in found if effect.p is not None]
    methods = {effect.method for effect in measured}
    if methods not in ({POOLED}, {ONE_WAY}):
        return holm(p_values), HOLM
    rho, df = min(effect.rho for effect in measured), min(effect.df for effect in measured)
    return dunnett.adjust(p_values, df, rho), DUNNETT


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
