"""Divergence as a rate: how often a variant's runs blow up, beside how often the reference's do.

A diverged run has no final loss, so it cannot enter a mean; leaving it out would flatter an unstable
variant. It is counted instead: k of n runs, with Jeffreys' prior on either rate. A variant counts as less
stable when it has diverged and its rate is more likely above the reference's than below.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

_PRIOR = 0.5  # Jeffreys
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Divergence:
    """Diverged runs among those that ended by the variant's own doing (complete or diverged)."""

    diverged: int
    runs: int
    reference_diverged: int
    reference_runs: int

    @property
    def probability_worse(self) -> float:
        """Posterior probability that the variant diverges more often than the reference."""
        reference_rates = special.betaincinv(
            _PRIOR + self.reference_diverged,
            _PRIOR + self.reference_runs - self.reference_diverged,
            (_NODES + 1.0) / 2.0,
        )
        above = special.betaincc(_PRIOR + self.diverged, _PRIOR + self.runs - self.diverged, reference_rates)
        return float(_WEIGHTS @ above / 2.0)

    @property
    def is_less_stable(self) -> bool:
        return self.diverged > 0 and self.probability_worse > 0.5 + 1e-9

    def interval(self, confidence: float) -> tuple[float, float]:
        """Interval of the variant's rate, by quantiles of the posterior."""
        tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
        low, high = special.betaincinv(_PRIOR + self.diverged, _PRIOR + self.runs - self.diverged, tails)
        return (
            0.0 if self.diverged == 0 else float(low),
            1.0 if self.diverged == self.runs else float(high),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"probability_worse": self.probability_worse}
