"""Forecasts of the next rung in worlds whose truth is known: coverage, and worlds that break the law."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from sample import is_full
from sweepkit.analysis import next_rung, shrinkage
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.laws import size_forecast
from sweepkit.analysis.next_rung import EFFECT, LAW, LOSS, NO_CHANGE, RETENTION, SAME_EFFECT, Below
from sweepkit.analysis.retention import Retention

WORLDS = 2000 if is_full() else 100
V, SEEDS, NOISE, LUCK, DF = 8, 3, 0.001, 0.004, 16
PARAMS = (1e6, 4e6, 16e6, 64e6)


def measured(rng: np.random.Generator, true_v: np.ndarray) -> dict[str, Effect]:
    """Variant → its effect as a rung measures it, the reference's error in all of them."""
    error = NOISE * math.sqrt(2 / SEEDS)
    shared = rng.normal(0, NOISE / math.sqrt(SEEDS))
    seen_v = true_v + rng.normal(0, NOISE / math.sqrt(SEEDS), len(true_v)) - shared
    shrunk_v = shrinkage.shrink(seen_v[None], np.full((1, len(true_v)), error))[0] if len(true_v) else []
    half = error * stats.t.ppf(0.95, DF)
    return {
        f"v{i}": Effect(
            f"v{i}", SEEDS, value, error, DF, value - half, value + half, 0.9, None, NOISE, "pooled",
            shrunk=float(shrunk),
        )
        for i, (value, shrunk) in enumerate(zip(map(float, seen_v), shrunk_v, strict=True))
    }  # fmt: skip


def play(
    rng: np.random.Generator,
    true_rv: Sequence[np.ndarray],
    loss_r: Sequence[float],
    retentions: Sequence[Retention] = (),
) -> dict[tuple[str, str], list[bool]]:
    """(kind, method) → whether each forecast of the last rung held what it measured."""
    below = []
    for true_v, loss, params in zip(true_rv[:-1], loss_r[:-1], PARAMS, strict=False):
        seen = loss + rng.normal(0, LUCK, SEEDS)
        effects = measured(rng, true_v)
        below.append(Below((params, 10 * params), tuple(map(float, seen)), effects))
    names = list(below[-1].effects)
    to = PARAMS[len(below)]
    told = next_rung.predict(below, (to, 10 * to), names, SEEDS, 1, retentions, is_loss=True)
    came = {name: item.effect for name, item in measured(rng, true_rv[-1]).items()}
    came["reference"] = float(loss_r[-1] + rng.normal(0, LUCK, SEEDS).mean())
    hits: dict[tuple[str, str], list[bool]] = {}
    for item in told:
        value = came[item.target]
        assert value is not None
        hits.setdefault((item.kind, item.method), []).append(item.low <= value <= item.high)
    return hits


def coverage(
    world: Callable[[np.random.Generator], tuple], num_worlds: int = WORLDS
) -> dict[tuple[str, str], float]:
    """(kind, method) → share of forecasts that hold, over worlds of a kind."""
    rng = np.random.default_rng(1)
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(num_worlds):
        for key, hits in play(rng, *world(rng)).items():
            found.setdefault(key, []).append(float(np.mean(hits)))
    return {key: float(np.mean(by_world)) for key, by_world in found.items()}


def power(rng: np.random.Generator, rungs: int) -> list[float]:
    """Losses of a law whose floor is anywhere below the lowest measured loss."""
    exponent, floor = rng.uniform(0.05, 0.35), rng.uniform(0.0, 0.9)
    reducible = [params**-exponent for params in PARAMS[:rungs]]
    scale = 2.0 * (1.0 - floor)
    return [2.0 * floor + scale * item / reducible[-2] for item in reducible]


def kept(rng: np.random.Generator, share: float, sd: float, size: float = 0.003) -> tuple:
    """Two rungs; every variant keeps a share of its effect that is its rung's."""
    true = rng.normal(0, size, V)
    return [true, rng.normal(share, sd) * true], power(rng, 2)


@pytest.mark.parametrize(
    ("share", "sd", "method", "low", "high"),
    [
        (0.8, 0.4, RETENTION, 0.85, 0.97),  # as the prior says
        (1.0, 0.0, RETENTION, 0.93, 1.0),  # all of it: wider than it need be
        (1.0, 0.0, SAME_EFFECT, 0.86, 0.94),
        (0.6, 0.1, RETENTION, 0.93, 1.0),
        (0.0, 0.0, NO_CHANGE, 0.86, 0.94),
        (-1.0, 0.0, RETENTION, 0.0, 0.75),  # every sign turns: no method but luck holds
        (-1.0, 0.0, SAME_EFFECT, 0.0, 0.5),
    ],
)
def test_intervals_cover_where_they_should(
    share: float, sd: float, method: str, low: float, high: float
) -> None:
    found = coverage(lambda rng: kept(rng, share, sd))
    print(f"retained {share} ± {sd}: {method} covers {found[EFFECT, method]:.1%}")
    assert low <= found[EFFECT, method] <= high


@pytest.mark.slow
def test_a_law_covers_what_follows_it_and_says_so_of_what_does_not() -> None:
    true, few = np.zeros(0), WORLDS // 10  # of the reference alone
    for rungs in (3, 4):
        held = coverage(lambda rng, rungs=rungs: ([true] * rungs, power(rng, rungs)), few)  # type: ignore[misc]
        print(f"loss by the law of {rungs - 1} rungs: {held[LOSS, LAW]:.1%}")
        assert held[LOSS, LAW] >= (0.83 if is_full() else 0.6)
        assert held[LOSS, NO_CHANGE] < 0.5
    broken = coverage(lambda rng: ([true] * 4, [2.2, 2.0, 1.85, 2.1]), 3)  # another tokenizer, say
    assert broken[LOSS, LAW] == 0.0


@pytest.mark.slow
def test_effects_by_the_law_cover_where_ratios_of_losses_are_powers() -> None:
    def world(rng: np.random.Generator) -> tuple:
        losses = power(rng, 3)
        ratio, trend = rng.normal(0, 0.01, V), rng.normal(0, 0.002, V)
        powers = [np.expm1(ratio + trend * math.log(params / PARAMS[0])) for params in PARAMS[:3]]
        return [loss * item for loss, item in zip(losses, powers, strict=True)], losses

    found = coverage(world, WORLDS // 10)
    print(f"effects by the law of two rungs: {found[EFFECT, LAW]:.1%}")
    assert 0.8 <= found[EFFECT, LAW] <= 0.99


def test_what_is_retained_is_learned_from_pairs_that_were_measured() -> None:
    def pair(slope: float | None, half: float) -> Retention:
        ends = (None, None) if slope is None else (slope - half, slope + half)
        return Retention("d2", "d3", 9, slope, *ends, 0.9, *[None] * 4, [], *[None] * 4, "")

    before = next_rung.retained([])
    assert before[0] == next_rung.PRIOR[0]
    assert next_rung.retained([pair(None, 0.0)]) == before
    error = 0.1 / stats.norm.ppf(0.95)
    weights = np.asarray([next_rung.PRIOR[1] ** -2, 1 / (error**2 + 0.04)])
    mean, sd = next_rung.retained([pair(0.3, 0.1)])
    assert mean == pytest.approx(np.average([0.8, 0.3], weights=weights))
    assert sd == pytest.approx(math.hypot(weights.sum() ** -0.5, 0.2))
    assert sd < before[1]


@pytest.mark.slow
def test_the_law_is_that_of_sizes_and_needs_two_of_them() -> None:
    rng = np.random.default_rng(3)
    losses = [tuple(3.0 * params**-0.1 + rng.normal(0, 1e-3, 3)) for params in PARAMS[:3]]
    below = [Below((params, 10 * params), own, {}) for params, own in zip(PARAMS, losses, strict=False)]

    def told(rungs: Sequence[Below], to: float, is_loss: bool = True) -> dict[str, next_rung.Prediction]:
        found = next_rung.predict(rungs, (to, 10 * to), [], 3, 1, [], is_loss=is_loss)
        return {item.method: item for item in found}

    law = told(below, PARAMS[3])[LAW]
    assert law.low <= 3.0 * PARAMS[3] ** -0.1 <= law.high
    runs = [(*(item.size or ()), loss) for item in below for loss in item.losses]
    of_sizes = size_forecast.forecast(*np.asarray(runs).T, 3, [(PARAMS[3], 10 * PARAMS[3])], 0.9)
    assert law.mean == of_sizes.forecasts[0].expected
    assert law.interval(1)[1] == pytest.approx(of_sizes.forecasts[0].interval.high, rel=1e-2)
    assert set(told(below[:1], PARAMS[1])) == {NO_CHANGE}
    assert LAW not in told(below, PARAMS[3], is_loss=False)
    assert LAW not in told(below, PARAMS[2]), "no larger size"
    unknown = [dataclasses.replace(item, size=None) for item in below]  # another trainer's
    assert set(told(unknown, PARAMS[3])) == {NO_CHANGE, SAME_EFFECT}
