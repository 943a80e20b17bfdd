"""What a comparison could have seen: the smallest effect it finds with good chance, and the seeds for one.

One-sided t tests at level alpha with noncentral t power (exact under normal noise). An inconclusive verdict
quotes both, so that "not shown" is never read as "not there".
"""

from __future__ import annotations

import math

from scipy import optimize, special

POWER = 0.8
MAX_SEEDS = 200


def power(effect: float, standard_error: float, df: float, alpha: float) -> float:
    """Chance that a true improvement of size ``effect`` > 0 gives a one-sided p of at most ``alpha``."""
    critical = -float(special.stdtrit(df, alpha))
    chance = 1.0 - float(special.nctdtr(df, effect / standard_error, critical))
    # far out scipy knows no number; there the noise's own error hardly matters
    return float(special.ndtr(effect / standard_error - critical)) if math.isnan(chance) else chance


def minimum_detectable_effect(standard_error: float, df: float, alpha: float, chance: float = POWER) -> float:
    """The true effect (in the standard error's unit) that is shown with probability ``chance``."""
    low, high = 0.0, 4.0
    while power(high, 1.0, df, alpha) < chance:
        high *= 2.0
    root = optimize.brentq(lambda size: power(size, 1.0, df, alpha) - chance, low, high, xtol=1e-6)
    return float(root) * standard_error


def seeds_needed(
    noise_sd: float,
    effect: float,
    num_variants: int,
    alpha: float,
    chance: float = POWER,
    variance_ratio: float = 2.0,
) -> int | None:
    """Seeds each of the reference and ``num_variants`` variants need to show ``effect``.

    Args:
        noise_sd: standard deviation of one run after variant and seed are taken out, > 0.
        effect: true improvement, > 0, in the same unit.
        num_variants: variants on the rung; the strictest Holm step is alpha / num_variants.
        alpha: family-wise level.
        chance: wanted power.
        variance_ratio: of an estimate by one seed to that of one run: 2, or 1 + 1/m with m runs of the
            reference a seed.

    Returns:
        The number of seeds, or None when it would be more than ``MAX_SEEDS``.
    """

    def enough(n: int) -> bool:
        error, df = noise_sd * math.sqrt(variance_ratio / n), num_variants * (n - 1)
        return power(effect, error, df, alpha / num_variants) >= chance

    if not enough(MAX_SEEDS):
        return None
    low, high = 1, MAX_SEEDS  # enough(high) and, as far as anything with one seed is, not enough(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
