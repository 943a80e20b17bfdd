"""Variants that share no seed with the reference: group means beside each other, nothing paired.

The tests of ``unequal.py`` say which noise is equal, here over the groups' variances. Where they do not
differ one variance is pooled and the comparisons are Dunnett's (1955), as in a one-way analysis of
variance: with 8 variants and 3 seeds it has 18 degrees of freedom where each Welch test has about 4. Where
the reference is noisier its variance stands beside the variants' pooled one; where the variants differ
among themselves all are drawn together by empirical Bayes. A variant that is far noisier than the others is
in nobody's pool, and is not drawn to theirs: it counts with its own. A difference of means then has the sum
of two variances (Welch, with Satterthwaite's degrees of freedom). A group has one value a seed: runs of one
seed share its luck and count as their mean, which has another variance, so that beside a reference that ran
several times a seed every group has only its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis import unequal
from sweepkit.analysis.unequal import Variance

#: Of all F tests of a rung together; chosen in simulation, as the levels of ``unequal.py`` were.
WILD_LEVEL = 0.01


@dataclass(frozen=True)
class Groups:
    """Values a seed of every variant, and the variance of each.

    Attributes:
        variances: variant → that of one value; a group that tells none of its own may be missing.
        is_equal: whether it is one variance for all.
    """

    values: Mapping[str, Sequence[float]]
    reference: str
    variances: Mapping[str, Variance]
    is_equal: bool

    @classmethod
    def of(cls, values: Mapping[str, Sequence[float]], reference: str, is_repeated: bool) -> Groups:
        """Pooled as far as they allow; ``is_repeated``: the reference's values are means of several runs."""
        own = {
            name: Variance(float(np.var(group, ddof=1)), len(group) - 1.0)
            for name, group in values.items()
            if len(group) > 1
        }
        if is_repeated or not any(item.value > 0.0 for item in own.values()):
            return cls(values, reference, own, is_equal=False)
        theirs = {name: item for name, item in own.items() if name != reference}
        asked = list((theirs if len(theirs) > 1 else own).values())
        wild = _too_noisy(theirs)
        if len(asked) > 1 and unequal.bartlett_p(asked) < unequal.VARIANTS_LEVEL:
            found = unequal.moderated(own, reference) if len(theirs) > 2 else own
            return cls(values, reference, dict(found) | wild, is_equal=False)
        calm = [item for name, item in theirs.items() if name not in wild]
        if len(calm) > 1 and reference in own and (common := _pooled(calm)).value > 0.0:
            mine = own[reference]
            if unequal.f_test_p(mine, common) < unequal.REFERENCE_LEVEL:
                found = dict.fromkeys(values, common) | {reference: unequal.drawn(mine, common)}
                return cls(values, reference, found | wild, is_equal=False)
        common = _pooled([item for name, item in own.items() if name not in wild])
        return cls(values, reference, dict.fromkeys(values, common) | wild, is_equal=not wild)

    def error(self, variant: str) -> Variance | None:
        """Variance of the difference of two means; None where the spread is not known."""
        found = [(self.variances.get(name), len(self.values[name])) for name in (variant, self.reference)]
        parts = [(one.value / count, one.df) for one, count in found if one is not None]
        total = math.fsum(part for part, _ in parts)
        if len(parts) < len(found) or total == 0.0:
            return None
        if found[0][0] is found[1][0]:  # one estimate, which does not count twice
            return Variance(total, parts[0][1])
        return Variance(total, total**2 / sum(part**2 / df for part, df in parts))

    def difference(self, variant: str) -> float:
        """Of the means, variant minus reference."""
        mine, base = self.values[variant], self.values[self.reference]
        return math.fsum(mine) / len(mine) - math.fsum(base) / len(base)

    def rho(self, variants: Sequence[str]) -> float:
        """The smallest correlation of two pooled comparisons."""
        base = 1.0 / len(self.values[self.reference])
        return min(base / (base + 1.0 / len(self.values[name])) for name in variants)


def _too_noisy(theirs: Mapping[str, Variance]) -> dict[str, Variance]:
    """Variants whose variance is too large beside the others' pooled, the worst first, while two are left.

    By F tests at ``WILD_LEVEL``, Bonferroni over variants.
    """
    calm, wild = dict(theirs), dict[str, Variance]()
    while len(calm) > 2:
        rest = {name: _pooled([calm[other] for other in calm if other != name]) for name in calm}
        p = {name: unequal.f_test_p(calm[name], rest[name]) for name in calm if rest[name].value > 0.0}
        worst = min(p, key=lambda name: p[name], default="")
        if not p or p[worst] > WILD_LEVEL / len(calm):
            break
        wild[worst] = calm.pop(worst)
    return wild


def _pooled(found: Sequence[Variance]) -> Variance:
    df = math.fsum(item.df for item in found)
    return Variance(math.fsum(item.df * item.value for item in found) / df, df)
