"""Power against simulation and against its own inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis import power


def test_power_is_the_simulated_chance() -> None:
    rng = np.random.default_rng(9)
    n, effect = 6, 1.2
    differences = rng.normal(-effect, math.sqrt(2.0), (4000, n))
    p = stats.ttest_1samp(differences, 0.0, axis=1, alternative="less").pvalue
    simulated = int((p <= 0.05).sum())
    expected = power.power(effect, math.sqrt(2.0 / n), n - 1, 0.05)
    assert stats.binomtest(simulated, len(p), expected).pvalue > 0.001


def test_without_an_effect_power_is_alpha() -> None:
    assert power.power(0.0, 0.3, 8, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(("df", "alpha"), [(2, 0.1), (8, 0.0125), (40, 0.05), (3, 0.0001)])
def test_the_detectable_effect_has_the_wanted_power(df: int, alpha: float) -> None:
    effect = power.minimum_detectable_effect(0.002, df, alpha)
    assert power.power(effect, 0.002, df, alpha) == pytest.approx(power.POWER, abs=1e-4)


def test_the_seeds_needed_are_just_enough() -> None:
    needed = power.seeds_needed(noise_sd=0.002, effect=0.003, num_variants=4, alpha=0.05)
    assert needed is not None and needed > 2

    def chance(n: int) -> float:
        return power.power(0.003, 0.002 * math.sqrt(2 / n), 4 * (n - 1), 0.05 / 4)

    assert chance(needed) >= power.POWER > chance(needed - 1)


def test_too_many_seeds_are_not_named() -> None:
    assert power.seeds_needed(noise_sd=0.01, effect=0.0001, num_variants=4, alpha=0.05) is None
