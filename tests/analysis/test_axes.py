"""Cost axes: what is exact, what follows from the plans, what is shown and what is left open."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from analysis_frames import runs

from sweepkit.analysis import axes, step_time
from sweepkit.analysis.axes import Status
from sweepkit.analysis.effects import effects
from sweepkit.sweep.decision import NOT_WORSE, SUPERIOR


def timed(ratio: float, spread: float = 0.001, compile_key: str = "another program") -> pd.DataFrame:
    """Variant ``a`` takes ``ratio`` × the reference's step time; ``spread`` is the SD of its logarithm."""
    rng = np.random.default_rng(7)
    frame = runs({"a": 0.0, "b": 0.0}, seeds=4)
    times = [
        0.1 * (ratio if variant == "a" else 1.0) * math.exp(rng.normal(0.0, spread))
        for variant in frame["variant"]
    ]
    frame["median_step_time_s"] = times
    frame.loc[frame["variant"] == "a", "compile_key"] = compile_key
    # seed by seed, one run after the other: a clock without times is not believed so far
    order = frame.sort_values("seed", kind="stable").index
    start = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(range(len(frame)), unit="min")
    frame.loc[order, "started_at"] = start
    frame.loc[order, "ended_at"] = start + pd.Timedelta(seconds=58)
    return frame


@pytest.mark.parametrize(
    ("ratio", "spread", "status"),
    [
        (1.0, 0.001, Status.met),
        (0.8, 0.001, Status.met),
        (1.015, 0.001, Status.met),
        (1.2, 0.001, Status.failed),
        (1.0, 0.2, Status.unresolved),
        (1.05, 0.2, Status.unresolved),
    ],
)
def test_wall_clock_has_to_be_shown_either_way(ratio: float, spread: float, status: Status) -> None:
    found = axes.wall_clock(timed(ratio, spread), NOT_WORSE, 0.02, alpha=0.05)["a"]
    assert found.status is status
    assert not found.by_construction
    assert found.low is not None and found.ratio is not None and found.high is not None
    assert found.low < found.ratio < found.high
    assert f"{found.ratio:.3f}" in found.sentence


def test_wall_clock_is_shown_by_the_log_ratio_of_step_times() -> None:
    """Non-inferiority: the log ratio against the margin, at alpha, agrees with the interval."""
    frame = timed(1.0, 0.01).query("variant != 'b'")
    found = axes.wall_clock(frame, NOT_WORSE, 0.02, alpha=0.05)["a"]
    expected = step_time.compare(frame, "a", 0.05).effect
    assert found.p == pytest.approx(expected.p_below(math.log(1.02)))
    assert expected.effect is not None and found.ratio == pytest.approx(math.exp(expected.effect))
    assert found.high is not None
    assert (found.status is Status.met) == (found.high < 1.02)


def test_steps_count_in_the_wall_clock() -> None:
    frame = timed(1.0)
    frame.loc[frame["variant"] == "a", "num_steps"] = 200
    found = axes.wall_clock(frame, NOT_WORSE, 0.02, alpha=0.05)["a"]
    assert found.status is Status.failed
    assert found.ratio == pytest.approx(2.0, rel=0.01)


def test_the_same_program_for_as_many_steps_needs_no_clock() -> None:
    frame = timed(1.0, 0.2, compile_key="program")
    found = axes.wall_clock(frame, NOT_WORSE, 0.02, alpha=0.05)["a"]
    assert (found.status, found.p, found.by_construction) == (Status.met, 0.0, True)
    assert "by construction" in found.sentence
    assert "measured ratio" in found.sentence
    assert axes.wall_clock(frame, SUPERIOR, 0.0, alpha=0.05)["a"].status is Status.failed


@pytest.mark.parametrize("column", ["compile_key", "pair_key", "num_steps"])
def test_without_evidence_of_equal_work_the_clock_decides(column: str) -> None:
    frame = timed(1.0, 0.2, compile_key="program")
    frame[column] = pd.NA if column != "num_steps" else 100
    if column == "num_steps":
        frame.loc[frame["variant"] == "a", column] = 101
    assert not axes.wall_clock(frame, NOT_WORSE, 0.02, alpha=0.05)["a"].by_construction


def test_clocks_of_different_hardware_are_not_compared() -> None:
    frame = timed(0.5)
    frame.loc[frame["variant"] == "a", "hardware"] = "another processor"
    found = axes.wall_clock(frame, NOT_WORSE, 0.02, alpha=0.05)["a"]
    assert found.status is Status.unresolved
    assert "hardware another processor against the reference's processor" in found.sentence


def test_a_table_without_times_leaves_the_wall_clock_open() -> None:
    frame = timed(1.0).drop(columns=["median_step_time_s"])
    found = axes.wall_clock(frame, NOT_WORSE, 0.02, alpha=0.05)["a"]
    assert (found.status, found.ratio) == (Status.unresolved, None)
    assert "not measured" in found.sentence


@pytest.mark.parametrize(
    ("ratio", "demand", "status"),
    [
        (1.0, NOT_WORSE, Status.met),
        (1.02, NOT_WORSE, Status.met),
        (1.03, NOT_WORSE, Status.failed),
        (1.0, SUPERIOR, Status.failed),
        (0.9, SUPERIOR, Status.met),
    ],
)
def test_flops_are_exact(ratio: float, demand: str, status: Status) -> None:
    frame = runs({"a": 0.0})
    frame["total_flops"] = [1e15 * (ratio if name == "a" else 1.0) for name in frame["variant"]]
    found = axes.flops(frame, demand, 0.02)["a"]
    assert (found.status, found.ratio) == (status, pytest.approx(ratio))


def test_missing_flops_are_open_and_not_zero() -> None:
    found = axes.flops(runs({"a": 0.0}).drop(columns=["total_flops"]), NOT_WORSE, 0.02)["a"]
    assert (found.status, found.ratio) == (Status.unresolved, None)


def test_steps_may_be_asked_not_to_be_worse() -> None:
    frame = runs({"good": -0.03, "same": 0.0, "bad": 0.5}, seeds=5)
    found = effects(frame, "val_bpb", alpha=0.05)
    asked = axes.steps(found, NOT_WORSE, 0.01, alpha=0.05, reference_mean=2.0)  # 0.02 bpb
    assert [asked[name].status for name in ("good", "same", "bad")] == [
        Status.met,
        Status.met,
        Status.failed,
    ]
    superior = axes.steps(found, SUPERIOR, 0.0, alpha=0.05, reference_mean=2.0)
    assert [superior[name].status for name in ("good", "bad")] == [Status.met, Status.failed]
