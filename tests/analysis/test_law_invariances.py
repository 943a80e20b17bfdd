"""What a fit must not depend on: the metric's zero, unit and sign, units of the axis, the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sample
from sweepkit.analysis import fit
from sweepkit.analysis.laws import optima
from sweepkit.analysis.laws.intervals import Interval
from sweepkit.analysis.laws.optima import Optimum
from sweepkit.analysis.laws.power_law import power_law
from sweepkit.analysis.laws.ridge import Ridge, ridges

few = settings(max_examples=400 if sample.is_full() else 20, deadline=None)
worlds = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "levels": st.integers(4, 8),
        "noise": st.sampled_from([1e-4, 3e-3, 0.03]),
        "best": st.floats(-2.5, 2.5),
        "has_cliff": st.booleans(),
        "diverges": st.booleans(),
    }
)
changes = st.fixed_dictionaries(
    {
        "shift": st.one_of(st.just(-1.0), st.floats(-100, 100)),
        "scale": st.floats(-3, 3).map(lambda power: 10.0**power),
        "unit": st.floats(-6, 6).map(lambda power: 10.0**power),
        "is_higher_better": st.booleans(),
        "order": st.integers(0, 10**6),
    }
)
#: A metric around 0: no share of it says what is near the best.
around_0 = {"shift": -1.0, "scale": 1.0, "unit": 1.0, "is_higher_better": False, "order": 1}
as_it_is = {"shift": 0.0, "scale": 1.0, "unit": 1.0, "is_higher_better": False, "order": 0}
plain_world = {"seed": 1, "levels": 7, "noise": 3e-3, "best": 0.2, "has_cliff": True, "diverges": True}


def valley(world: dict[str, Any]) -> pd.DataFrame:
    """Learning rate × two depths × two seeds, the metric near 1; perhaps a cliff, or a divergence."""
    rng = np.random.default_rng(world["seed"])
    z = np.arange(world["levels"]) * np.log(2.0)
    rows = []
    for depth in (2.0, 4.0):
        for seed in ("1", "2"):
            loss = (
                1 + 0.02 * (z - z.mean() - world["best"]) ** 2 + world["noise"] * rng.standard_normal(len(z))
            )
            if world["has_cliff"]:
                loss[0] += 3.0
            if world["diverges"]:
                loss[-1] = np.inf
            rows += [(depth, seed, value, y) for value, y in zip(0.01 * np.exp(z), loss, strict=True)]
    return pd.DataFrame(rows, columns=["depth", "seed", "lr", "loss"])


def changed(frame: pd.DataFrame, change: dict[str, Any], *axes: str) -> pd.DataFrame:
    found = frame.sample(frac=1.0, random_state=change["order"])
    for axis in axes:
        found[axis] *= change["unit"]
    sign = -1 if change["is_higher_better"] else 1
    stands = np.isfinite(found["loss"])
    found["state"] = np.where(stands, "complete", "diverged")
    found["loss"] = (sign * change["scale"] * (found["loss"] + change["shift"])).where(stands)
    return found


def told(item: Optimum, unit: float, scale: float) -> list[float | None]:
    """What is said of an optimum, free of units; None: no end, or not there."""
    places = [item.value, item.best_level, item.extend_to, *ends(item.interval), *ends(item.width)]
    places += [level.value for level in item.levels if level.fitted is not None]
    places += [None, None] if item.cliff is None else [item.cliff.edge, item.cliff.beyond]
    noise = None if item.sd is None else item.sd / scale
    return [*(None if place is None else np.log(place / unit) for place in places), noise, item.error]


def ends(interval: Interval) -> list[float | None]:
    return [interval.low, interval.high]


def same(one: list[float | None], other: list[float | None]) -> None:
    assert [item is None for item in one] == [item is None for item in other]
    for left, right in zip(one, other, strict=True):
        if left is not None:
            assert left == pytest.approx(right, rel=1e-5, abs=1e-5)


@few
@given(world=worlds, change=changes)
@example(world=plain_world, change=around_0)
def test_the_best_value_is_the_same_in_any_units_of_any_sign(world: Any, change: Any) -> None:
    frame = valley(world)
    asked: dict[str, Any] = {"loss": "loss", "axis": "lr", "by": "depth"}
    plain = fit(changed(frame, as_it_is, "lr"), **asked).optima
    other = fit(changed(frame, change, "lr"), **asked, is_higher_better=change["is_higher_better"]).optima
    assert [item.group for item in plain] == [item.group for item in other]
    for one, two in zip(plain, other, strict=True):
        assert one.censored == two.censored and one.df == two.df
        same(told(one, 1.0, 1.0), told(two, change["unit"], change["scale"]))
        if one.loss is not None:
            sign = -1 if change["is_higher_better"] else 1
            expected = sign * change["scale"] * (one.loss + change["shift"])
            assert two.loss == pytest.approx(expected, rel=1e-6, abs=1e-6 * change["scale"])


@few
@given(seed=st.integers(0, 10**6), slope=st.floats(-1, 1), change=changes)
def test_a_ridge_is_the_same_in_any_units_of_any_sign(seed: int, slope: float, change: Any) -> None:
    rng = np.random.default_rng(seed)
    u, v = (axis.ravel() for axis in np.meshgrid(np.arange(-3, 3) * 0.7, np.arange(-2, 4) * 0.7))
    loss = 1 + 0.05 * (u - slope * v) ** 2 + 0.01 * (v - 0.4) ** 2 + 0.004 * rng.standard_normal(len(u))
    loss[u + v > 4] = 5.0
    frame = pd.DataFrame({"lr": np.exp(u), "batch": np.exp(v), "loss": loss})
    asked: dict[str, Any] = {"loss": "loss", "axis": "lr", "second_axis": "batch"}
    (plain,) = fit(frame, **asked).ridges
    (other,) = fit(
        changed(frame, change, "lr", "batch"), **asked, is_higher_better=change["is_higher_better"]
    ).ridges

    def said(item: Ridge, unit: float) -> list[float | None]:
        logs = [np.log(value / unit) for value in (*item.best_pair, *(item.values or ()))]
        return [*logs, item.slope, *ends(item.slope_interval), item.steepness, float(len(item.residuals))]

    same(said(plain, 1.0), said(other, change["unit"]))


def test_levels_that_tie_have_none_and_point_nowhere() -> None:
    x_N = np.tile([0.01, 0.02, 0.04, 0.08], 3)
    (found,) = optima.optima(x_N, np.full(12, 0.1), None, [str(row // 4) for row in range(12)])
    assert (found.value, found.censored, found.extend_to) == (None, "", None)


@pytest.mark.parametrize("curvature", ["auto", "shared", "separate"])
@pytest.mark.parametrize("level", [0.1, -0.3, 0.0, 1e-30, 2.7e9, 0.029477936554426633])
def test_a_group_that_ties_has_none_and_leaves_the_others_theirs(level: float, curvature: Any) -> None:
    """Drawn: an optimum at 0, uncensored, of a parabola that rounding made.

    One tie also bent the shared curvature, and two of three made the third "tower" over a valley of no depth.
    """
    x_N, groups = np.tile([100.0, 200, 400, 800], 6), [str(row // 8) for row in range(24)]
    frame = pd.DataFrame({"x": x_N, "of": groups, "seed": [row // 4 % 2 for row in range(24)]})
    valley_N = np.log(x_N / 210) ** 2 * max(abs(level), 1e-3)
    for tied in (["0"], ["0", "2"]):
        frame["y"] = level + np.where(np.isin(groups, tied), 0.0, valley_N)
        for named in ({"by": "of", "curvature": curvature}, {"by": "of", "seed": "seed"}):
            found = fit(frame, axis="x", loss="y", **named)
            assert [item.group for item in found.optima] == [item for item in "012" if item not in tied]
            assert [item.value for item in found.optima] == pytest.approx([210.0] * (3 - len(tied)))
            assert sum("alike, no parabola" in note for note in found.notes) == len(tied)
    for item in optima.optima(x_N, np.where(np.isin(groups, tied), level, level + valley_N), groups):
        assert (item.value is None) == (item.group in tied)


def test_effects_around_0_have_an_optimum() -> None:
    """Differences to a reference: a share of the lowest of them is nothing."""
    lr = 0.01 * 2.0 ** np.arange(7)
    effect = 0.02 * np.log(lr / 0.07) ** 2 - 0.013
    (found,) = fit(pd.DataFrame({"lr": lr, "effect": effect}), loss="effect", axis="lr").optima
    assert found.value == pytest.approx(0.07, rel=1e-6) and found.interval.is_bounded
    assert sum(level.fitted is not None for level in found.levels) == 5


@pytest.mark.parametrize("exponent", [-1.3, -0.5, 0.0, 0.383, 0.7])
def test_losses_and_optima_without_noise_contradict_nothing_that_is_so(exponent: float) -> None:
    """Intervals were a rounding wide, or none, and left the truth out: a rule that held was contradicted."""
    rng = np.random.default_rng(7)
    for _ in range(8):
        scale, best, z = rng.uniform(1, 1e4, 4), rng.uniform(-1, 1), np.log(2) * np.arange(-3, 4)
        law = power_law(scale, 3 * scale**exponent, rule=exponent)
        assert law.interval.holds(exponent) and (law.rule_p or 0) > 0.3
        (item,) = optima.optima(np.exp(z), 3 + 0.1 * (z - best) ** 2)
        low, high = ends(item.interval)
        assert low is not None and high is not None
        assert low * (1 - 1e-10) <= np.exp(best) <= high * (1 + 1e-10)  # printed to eleven digits
        u, v = (place.ravel() for place in np.meshgrid(z, z))
        (made,), _ = ridges(np.exp(u), np.exp(v), 3 + 0.1 * (u - exponent * v) ** 2 + 0.03 * v**2)
        assert made.slope_interval.holds(exponent)
