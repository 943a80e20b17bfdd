"""Retention by Fieller's theorem against its definition, and the words for flips."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis.effects import Effect
from sweepkit.analysis.transfer import retention, story


def effect(
    value: float | None, error: float | None = 0.001, df: float = 8, confidence: float = 0.9
) -> Effect:
    if value is None or error is None:
        return Effect("a", 3, value, None, 0, None, None, confidence, None, None, "pooled")
    half = stats.t.ppf(0.5 + confidence / 2, df) * error
    p = stats.t.cdf(value / error, df)
    return Effect("a", 3, value, error, df, value - half, value + half, confidence, p, error, "pooled")


def test_the_interval_holds_exactly_the_ratios_that_a_t_test_does_not_reject() -> None:
    before, after = effect(-0.010, 0.002), effect(-0.004, 0.0015)
    found = retention(before, after)
    assert found is not None
    ratio, low, high = found
    assert ratio == pytest.approx(0.4)
    quantile = stats.t.ppf(0.95, 8)
    for end in (low, high):
        statistic = (-0.004 - end * -0.010) / math.hypot(0.0015, end * 0.002)
        assert abs(statistic) == pytest.approx(quantile)
    assert low < ratio < high


def test_the_interval_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(8)
    worlds, covered = 800, 0
    for _ in range(worlds):
        before, after = (effect(rng.normal(true, 0.001), 0.001, df=1e6) for true in (-0.006, -0.003))
        found = retention(before, after)
        covered += found is not None and found[1] <= 0.5 <= found[2]
    assert stats.binomtest(covered, worlds, 0.9).pvalue > 0.001


def test_nothing_is_retained_of_an_effect_that_may_be_zero() -> None:
    assert retention(effect(-0.0005), effect(-0.004)) is None
    assert retention(effect(-0.01, None), effect(-0.004)) is None
    assert retention(effect(-0.01), effect(None)) is None


def test_a_story_says_what_changed() -> None:
    rows = story(
        [
            ("d2", 2, effect(-0.01)),
            ("d4", 4, effect(-0.004)),
            ("d6", 6, effect(0.006)),
            ("d8", 8, effect(-0.0001)),
            ("d10", 10, effect(-0.002)),
            ("d12", 12, effect(None)),
        ]
    )
    notes = [row.note for row in rows]
    assert notes[0] == ""
    assert notes[1].startswith("keeps 40% of the effect at d2")
    assert notes[2] == "sign flip against d4: shown on both rungs"
    assert notes[3] == "sign flip against d6: not shown, an interval includes zero"
    assert notes[4] == "no retention: the effect at d8 is not distinguishable from zero"
    assert notes[5] == "not measured on both rungs"
    assert rows[1].retention == pytest.approx(0.4)
    assert [row.depth for row in rows] == [2, 4, 6, 8, 10, 12]


def test_unknown_noise_is_not_an_effect_near_zero() -> None:
    """Single runs have no interval; what is missing is the noise, and where."""
    steps = [("d2", 2, effect(-0.01, None)), ("d4", 4, effect(-0.01)), ("d6", 6, effect(0.01, None))]
    rows = story(steps)
    assert rows[1].note == "no retention: the noise at d2 is not known"
    assert rows[2].note == "sign flip against d4: not shown, the noise at d6 is not known"
    assert story([steps[0], ("d6", 6, effect(-0.01, None))])[1].note.endswith(
        "the noise at d2 and d6 is not known"
    )
