"""Variants that share no seed with the reference: group means beside each other, nothing paired.

Where the groups' variances do not differ (Bartlett's test over all, an F test of the reference against the
variants), one variance is pooled over them and the comparisons are Dunnett's (1955), as in a one-way analysis
of variance: with 8 variants and 3 seeds it has 18 degrees of freedom where each Welch test has about 4. Else
every variant gets Welch's t test on its own spread. A group has one value a seed: runs of one seed share its
luck and count as their mean, which has another variance, so that a reference that ran several times a seed is
not pooled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis import unequal
from sweepkit.analysis.unequal import Variance


@dataclass(frozen=True)
class Groups:
    """Values a seed of every variant, and the variance they share.

    Attributes:
        pooled: None where the variances differ, or nothing tells them.
    """

    values: Mapping[str, Sequence[float]]
    reference: str
    pooled: Variance | None

    @classmethod
    def of(cls, values: Mapping[str, Sequence[float]], reference: str, is_repeated: bool) -> Groups:
        """Pooled where they allow it; ``is_repeated``: the reference's values are means of several runs."""
        found = {
            name: Variance(float(np.var(own, ddof=1)), len(own) - 1.0)
            for name, own in values.items()
            if len(own) > 1
        }
        if is_repeated or not any(item.value > 0.0 for item in found.values()):
            return cls(values, reference, None)
        theirs = [item for name, item in found.items() if name != reference]
        differ = len(found) > 1 and unequal.bartlett_p(list(found.values())) < unequal.VARIANTS_LEVEL
        if len(theirs) > 1 and reference in found and (others := _pooled(theirs)).value > 0.0:
            differ |= unequal.f_test_p(found[reference], others) < unequal.REFERENCE_LEVEL
        return cls(values, reference, None if differ else _pooled(list(found.values())))

    def error(self, variant: str) -> Variance | None:
        """Variance of the difference of two means; None where the spread is not known."""
        groups = [self.values[variant], self.values[self.reference]]
        if self.pooled is not None:
            scale = sum(1.0 / len(group) for group in groups)
            return Variance(self.pooled.value * scale, self.pooled.df)
        if min(map(len, groups)) < 2:
            return None
        parts = [float(np.var(group, ddof=1)) / len(group) for group in groups]
        total = math.fsum(parts)
        if total == 0.0:
            return None
        weights = sum(part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True))
        return Variance(total, total**2 / weights)

    def difference(self, variant: str) -> float:
        """Of the means, variant minus reference."""
        mine, base = self.values[variant], self.values[self.reference]
        return math.fsum(mine) / len(mine) - math.fsum(base) / len(base)

    def rho(self, variants: Sequence[str]) -> float:
        """The smallest correlation of two pooled comparisons."""
        base = 1.0 / len(self.values[self.reference])
        return min(base / (base + 1.0 / len(self.values[name])) for name in variants)


def _pooled(found: Sequence[Variance]) -> Variance:
    df = math.fsum(item.df for item in found)
    return Variance(math.fsum(item.df * item.value for item in found) / df, df)
