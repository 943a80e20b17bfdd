"""Divergence as a rate: how often a variant's runs blow up, beside how often the reference's do.

A diverged run has no final loss, so it cannot enter a mean; leaving it out would flatter an unstable
variant, for what is left are its lucky runs. It is counted instead: k of n runs. A variant is shown to be
less stable by Boschloo's exact test (Boschloo 1970), which keeps α whatever the rates are; one that diverged
more often than the reference without that being shown is not rejected for it, and not promoted either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from scipy import special, stats

_PRIOR = 0.5  # Jeffreys, for the interval of a rate


@dataclass(frozen=True)
class Divergence:
    """Diverged runs among those that ended by the variant's own doing (complete or diverged)."""

    diverged: int
    runs: int
    reference_diverged: int
    reference_runs: int

    @property
    def is_more(self) -> bool:
        """Whether a larger share of the variant's runs diverged than of the reference's."""
        return self.diverged * self.reference_runs > self.reference_diverged * self.runs

    @property
    def p(self) -> float:
        """One-sided, of "the variant diverges no more often than the reference"."""
        if not self.is_more:
            return 1.0
        return _boschloo(self.diverged, self.runs, self.reference_diverged, self.reference_runs)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Interval of the variant's rate, by quantiles of the posterior."""
        tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
        low, high = special.betaincinv(_PRIOR + self.diverged, _PRIOR + self.runs - self.diverged, tails)
        return (
            0.0 if self.diverged == 0 else float(low),
            1.0 if self.diverged == self.runs else float(high),
        )


@lru_cache(maxsize=4096)
def _boschloo(diverged: int, runs: int, reference_diverged: int, reference_runs: int) -> float:
    table = [[diverged, reference_diverged], [runs - diverged, reference_runs - reference_diverged]]
    return float(stats.boschloo_exact(table, alternative="greater").pvalue)
