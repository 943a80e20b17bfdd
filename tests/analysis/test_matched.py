"""The frontier: FP8's published shape, held-out seeds at 1, coverage, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from sample import is_full
from sweepkit.analysis import frontier, gaps, noise
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.effects import effects
from sweepkit.analysis.matched import Matched, matched
from sweepkit.sweep.decision import DecisionRule

HORIZONS = {"reference@0.5x": 0.5, "reference": 1.0, "reference@2x": 2.0}


def loss(steps: float, floor: float = 0.0) -> float:
    """A scaling law: bits per byte at ``steps`` (1000 is the planned horizon)."""
    return floor + (0.8 - floor) * (steps / 1000.0) ** -0.06


def runs(
    rng: np.random.Generator,
    variants: dict[str, tuple[float, float]],
    *,
    seeds: int = 4,
    noise: float = 0.0003,
    timing: float = 0.003,
    floor: float = 0.0,
    first_seed: int = 1,
    paired: bool = True,
) -> pd.DataFrame:
    """Runs of the reference's horizons and of variants: name → (reference steps it is worth, step time)."""
    luck = rng.normal(0.0, 0.002, seeds)
    rows: list[dict[str, Any]] = []

    def add(name: str, steps: float, value: float, time: float, start: int, shared: Any) -> None:
        for index in range(seeds):
            seed = start + index
            rows.append(
                {
                    "run_id": f"{name}-{seed}",
                    "variant": name,
                    "seed": seed,
                    "pair_key": f"order-{seed}",
                    "compile_key": name.partition("@")[0],
                    "num_steps": steps,
                    "val_bpb": value + shared[index] + rng.normal(0.0, noise),
                    "median_step_time_s": time * math.exp(rng.normal(0.0, timing)),
                    "total_flops": 1e12 * steps,
                }
            )

    for name, share in HORIZONS.items():
        add(name, 1000 * share, loss(1000 * share, floor), 1.0, first_seed, luck)
    for name, (worth, time) in variants.items():
        start, shared = (first_seed, luck) if paired else (first_seed + 100, rng.normal(0.0, 0.002, seeds))
        add(name, 1000, loss(worth, floor), time, start, shared)
    frame = pd.DataFrame(rows)
    order = frame.assign(place=frame.groupby("variant").cumcount()).sort_values("place", kind="stable").index
    begun = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(range(len(frame)), unit="min")
    frame.loc[order, "started_at"] = begun  # seed by seed, one run after the other
    frame.loc[order, "ended_at"] = begun + pd.Timedelta(seconds=58)
    return frame


def of(found: list[Matched], variant: str) -> dict[str, Matched]:
    return {item.axis: item for item in found if item.variant == variant}


def test_fp8_as_published() -> None:
    """Throughput 1.17×, slightly worse per step, about 1.05× once capability is matched."""
    worth = 1000 * 1.05 / 1.17
    found = of(matched(runs(np.random.default_rng(0), {"fp8": (worth, 1 / 1.17)}), "val_bpb", 0.05), "fp8")
    assert found["steps"].effect is not None and found["steps"].effect > 0  # worse per step
    assert found["steps"].speedup == pytest.approx(1.05 / 1.17, rel=0.01)
    wall = found["wall_clock"]
    assert 1 / wall.cost_ratio == pytest.approx(1.17, rel=0.01)
    assert wall.speedup == pytest.approx(1.05, rel=0.015)
    assert wall.speedup_low is not None and wall.speedup_high is not None
    assert wall.speedup_low < 1.05 < wall.speedup_high
    assert wall.speedup_high - wall.speedup_low < 0.05
    assert wall.effect is not None and wall.effect < 0  # better at equal time
    # FLOPs of FP8 are counted as they are: the same, so there it only loses
    assert found["flops"].speedup == pytest.approx(found["steps"].speedup)


def test_without_noise_the_closed_form_comes_out() -> None:
    """On a power law the line is exact: effect and speed-up are those of the formula."""
    table = runs(np.random.default_rng(1), {"twice": (1300.0, 1.25)}, noise=1e-9, timing=0.0)
    found = of(matched(table, "val_bpb", 0.05), "twice")
    assert found["steps"].speedup == pytest.approx(1.3, rel=1e-4)
    assert found["wall_clock"].speedup == pytest.approx(1.3 / 1.25, rel=1e-4)
    assert found["wall_clock"].effect == pytest.approx(loss(1300) - loss(1250), rel=1e-2)
    assert found["steps"].effect == pytest.approx(loss(1300) - loss(1000), rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_held_out_seeds_of_the_reference_come_out_at_one(paired: bool) -> None:
    """With an irreducible loss, so that the curve is no power law; unpaired: seeds that nobody else has."""
    logs, hits, total = [], 0, 150 if is_full() else 60
    for world in range(total):
        rng = np.random.default_rng([2, world])
        table = runs(rng, {"again": (1000.0, 1.0)}, floor=0.6, paired=paired)
        item = of(matched(table, "val_bpb", 0.05), "again")["wall_clock"]
        if item.speedup is not None:
            logs.append(math.log(item.speedup))
        low, high = item.speedup_low or 0.0, item.speedup_high or math.inf
        hits += low <= 1.0 <= high
    error = float(np.std(logs)) / math.sqrt(len(logs))
    assert abs(float(np.mean(logs))) < 4 * error + 1e-3
    assert hits / total > 0.90 - 3 * math.sqrt(0.9 * 0.1 / total)


@pytest.mark.slow
@pytest.mark.parametrize(("worth", "time"), [(1000.0, 1.0), (1150.0, 1.2), (900.0, 0.85)])
def test_intervals_cover_the_truth(worth: float, time: float) -> None:
    hits, total = np.zeros(2), 200 if is_full() else 80
    for world in range(total):
        table = runs(np.random.default_rng([3, world]), {"it": (worth, time)}, seeds=3, floor=0.4)
        item = of(matched(table, "val_bpb", 0.05), "it")["wall_clock"]
        low, high = item.speedup_low or 0.0, item.speedup_high or math.inf
        hits[0] += low <= worth / 1000 / time <= high
        assert item.low is not None and item.high is not None
        hits[1] += item.low <= loss(worth, 0.4) - loss(1000 * time, 0.4) <= item.high
    # the bend makes intervals a little wider than 90%, never narrower
    assert np.all(hits / total > 0.90 - 3 * math.sqrt(0.9 * 0.1 / total))


def test_the_two_intervals_agree() -> None:
    """A speed-up's interval excludes 1 exactly when the equal-cost effect's excludes 0, as p says."""
    for world in range(60 if is_full() else 25):
        rng = np.random.default_rng([4, world])
        table = runs(rng, {"it": (1000 * math.exp(rng.normal(0, 0.01)), 1.0)})
        for item in matched(table, "val_bpb", 0.05):
            assert item.p is not None and item.high is not None
            assert (item.high < 0) == (item.p < 0.05)
            assert (item.speedup_low is not None and item.speedup_low > 1) == (item.high < 0)


def test_nothing_is_extrapolated() -> None:
    table = runs(
        np.random.default_rng(5), {"slow": (1000.0, 2.5), "great": (2600.0, 1.0), "bad": (300.0, 1.0)}
    )
    found = matched(table, "val_bpb", 0.05)
    slow = of(found, "slow")["wall_clock"]
    assert slow.effect is None and slow.p is None
    assert "nothing is extrapolated" in slow.note
    great, bad = of(found, "great")["steps"], of(found, "bad")["steps"]
    assert great.speedup is None and "longest horizon" in great.note
    assert bad.speedup is None and "shortest horizon" in bad.note
    assert bad.effect is not None and bad.effect > 0


#: E + A / N**a + B / D**b in nats a token: Hoffmann et al. 2022, approach 3; refit of Besiroglu et al. 2024.
LAWS = {"2022": (1.69, 406.4, 410.7, 0.34, 0.28), "2024": (1.8172, 482.01, 2085.43, 0.3478, 0.3658)}
BPB_PER_NAT = 1 / math.log(2) / 4.8  # 4.8 bytes a token
MIN_EFFECT = DecisionRule().min_effect


def law(name: str, params: float, times: np.ndarray) -> np.ndarray:
    """Bits per byte after ``times`` × 10.5 tokens a parameter."""
    e, a_scale, b_scale, a, b = LAWS[name]
    losses = e + a_scale / params**a + b_scale / (10.5 * params * times) ** b
    return np.asarray(losses * BPB_PER_NAT)


@pytest.mark.parametrize(
    ("name", "params", "miss", "between"),
    [
        ("2022", 110e6, 0.0030, 0.0012),  # d12, counted as the ratio of 10.5 counts
        ("2022", 730e6, 0.0020, 0.0008),  # d24
        ("2024", 110e6, 0.0047, 0.0019),
        ("2024", 730e6, 0.0027, 0.0011),
    ],
)
def test_one_line_over_all_horizons_would_be_bent(
    name: str, params: float, miss: float, between: float
) -> None:
    """Why lines end at horizons: under the published laws one through all three misses the planned horizon by
    7 to 16 × min_effect; how far the lines between neighbours lie off is within the bend that is added.
    """
    times = np.asarray([0.5, 1.0, 2.0])
    x, y = np.log(times), np.log(law(name, params, times))
    level = law(name, params, np.ones(1))[0]
    assert level * np.expm1(np.polyval(np.polyfit(x, y, 1), 0.0) - y[1]) == pytest.approx(miss, abs=5e-5)
    assert miss > 6 * MIN_EFFECT
    curve = frontier.Curve(("reference@0.5x", "reference", "reference@2x"), x, y, 0.0)
    places = np.log(np.geomspace(0.5, 2.0, 41))
    truth = law(name, params, np.exp(places))
    off = np.abs(curve.weights(places) @ y - np.log(truth))
    assert np.all(off <= 1.15 * curve.bend(places) + 1e-9)
    assert np.max(off * truth) == pytest.approx(between, abs=6e-5)


def test_without_horizons_there_is_no_frontier() -> None:
    table = runs(np.random.default_rng(6), {"it": (1000.0, 1.0)})
    alone = table[~table["variant"].str.contains("@")]
    assert matched(alone, "val_bpb", 0.05) == []
    assert not frontier.has_horizons(alone)


def calibrated(sd: float, df: int) -> Calibration:
    """Noise in bits per byte, where the reference has 0.8."""
    return Calibration(2, "embedded", "bf16", "processor", 1, "val_bpb", sd, df, "2026-01-01", ())


def test_noise_known_beforehand_is_pooled_by_degrees_of_freedom() -> None:
    """As for effects: variances averaged, degrees of freedom added; single runs have the calibration's."""
    table = runs(np.random.default_rng(8), {"it": (1100.0, 1.0)}, seeds=2)
    alone, both = (
        of(matched(table, "val_bpb", 0.05, known=known), "it")["steps"]
        for known in (None, calibrated(0.0003, 400))
    )
    assert both.effect == alone.effect and both.p is not None and both.low is not None
    # at a horizon neither the line nor its bend has a part: the t of the difference of two means
    level, expected_sd = table.loc[table["variant"] == "reference", "val_bpb"].mean(), 0.0003
    width = expected_sd * math.sqrt(2 / 2) * special.stdtrit(403, 0.95)
    assert both.high is not None and (both.high - both.low) / 2 == pytest.approx(width, rel=0.03)
    assert level == pytest.approx(0.8, rel=0.01)
    single = table[table["seed"] == 1]
    found = of(matched(single, "val_bpb", 0.05, known=calibrated(0.0003, 9)), "it")["steps"]
    assert found.low is not None and found.high is not None
    expected = 0.0003 * math.sqrt(2) * special.stdtrit(9, 0.95)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.01)


def test_a_calibration_that_is_significantly_off_is_dropped() -> None:
    table = runs(np.random.default_rng(9), {"it": (1100.0, 1.0)}, seeds=5)
    alone, off = (
        of(matched(table, "val_bpb", 0.05, known=known), "it")["steps"]
        for known in (None, calibrated(0.01, 30))
    )
    assert off == alone


def test_missing_seeds_and_single_runs() -> None:
    """A lost run widens, a single run of each leaves estimates without an interval."""
    table = runs(np.random.default_rng(7), {"it": (1100.0, 1.0)})
    lost = table[table["run_id"] != "reference@2x-2"]
    whole, part = (of(matched(rows, "val_bpb", 0.05), "it")["steps"] for rows in (table, lost))
    assert part.speedup == pytest.approx(whole.speedup, abs=0.02)
    single = of(matched(table[table["seed"] == 1], "val_bpb", 0.05), "it")["steps"]
    assert single.speedup is not None and single.effect is not None
    assert single.speedup_low is None and single.low is None and single.p is None


def unequal_runs() -> pd.DataFrame:
    """Variants worth the reference's steps, six seeds, and a reference ten times as noisy as they are."""
    rng = np.random.default_rng(4)
    frame = runs(rng, {f"v{number}": (1000.0, 1.0) for number in range(6)}, seeds=6)
    frame.loc[frame["variant"] == "reference", "val_bpb"] += rng.normal(0.0, 0.004, 6)
    return frame


def test_a_reference_noisier_than_its_variants_widens_their_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def widths() -> list[float]:
        found = [item for item in matched(unequal_runs(), "val_bpb", 0.05) if item.axis == "steps"]
        return [item.high - item.low for item in found if item.low is not None and item.high is not None]

    own = widths()
    monkeypatch.setattr("sweepkit.analysis.matched.unlike", lambda *_: None)
    as_if_equal = widths()
    assert len(own) == len(as_if_equal) == 6
    assert all(one > 1.3 * other for one, other in zip(own, as_if_equal, strict=True))


def test_unequal_noise_gives_the_error_of_the_rung_at_its_own_horizon() -> None:
    frame = unequal_runs()
    logs = frame.assign(log=np.log(frame["val_bpb"]))
    own = logs[~logs["variant"].str.contains("@")]
    error = {item.variant: item.standard_error for item in effects(own, "log", 0.05)}
    names, blocks = list(frame["variant"]), list(frame["pair_key"])
    pool = noise.pool(names, blocks, list(logs["log"]), "reference")
    curve = frontier.Curve.of(frame, "val_bpb", pool.fit, "reference")
    spread = gaps.unlike(gaps.Runs(names, blocks, list(logs["log"])), curve, "reference")
    assert spread is not None
    place = curve.labels.index("reference")
    for name, expected in error.items():
        gap = gaps.Gap.moderated(name, curve, spread)
        assert gap is not None and gap.covariance_HH is not None
        assert math.sqrt(gap.covariance_HH[place, place]) == pytest.approx(expected, rel=0.05)
