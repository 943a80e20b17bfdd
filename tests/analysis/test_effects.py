"""Effects against scipy's t tests, Holm against its definition, error rates against simulated truth."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_frames import runs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweepkit.analysis.effects import Effect, effects
from sweepkit.analysis.multiplicity import holm


def values(frame: pd.DataFrame, variant: str) -> np.ndarray:
    return frame.loc[frame["variant"] == variant, "val_bpb"].to_numpy(dtype=float)


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_one_variant_is_scipys_paired_t_test(seeds: int) -> None:
    frame = runs({"a": -0.003}, seeds)
    (found,) = effects(frame, "val_bpb", alpha=0.1)
    expected = stats.ttest_rel(values(frame, "a"), values(frame, "reference"), alternative="less")
    two_sided = stats.ttest_rel(values(frame, "a"), values(frame, "reference"))
    interval = two_sided.confidence_interval(0.8)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (found.n, found.df, found.method) == (seeds, seeds - 1, "pooled")


def test_several_variants_share_one_noise() -> None:
    frame = runs({"a": -0.003, "b": 0.01, "c": 0.0}, seeds=4)
    found = effects(frame, "val_bpb", alpha=0.05)
    y = np.stack([values(frame, name) for name in ("reference", "a", "b", "c")])
    residual = y - y.mean(1, keepdims=True) - y.mean(0, keepdims=True) + y.mean()
    error = math.sqrt((residual**2).sum() / 9 * 2 / 4)
    for index, effect in enumerate(found, start=1):
        assert effect.effect == pytest.approx((y[index] - y[0]).mean())
        assert effect.standard_error == pytest.approx(error)
        assert effect.p == pytest.approx(stats.t.cdf(effect.effect / error, 9))
        assert effect.df == 9


@pytest.mark.parametrize("is_wild", [False, True])
def test_other_tokens_make_it_a_t_test_of_means_and_welchs_where_noise_differs(is_wild: bool) -> None:
    frame = runs({"a": -0.003, "b": 0.0}, seeds=5)
    other = frame["variant"] == "a"
    frame.loc[other, "pair_key"] = "other-" + frame.loc[other, "pair_key"]
    if is_wild:
        frame.loc[other, "val_bpb"] += np.array([-1.0, 1.0, 0.5, -0.5, 0.0])
    a, b = effects(frame, "val_bpb", alpha=0.1)
    expected = stats.ttest_ind(
        values(frame, "a"), values(frame, "reference"), equal_var=not is_wild, alternative="less"
    )
    assert (a.method, a.p) == ("Welch" if is_wild else "one-way", pytest.approx(expected.pvalue))
    assert a.df == pytest.approx(expected.df)
    alone = effects(frame[~other], "val_bpb", alpha=0.1)[0]
    assert (b.method, b.p) == ("pooled", pytest.approx(alone.p))


def test_a_lost_run_costs_its_pair_and_nothing_else() -> None:
    frame = runs({"a": -0.003, "b": 0.0}, seeds=3)
    frame.loc[(frame["variant"] == "a") & (frame["seed"] == 1), "val_bpb"] = pd.NA
    a, b = effects(frame, "val_bpb", alpha=0.1)
    assert (a.n, b.n) == (2, 3)
    assert a.df == b.df == 3
    assert a.standard_error is not None and b.standard_error is not None
    assert a.standard_error > b.standard_error


def test_a_variant_that_lost_its_pairs_is_still_paired_through_the_others() -> None:
    frame = runs({"a": -0.05, "b": 0.0}, seeds=4, luck=1.0)
    lost = ((frame["variant"] == "a") & (frame["seed"] <= 2)) | (
        (frame["variant"] == "reference") & (frame["seed"] > 2)
    )
    frame.loc[lost, "val_bpb"] = pd.NA
    a = effects(frame, "val_bpb", alpha=0.1)[0]
    assert (a.n, a.method) == (0, "pooled")
    assert a.effect == pytest.approx(-0.05, abs=0.02)


def test_one_seed_gives_an_estimate_and_no_verdict() -> None:
    (found,) = effects(runs({"a": -0.003}, seeds=1), "val_bpb", alpha=0.1)
    assert found.effect is not None
    assert (found.standard_error, found.p, found.low, found.high) == (None, None, None, None)
    assert found.p_below(0.0) is None
    assert found.p_above(0.0) is None


def test_a_variant_without_a_complete_run_has_no_effect() -> None:
    frame = runs({"a": 0.0, "b": 0.0})
    frame.loc[frame["variant"] == "a", "val_bpb"] = pd.NA
    assert effects(frame, "val_bpb", alpha=0.1)[0] == replace(Effect.unknown("a", 0.8), seeds=3)


def test_shared_luck_cancels() -> None:
    calm = effects(runs({"a": -0.003}, seeds=5, luck=0.0), "val_bpb", 0.1)[0]
    lucky = effects(runs({"a": -0.003}, seeds=5, luck=5.0), "val_bpb", 0.1)[0]
    assert calm.standard_error is not None and lucky.standard_error is not None
    assert lucky.standard_error < 10 * calm.standard_error


def test_the_interval_excludes_zero_exactly_when_p_is_at_most_alpha() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        for found in effects(runs({"a": -0.002, "b": 0.0}, rng=rng), "val_bpb", alpha=0.05):
            assert found.high is not None and found.p is not None
            assert (found.high < 0.0) == (found.p < 0.05)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@settings(max_examples=200)
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    """Adjusted p of one hypothesis: the largest Bonferroni p over all subsets that contain it."""
    everything = range(len(p_values))
    expected = [
        max(
            min(1.0, len(subset) * min(p_values[i] for i in subset))
            for size in range(1, len(p_values) + 1)
            for subset in itertools.combinations(everything, size)
            if index in subset
        )
        for index in everything
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_of_a_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def null_frames(worlds: int, seed: int, drop: float) -> list[list[Effect]]:
    """Effects of made-up worlds without any, with runs missing at random."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(worlds):
        frame = runs({"a": 0.0, "b": 0.0, "c": 0.0}, seeds=4, rng=rng)
        lost = pd.Series(rng.random(len(frame)) < drop)
        frame["val_bpb"] = frame["val_bpb"].mask(lost)
        found.append(effects(frame, "val_bpb", alpha=0.1))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("drop", [0.0, 0.15])
def test_p_is_uniform_and_intervals_cover_when_nothing_is_true(drop: float) -> None:
    worlds = 250
    first = [found[0] for found in null_frames(worlds, seed=5, drop=drop)]
    measured = [effect for effect in first if effect.p is not None]
    assert len(measured) > 0.9 * worlds
    assert stats.kstest([effect.p for effect in measured], "uniform").pvalue > 0.001
    covered = sum(e.low < 0.0 < e.high for e in measured if e.low is not None and e.high is not None)
    assert stats.binomtest(covered, len(measured), 0.8).pvalue > 0.001


@pytest.mark.slow
def test_holm_keeps_the_family_wise_error_rate() -> None:
    found = null_frames(250, seed=6, drop=0.0)
    wrong = sum(min(holm([e.p for e in world if e.p is not None])) <= 0.1 for world in found)
    assert stats.binomtest(wrong, len(found), 0.1, alternative="greater").pvalue > 0.001
    assert wrong > 0.04 * len(found), "so few that power is being given away"
