"""Retention, ranks, selection and cliffs against simulated truths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweepkit.analysis.cliffs import cliffs
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.retention import Climber, Retention, kendall, retention

TRUE, NOISE = 0.0013, 0.001  # spread of true effects and noise of one: plain slopes come out at 0.63


def ladder(
    rng: np.random.Generator, n: int, slope: float, climbing: int, random: int, num_cliffs: int = 0
) -> Retention:
    """Effects of ``n`` variants on two rungs; the best ``climbing`` and some others climb."""
    true = rng.normal(0.0, TRUE, n)
    true[:num_cliffs] = 0.5  # catastrophic
    # single runs: an effect has the noise of its own run and the reference's, which all of them share
    below = true + rng.normal(0.0, NOISE, n) - rng.normal(0.0, NOISE)
    above = slope * true + rng.normal(0.0, NOISE, n) - rng.normal(0.0, NOISE)
    order = np.argsort(below)
    chance = {int(place): 1.0 for place in order[:climbing]}
    if random:
        chosen = rng.choice(order[climbing:], random, replace=False)
        chance |= {int(place): random / (n - climbing) for place in chosen}
    climbers = [
        Climber(f"v{place}", float(below[place]), float(above[place]), NOISE, share)
        for place, share in chance.items()
    ]
    everybody = {f"v{place}": (float(value), NOISE) for place, value in enumerate(below)}
    return retention("d12", "d20", climbers, everybody, [f"v{p}" for p in order[:climbing]], 0.05)


def test_plain_regression_is_diluted_and_errors_in_variables_is_not() -> None:
    worlds = [ladder(np.random.default_rng([0, w]), 60, 0.8, 0, 60) for w in range(300)]
    plain = np.asarray([world.plain_slope for world in worlds], dtype=float)
    slopes = np.asarray([world.slope for world in worlds], dtype=float)
    assert np.mean(plain) == pytest.approx(0.8 * 0.63, abs=0.02)
    assert np.median(slopes) == pytest.approx(0.8, abs=0.03)
    hits = np.mean([w.low is not None and w.high is not None and w.low <= 0.8 <= w.high for w in worlds])
    assert hits > 0.90 - 4 * math.sqrt(0.9 * 0.1 / 300)
    assert hits < 0.97


def test_randomly_climbing_others_undo_selection() -> None:
    """Ten winners alone say too little of the slope; with weighted random others it is unbiased again."""
    weighted = [ladder(np.random.default_rng([1, w]), 80, 0.7, 10, 16) for w in range(300)]
    slopes = np.asarray([world.slope for world in weighted if world.slope is not None])
    assert len(slopes) > 250
    assert np.median(slopes) == pytest.approx(0.7, abs=0.06)


@pytest.mark.parametrize(("slope", "share", "num_cliffs"), [(1.0, 1.0, 0), (0.5, 0.54, 0), (1.0, 1.0, 3)])
def test_selection_explains_what_it_should(slope: float, share: float, num_cliffs: int) -> None:
    """Where nothing truly shrinks, selection is all of the shrinkage; where effects halve, a known part.

    So it is with catastrophic variants among the others, which say nothing of how large a gain may be. The
    mixture keeps a little more of the best than it should: a tenth of the shrinkage.
    """
    worlds = [ladder(np.random.default_rng([2, w]), 200, slope, 10, 0, num_cliffs) for w in range(150)]
    below, expected, above = (
        np.mean([getattr(world, name) for world in worlds])
        for name in ("measured_below", "expected", "measured_above")
    )
    assert below < expected < 0
    assert (expected - below) / (above - below) == pytest.approx(share, abs=0.15)
    shares = [world.explained for world in worlds if world.explained is not None]
    assert all(0.0 <= value <= 1.0 for value in shares)


def test_kendall_and_its_null_spread() -> None:
    rng = np.random.default_rng(4)
    taus = [kendall(list(rng.normal(size=12)), list(rng.normal(size=12)))[0] for _ in range(600)]
    _, spread, _ = kendall(list(range(12)), list(range(12)))
    assert np.std(taus) == pytest.approx(spread, rel=0.1)
    assert kendall([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])[0] == 1.0
    assert kendall([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0])[0] == -1.0


def test_too_few_or_too_noisy_says_so() -> None:
    two = [Climber("a", -0.001, -0.001, 0.001), Climber("b", 0.001, 0.0, 0.001)]
    found = retention("d12", "d20", two, {c.variant: (c.below, c.error) for c in two}, ["a"], 0.05)
    assert found.slope is None and "cannot be told (2 variants" in found.sentence
    noisy = [Climber(str(i), 1e-5 * i, 0.0, 0.01) for i in range(5)]
    found = retention("d12", "d20", noisy, {c.variant: (c.below, c.error) for c in noisy}, [], 0.05)
    assert found.slope is None and "no more than noise" in found.sentence


def effect(level: str, value: float, error: float = 0.0002) -> Effect:
    return Effect(level, 3, value, error, 12, value - error, value + error, 0.9, 0.5, error, "pooled")


def test_the_published_cliff_is_found() -> None:
    """x0 beta1 at d20: a plateau to 0.96, then 0.98 loses 0.0033 (methodology §1)."""
    values = {"0.90": -0.0006, "0.94": -0.0006, "0.96": -0.0007, "0.97": -0.0001, "0.98": 0.0033}
    levels = [("0.80", 0.80), *((name, float(name)) for name in values)]
    found = cliffs(
        "x0_beta1", levels, {name: effect(name, v) for name, v in values.items()}, [], 0.05, 0.0003
    )
    assert [(item.edge, item.beyond) for item in found] == [("0.97", "0.98")]
    assert found[0].drop == pytest.approx(0.0034)
    noisy = {name: effect(name, v, 0.003) for name, v in values.items()}
    assert cliffs("x0_beta1", levels, noisy, [], 0.05, 0.0003) == []


def test_a_neighbour_that_diverges_is_a_cliff() -> None:
    found = cliffs(
        "lr", [("1", 1.0), ("2", 2.0), ("3", 3.0)], {"2": effect("2", -0.001)}, ["3"], 0.05, 0.0003
    )
    assert [(item.edge, item.beyond, item.drop) for item in found] == [("2", "3", None)]
