"""A reference that runs several times a seed: effects, noise, corrections, and how often they are right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_frames import runs
from scipy import stats

from sweepkit.analysis import dunnett
from sweepkit.analysis.axes import wall_clock
from sweepkit.analysis.effects import ONE_WAY, OWN, POOLED, WELCH, Effect, effects
from sweepkit.analysis.multiplicity import DUNNETT, correct

NAMES = ("a", "b", "c")


def test_it_is_least_squares_on_all_runs() -> None:
    frame = runs({"a": -0.01, "b": 0.003}, seeds=3, replicates=2)
    found = {effect.variant: effect for effect in effects(frame, "val_bpb", alpha=0.05)}
    design = pd.get_dummies(frame[["variant", "seed"]].astype(str), dtype=float)
    y = frame["val_bpb"].to_numpy(dtype=float)
    x = design.to_numpy()
    solution, *_ = np.linalg.lstsq(x, y, rcond=None)
    df = len(y) - np.linalg.matrix_rank(x)
    sd = np.sqrt(((y - x @ solution) ** 2).sum() / df)
    place = {name: design.columns.get_loc(f"variant_{name}") for name in ("reference", "a", "b")}
    for name in ("a", "b"):
        effect = found[name]
        assert effect.effect == pytest.approx(solution[place[name]] - solution[place["reference"]])
        assert (effect.n, effect.df, effect.method) == (3, df, POOLED)
        assert effect.noise_sd == pytest.approx(sd)
        assert effect.standard_error == pytest.approx(sd * np.sqrt((1 + 1 / 2) / 3))
        assert effect.rho == pytest.approx(dunnett.rho(2)) == pytest.approx(1 / 3)


def test_a_lost_replicate_costs_only_itself() -> None:
    frame = runs({"a": -0.01, "b": 0.0}, seeds=3, replicates=3)
    whole = effects(frame, "val_bpb", alpha=0.05)[0]
    frame.loc[frame["run_id"] == "d2-reference-s2-i1", "val_bpb"] = pd.NA
    one_less = effects(frame, "val_bpb", alpha=0.05)[0]
    assert (one_less.n, one_less.df) == (3, whole.df - 1)
    assert one_less.standard_error is not None and one_less.noise_sd is not None
    variance = (one_less.standard_error / one_less.noise_sd) ** 2
    assert (1 + 1 / 3) / 3 < variance < (1 + 1 / 2) / 3


def test_every_run_of_the_reference_is_timed() -> None:
    frame = runs({"a": 0.0}, seeds=4, replicates=3, compile_key=None)
    found = wall_clock(frame, "not_worse", 0.02, 0.05)["a"]
    log_time = np.log(frame["median_step_time_s"].to_numpy(dtype=float) * 100)
    of_reference = (frame["variant"] == "reference").to_numpy()
    assert found.ratio == pytest.approx(
        np.exp(log_time[~of_reference].mean() - log_time[of_reference].mean())
    )


def worlds(count: int, rng: np.random.Generator, drop: float = 0.0) -> list[list[Effect]]:
    """Effects of made-up worlds without any, three runs of the reference a seed."""
    found = []
    for _ in range(count):
        frame = runs(dict.fromkeys(NAMES, 0.0), seeds=4, rng=rng, replicates=3)
        frame["val_bpb"] = frame["val_bpb"].mask(pd.Series(rng.random(len(frame)) < drop))
        found.append(effects(frame, "val_bpb", alpha=0.1))
    return found


def assert_honest(found: list[Effect], confidence: float = 0.8) -> None:
    """p values are uniform, and intervals cover nothing as often as they say."""
    p = [effect.p for effect in found if effect.p is not None]
    assert len(p) > 0.9 * len(found)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    covered = sum(e.low < 0.0 < e.high for e in found if e.low is not None and e.high is not None)
    assert stats.binomtest(covered, len(p), confidence).pvalue > 0.001


@pytest.mark.slow
@pytest.mark.parametrize("drop", [0.0, 0.15])
def test_p_is_uniform_also_of_the_best_after_dunnett(drop: float) -> None:
    found = worlds(200, np.random.default_rng(21), drop)
    assert_honest([world[0] for world in found])
    measured = [world for world in found if all(effect.p is not None for effect in world)]
    corrected = [correct(world, [effect.p or 0.0 for effect in world]) for world in measured]
    best = [min(p) for p, method in corrected if method == DUNNETT]  # Holm: one was too noisy for the pool
    assert len(best) > 0.9 * len(measured)
    assert stats.kstest(best, "uniform").pvalue > 0.001


@pytest.mark.parametrize(("replicates", "spread"), [(1, 1.0), (1, 3.0), (3, 1.0)])
def test_welchs_p_is_uniform_for_other_tokens(replicates: int, spread: float) -> None:
    """Runs of one seed share its luck, so the reference's three a seed count as one."""
    rng = np.random.default_rng(22)
    found = []
    for _ in range(150):
        frame = runs({"other": 0.0}, seeds=5, rng=rng, replicates=replicates, noise=0.01, luck=0.01)
        other = frame["variant"] == "other"
        frame.loc[other, "pair_key"] = "other-" + frame.loc[other, "pair_key"]
        frame.loc[other, "val_bpb"] = 2.0 + rng.normal(0.0, spread * np.sqrt(2e-4), int(other.sum()))
        (effect,) = effects(frame, "val_bpb", alpha=0.1)
        assert effect.method in (ONE_WAY, WELCH) and effect.n == 5
        found.append(effect)
    assert_honest(found)


@pytest.mark.slow
def test_own_differences_are_not_calmed_by_the_references_replicates() -> None:
    rng = np.random.default_rng(23)
    found = []
    for _ in range(150):
        frame = runs({**dict.fromkeys(NAMES, 0.0), "wild": 0.0}, seeds=4, rng=rng, replicates=3)
        wild = frame["variant"] == "wild"
        frame.loc[wild, "val_bpb"] += rng.normal(0.0, 0.1, int(wild.sum()))
        found.append(effects(frame, "val_bpb", alpha=0.1)[-1])
    assert [effect.method for effect in found].count(OWN) > 140
    assert_honest([effect for effect in found if effect.method == OWN])
