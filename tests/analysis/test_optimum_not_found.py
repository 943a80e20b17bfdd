"""Groups of noise have no optimum: they are neither found nor a bound; those beyond their grid are one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import special

import sample
from sweepkit.analysis import fit
from sweepkit.analysis.laws import isoflop, parabolas, surface, trust_region
from sweepkit.analysis.laws.critical_batch import CriticalBatch, law_of
from sweepkit.analysis.laws.fitting import Fit
from sweepkit.analysis.laws.intervals import Interval
from sweepkit.analysis.laws.optima import NOT_FOUND, optima

LEVELS, SEEDS = 0.02 * 2.0 ** np.arange(-3, 4), ("1", "2", "3")
FEW = 400 if sample.is_full() else 60


def losses(rng: np.random.Generator, best: float | None, sd: float = 0.004) -> np.ndarray:
    """Levels × seeds; None: noise alone."""
    z = np.repeat(np.log(LEVELS), len(SEEDS))
    valley = 0.0 if best is None else 0.02 * (z - np.log(best)) ** 2
    return 3 + valley + sd * rng.standard_normal(len(z))


def frame_of(rng: np.random.Generator, best_of: dict[float, float | None]) -> pd.DataFrame:
    rows = []
    for width, best in best_of.items():
        columns = zip(np.repeat(LEVELS, len(SEEDS)), SEEDS * len(LEVELS), losses(rng, best), strict=True)
        rows += [(width, lr, seed, loss) for lr, seed, loss in columns]
    return pd.DataFrame(rows, columns=["width", "lr", "seed", "loss"])


def asked(frame: pd.DataFrame) -> Fit:
    return fit(frame, loss="loss", axis="lr", by="width")


def test_noise_is_called_a_bound_no_oftener_than_a_test_errs() -> None:
    rng = np.random.default_rng(1)
    x_N, seeds = np.repeat(LEVELS, len(SEEDS)), list(SEEDS * len(LEVELS))
    found = [optima(x_N, losses(rng, None), None, seeds)[0] for _ in range(4 * FEW)]
    bounds = sum(bool(item.censored) for item in found)
    assert bounds / len(found) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / len(found))
    lost = [item for item in found if item.value is None]
    assert len(lost) > FEW and all(item.notes == [NOT_FOUND] for item in lost)
    beyond = [optima(x_N, losses(rng, 0.3), None, seeds)[0].censored for _ in range(20)]
    assert beyond == ["above"] * 20


def test_the_slope_is_that_of_least_squares_with_a_dummy_a_seed() -> None:
    """By normal equations: quadratic for the noise, a line through the three last levels for the slope."""
    rng = np.random.default_rng(2)
    z = np.repeat(np.round(np.log(LEVELS), 12), len(SEEDS))
    seeds = list(SEEDS * len(LEVELS))
    dummies = (np.array(seeds)[:, None] == np.array(SEEDS)[None]).astype(float)
    seen = set()
    for _ in range(40):
        y = losses(rng, 0.25, sd=0.05)
        group = trust_region.placed(
            [trust_region.group_of("all", z, y, ["all"] * len(z), seeds, True, trust_region.REACH_LOG)]
        )[0]
        fits, _ = parabolas.fit_all([group], "auto")
        first, last = group.z_L[group.region[0]], group.z_L[group.region[1]]
        own, end = (z >= first) & (z <= last), z >= group.z_L[-3]
        square = np.column_stack([dummies[own], z[own], z[own] ** 2])
        left = y[own] - square @ np.linalg.lstsq(square, y[own], rcond=None)[0]
        df = int(own.sum()) - 5
        line = np.column_stack([dummies[end], z[end]])
        slope = np.linalg.lstsq(line, y[end], rcond=None)[0][-1]
        error = math.sqrt(left @ left / df * np.linalg.inv(line.T @ line)[-1, -1])
        p = 2 * special.stdtr(df, -abs(slope) / error)
        expected = 0 if p >= 0.05 else -int(np.sign(slope))
        seen.add(expected)
        assert parabolas.falls_towards(group, fits["all"], len(LEVELS) - 1, 0.95) == expected
    assert seen >= {0, 1}


def test_a_size_of_noise_leaves_the_law_by_name_and_the_others_their_exponent() -> None:
    rng = np.random.default_rng(3)
    best_of = {width: 0.02 * (width / 512) ** -0.5 for width in (256.0, 384.0, 768.0, 1024.0)}
    with_noise, without, named = [], [], 0
    for _ in range(FEW // 5):
        frame = frame_of(rng, best_of | {512.0: None})
        found, rest = asked(frame), asked(frame[frame["width"] != 512])
        assert found.law is not None and rest.law is not None
        with_noise.append(found.law.exponent + 0.5)
        without.append(rest.law.exponent + 0.5)
        named += any("512" in note and "no part of the law" in note for note in found.notes)
    assert named > 0.8 * (FEW // 5)
    assert np.std(with_noise) < 1.5 * np.std(without)


def test_a_size_beyond_its_grid_is_still_a_bound() -> None:
    best_of = {width: 0.02 * (width / 512) ** -1.5 for width in (256.0, 384.0, 512.0, 768.0, 4096.0)}
    law = asked(frame_of(np.random.default_rng(4), best_of)).law
    assert law is not None and law.points[-1].censored == "below"
    assert law.interval.holds(-1.5)


def test_a_group_of_which_one_level_stands_leaves_the_others_their_curvature() -> None:
    lr = np.tile([0.01, 0.02, 0.04], 4)
    loss = 1 + 0.05 * np.log(lr / 0.02) ** 2
    loss[[1, 2]] = np.inf
    loss[6:] += 1e-4 * np.random.default_rng(5).standard_normal(6)
    found = optima(lr, loss, [str(place // 3) for place in range(12)])
    assert found[0].value is None and "too few levels stand" in found[0].notes[0]
    assert [item.value for item in found[1:]] == pytest.approx([0.02] * 3, rel=0.02)


def test_a_level_far_above_the_best_one_elsewhere_is_no_valley() -> None:
    """Drawn: the parabola's minimum fell on a level that towers over another; the fit was refused."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        found = optima(np.tile(LEVELS, 5), rng.standard_normal(35), [str(place // 7) for place in range(35)])
        assert len(found) == 5


def test_a_budget_of_noise_is_named() -> None:
    rng = np.random.default_rng(6)
    truth = surface.Surface(1.8, 60.0, 30_000.0, 0.25, 0.5, 0.0, np.empty(0))
    flops = np.repeat(np.geomspace(1e18, 1e21, 5), 7)
    params = truth.best_params(flops) * np.tile(np.geomspace(0.25, 4, 7), 5)
    loss = truth.at(params, flops / 6 / params) * np.exp(3e-4 * rng.standard_normal(35))
    for _ in range(20):
        loss[:7] = 4 + 0.01 * rng.standard_normal(7)
        budgets, laws, notes = isoflop.by_parabolas(params, loss, flops, truth, 6.0, 0.95)
        assert laws is not None
        if not budgets[0].best.is_known:
            assert any("1e+18" in note and "law through parabolas" in note for note in notes)
            break
    else:
        pytest.fail("noise was always an optimum")


def test_a_critical_batch_without_an_end_is_no_part_of_the_law() -> None:
    """It used to enter without an error, as the best known of all."""

    def batch_at(tokens: float, high: float | None) -> CriticalBatch:
        interval = Interval(tokens**0.4 / 1.2, high)
        return CriticalBatch("all", 3.0, tokens, tokens**0.4, interval, 0.1 if high else None, [], [])

    known = [batch_at(tokens, 1.2 * tokens**0.4) for tokens in (1e7, 2e7, 4e7, 8e7)]
    endless = replace(batch_at(16e7, None), batch=5.0, group="last")
    law = law_of([*known, endless], None)
    assert law is not None and law.exponent == pytest.approx(0.4) and len(law.points) == 4
    assert any("last at 3" in note for note in law.notes)
