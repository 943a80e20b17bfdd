"""Scores beside the metric: against scipy's paired test, and right about where the margin lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_frames import runs
from scipy import stats

from sweepkit.analysis.axes import Status
from sweepkit.analysis.scores import scores


def frame(effects: dict[str, float], seeds: int, noise: float = 0.006, seed: int = 0) -> pd.DataFrame:
    """Runs with a score: higher is better, effects are added to it."""
    rows = runs(dict.fromkeys(effects, 0.0), seeds).assign(state="complete")
    rng = np.random.default_rng(seed)
    shift = rows["variant"].map(effects | {"reference": 0.0}).astype(float)
    return rows.assign(core=0.25 + shift + rng.normal(0.0, noise, len(rows)))


def of(rows: pd.DataFrame, variant: str) -> np.ndarray:
    return rows.loc[rows["variant"] == variant, "core"].to_numpy(dtype=float)


@pytest.mark.parametrize("effect", [-0.05, 0.0, 0.02])
def test_one_variant_is_scipys_paired_test_against_the_margin(effect: float) -> None:
    rows = frame({"a": effect}, seeds=6)
    found = scores(rows, "core", margin=0.01, alpha=0.05)["a"]
    expected = stats.ttest_rel(of(rows, "a") + 0.01, of(rows, "reference"), alternative="greater")
    assert found.p == pytest.approx(expected.pvalue)
    two_sided = stats.ttest_rel(of(rows, "a"), of(rows, "reference")).confidence_interval(0.9)
    assert (found.low, found.high) == (pytest.approx(two_sided.low), pytest.approx(two_sided.high))
    assert found.difference == pytest.approx((of(rows, "a") - of(rows, "reference")).mean())
    assert found.status is (Status.met if effect >= 0.0 else Status.failed)


def test_in_between_nothing_is_said_against_it() -> None:
    found = scores(frame({"a": -0.01}, seeds=5), "core", margin=0.01, alpha=0.05)["a"]
    assert found.status is Status.unresolved and "nor beyond it" in found.sentence


def test_what_was_not_recorded_or_cannot_be_measured_decides_nothing() -> None:
    rows = frame({"a": -0.5}, seeds=5)
    absent = scores(rows, "absent", 0.01, 0.05)["a"]
    assert absent.sentence == "absent was not recorded by enough runs: not checked"
    few = scores(rows[rows["seed"] <= 2], "core", 0.01, 0.05)["a"]
    assert few.status is Status.unresolved and "noise is not measured" in few.sentence
    lost = rows.assign(state=["complete" if name == "reference" else "failed" for name in rows["variant"]])
    assert scores(lost, "core", 0.01, 0.05)["a"].difference is None


@pytest.mark.slow
def test_a_variant_at_the_margin_is_refused_as_seldom_as_alpha_says() -> None:
    alpha, worlds = 0.1, 300
    frames = (frame({"a": -0.01}, 5, seed=seed) for seed in range(worlds))
    found = [scores(rows, "core", 0.01, alpha)["a"].status for rows in frames]
    for status in (Status.failed, Status.met):
        low, high = stats.binom.interval(0.999, worlds, alpha)
        assert low <= found.count(status) <= high
