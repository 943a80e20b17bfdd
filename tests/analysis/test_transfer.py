"""Retention by Fieller's theorem against its definition, and the words for flips."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis.effects import Effect
from sweepkit.analysis.shrinkage import shrink
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
            ("d2", 2, effect(-0.01), False),
            ("d4", 4, effect(-0.004), False),
            ("d6", 6, effect(0.006), False),
            ("d8", 8, effect(-0.0001), False),
            ("d10", 10, effect(-0.002), False),
            ("d12", 12, effect(None), False),
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
    steps = [
        ("d2", 2, effect(-0.01, None), False),
        ("d4", 4, effect(-0.01), False),
        ("d6", 6, effect(0.01, None), False),
    ]
    rows = story(steps)
    assert rows[1].note == "no retention: the noise at d2 is not known"
    assert rows[2].note == "sign flip against d4: not shown, the noise at d6 is not known"
    assert story([steps[0], ("d6", 6, effect(-0.01, None), False)])[1].note.endswith(
        "the noise at d2 and d6 is not known"
    )


def test_what_was_picked_is_held_against_its_shrunken_estimate() -> None:
    """Ten variants with a true retention of 0.6: the best seem to keep 30%; intervals hold."""
    rng = np.random.default_rng(0)
    plain, held, covered = [], [], []
    for _ in range(400):
        truth = rng.normal(0.0, 1.0, 10)
        seen, above = truth + rng.normal(0.0, 1.0, 10), 0.6 * truth + rng.normal(0.0, 0.5, 10)
        shrunk = shrink(seen[None], np.ones((1, 10)))[0]
        for place in np.argsort(seen)[:3]:
            before = replace(effect(seen[place], 1.0, 1e6), shrunk=float(shrunk[place]))
            after = effect(above[place], 0.5, 1e6)
            raw, found = retention(before, after), retention(before, after, is_picked=True)
            if raw is None or found is None:
                continue
            plain.append(raw[0])
            held.append(found[0])
            _, low, high = found
            covered.append(low is None or high is None or low <= 0.6 <= high)
    assert np.median(plain) < 0.4
    assert np.median(held) == pytest.approx(0.6, abs=0.1)
    assert np.mean(covered) > 0.87
    rows = story(
        [("d2", 2, replace(effect(-0.010, 0.001), shrunk=-0.009), True), ("d4", 4, effect(-0.006), False)]
    )
    assert rows[1].note.startswith("keeps 67% of its shrunken effect at d2 (90% interval")
    assert "60% of what was measured there, for which it was picked" in rows[1].note
