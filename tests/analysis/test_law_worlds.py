"""Bias and coverage of every estimator in made-up worlds: clean, off-centre, heavy-tailed, of a wrong law.

``pytest -rP`` prints what docs/laws.md quotes; SWEEPKIT_TEST_FULL draws ten times as many worlds.
"""

from __future__ import annotations

import numpy as np
import pytest

import sample
from sweepkit.analysis.laws import compute_optimal, isoflop, surface
from sweepkit.analysis.laws.critical_batch import critical_batches
from sweepkit.analysis.laws.intervals import Interval, ratio
from sweepkit.analysis.laws.optima import optima
from sweepkit.analysis.laws.power_law import power_law
from sweepkit.analysis.laws.ridge import ridges
from sweepkit.analysis.laws.size_forecast import forecast

RNG = np.random.default_rng
LRS = 0.02 * 2.0 ** np.arange(-3, 4)


def worlds(few: int) -> int:
    return few * 10 if sample.is_full() else few


def enough(hits: int, of: int, chance: float) -> bool:
    """Whether so many hits are within four binomial standard errors of the chance, or above it."""
    return hits / of >= chance - 4 * np.sqrt(chance * (1 - chance) / of)


def test_a_ratio_is_covered_by_fieller_whatever_its_size() -> None:
    """Also where the denominator is two standard errors from 0 and half of the sets have no end."""
    rng, cov = RNG(0), np.array([[1.0, 0.3], [0.3, 1.0]])
    hits = unbounded = 0
    for _ in range(2000):
        top, bottom = rng.multivariate_normal([2.0, 2.0], cov)
        if bottom <= 0:  # no minimum is claimed then
            hits += 1
            continue
        found, _ = ratio(top, bottom, cov, 60)
        hits += found.holds(1.0)
        unbounded += not found.is_bounded
    print(f"Fieller: {hits / 2000:.3f} covered, {unbounded / 2000:.2f} unbounded")
    assert enough(hits, 2000, 0.95) and unbounded > 400


VALLEYS = {
    # shift of the optimum in log lr, noise, degrees of freedom of t noise, cubic
    "centred": (0.0, 0.004, 0, 0.0),
    "off centre": (1.2, 0.004, 0, 0.0),
    "heavy tails": (0.2, 0.003, 3, 0.0),
    "flat": (0.2, 0.03, 0, 0.0),
    "crooked": (0.2, 0.004, 0, 0.004),
}


@pytest.mark.parametrize("name", VALLEYS)
def test_the_best_value_of_a_valley(name: str) -> None:
    shift, sd, tails, cubic = VALLEYS[name]
    rng, num = RNG(1), worlds(120)
    hits = bounded = censored = 0
    off = []
    for _ in range(num):
        z = np.tile(np.log(LRS / 0.02), 3)
        seeds = np.repeat(["1", "2", "3"], len(LRS))
        noise = rng.standard_t(tails, len(z)) if tails else rng.standard_normal(len(z))
        loss = 1 + 0.02 * (z - shift) ** 2 + cubic * (z - shift) ** 3 + sd * noise
        loss += 0.05 * np.repeat(rng.standard_normal(3), len(LRS))
        (found,) = optima(0.02 * np.exp(z), loss, seeds=list(seeds))
        hits += found.interval.holds(0.02 * np.exp(shift))
        bounded += found.interval.is_bounded
        censored += bool(found.censored)
        if found.has_value and found.value is not None:
            off.append(np.log(found.value / 0.02) - shift)
    shares = f"{hits / num:.2f} covered, {bounded / num:.2f} bounded"
    print(f"{name}: {shares}, {censored} censored, median off by {np.median(off):+.3f}")
    if name == "crooked":  # the region narrows, and a bias of a fraction of a level stays: docs/laws.md
        assert abs(np.median(off)) < 0.15
    else:
        assert enough(hits, num, 0.95)
        assert abs(np.median(off)) < 0.1
    assert bounded / num < 0.6 if name == "flat" else bounded / num > 0.8


def test_an_optimum_beyond_the_grid_is_censored_and_the_grid_extended() -> None:
    z = np.log(LRS)
    for side in (1, -1):
        best = z.mean() + side * 3
        (found,) = optima(LRS, 1 + 0.02 * (z - best) ** 2)
        assert found.censored == ("above" if side > 0 else "below")
        assert found.value == pytest.approx(LRS[-1] if side > 0 else LRS[0])
        assert found.extend_to is not None
        assert (found.extend_to > LRS[-1] * 2) if side > 0 else (found.extend_to < LRS[0] / 2)


def test_a_level_that_diverged_is_a_cliff_and_no_reason_to_go_on() -> None:
    loss = 1 + 0.02 * (np.log(LRS / 0.02) - 1.5) ** 2
    loss[-1] = np.inf
    (found,) = optima(LRS, loss)
    assert found.cliff is not None and found.cliff.drop is None
    assert (found.cliff.edge, found.cliff.beyond) == pytest.approx((LRS[-2], LRS[-1]))
    assert found.extend_to is None and found.levels[-1].loss is None


def test_one_curvature_for_all_gives_groups_of_three_levels_an_interval() -> None:
    rng = RNG(2)
    lr = np.tile([0.01, 0.02, 0.04], 4)
    group = np.repeat(["d2", "d3", "d4", "d6"], 3)
    best = np.repeat([0.015, 0.02, 0.022, 0.025], 3)
    loss = 1 + 0.05 * np.log(lr / best) ** 2 + 0.0005 * rng.standard_normal(12)
    found = optima(lr, loss, list(group))
    assert [item.group for item in found] == ["d2", "d3", "d4", "d6"]
    assert all(item.interval.holds(truth) for item, truth in zip(found, best[::3], strict=True))
    assert found[0].df == 3 and "shared" in found[0].notes[0]


@pytest.mark.parametrize("scatter", [0.0, 0.15])
@pytest.mark.parametrize("is_censored", [False, True])
def test_a_law_and_the_rule_that_it_is_held_against(scatter: float, is_censored: bool) -> None:
    rng, num = RNG(3), worlds(4 if is_censored else 200)
    width, error = np.array([256, 512, 768, 1024, 1536.0]), np.array([0.05, 0.05, 0.2, 0.1, 0.1])
    hits = contradicted = 0
    off = []
    for _ in range(num):
        truth = -1.0 * np.log(width) + scatter * rng.standard_normal(5)
        seen = truth + error * rng.standard_normal(5)
        sides = [""] * 5
        if is_censored:
            bound = -1.0 * np.log(width[-1]) - 0.1
            sides[-1], seen[-1] = ("above", bound) if truth[-1] > bound else ("below", bound)
        law = power_law(width, np.exp(seen), error, sides, rule=-1.0)
        hits += law.interval.holds(-1.0)
        contradicted += law.rule_p is not None and law.rule_p < 0.05
        off.append(law.exponent + 1)
    shares = f"{hits / num:.3f} covered, {contradicted / num:.3f} contradicted"
    print(f"scatter {scatter}, censored {is_censored}: {shares}, off by {np.mean(off):+.3f}")
    assert enough(hits, num, 0.95) and abs(np.mean(off)) < 0.12
    assert contradicted / num <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / num)


def test_an_uncensored_likelihood_is_the_t_interval() -> None:
    """The censored road at a bound that says nothing gives what least squares give."""
    width = np.array([256, 512, 768, 1024.0])
    value = np.array([0.4, 0.21, 0.13, 0.105])
    plain = power_law(width, value)
    far = power_law(np.append(width, 2048.0), np.append(value, 1e6), censored=["", "", "", "", "below"])
    for one, other in zip(
        (plain.interval.low, plain.interval.high), (far.interval.low, far.interval.high), strict=True
    ):
        assert one == pytest.approx(other, abs=0.01)


@pytest.mark.parametrize("true_slope", [0.5, 0.0])
def test_a_ridge_of_two_axes(true_slope: float) -> None:
    rng, num = RNG(4), worlds(60)
    u, v = (axis.ravel() for axis in np.meshgrid(np.arange(-3, 3) * np.log(2), np.arange(-2, 4) * np.log(2)))
    hits = best = 0
    for _ in range(num):
        across = u - true_slope * (v - 0.4) - 0.2
        loss = 3 + 0.05 * across**2 + 0.01 * (v - 0.4) ** 2 + 0.004 * rng.standard_normal(len(u))
        ((found,), _) = ridges(np.exp(u), np.exp(v), loss)
        hits += found.slope_interval.holds(true_slope)
        best += found.intervals is not None and all(
            interval.holds(np.exp(truth)) for interval, truth in zip(found.intervals, (0.2, 0.4), strict=True)
        )
    print(f"ridge {true_slope}: {hits / num:.2f} covered, both values {best / num:.2f}")
    assert enough(hits, num, 0.95) and enough(best, num, 0.9)


@pytest.mark.parametrize(("batches", "horizons", "step", "sd"), [(8, 6, 2.0, 0.005), (4, 3, 4.0, 0.002)])
def test_a_critical_batch(batches: int, horizons: int, step: float, sd: float) -> None:
    """Of a line between horizons a factor of 4 apart, which lies above what is convex, 52% were covered."""
    rng, num = RNG(5), worlds(100)
    batch = np.repeat(2.0 ** np.arange(12, 12 + batches), horizons)
    tokens = np.tile(2.0**24 * step ** np.arange(horizons), batches)
    critical = 2.0 ** (12 + batches / 2)
    hits, off = 0, []
    for _ in range(num):
        loss = 2 + (tokens / (1 + batch / critical) / 1e7) ** -0.3 * np.exp(
            sd * rng.standard_normal(len(batch))
        )
        (item,) = critical_batches(batch, tokens, loss, targets=(2.75,))
        hits += item.interval.holds(critical)
        off.append(np.log((item.batch or np.inf) / critical))
    print(f"critical batch: {hits / num:.2f} covered, off by {np.median(off):+.3f}")
    assert enough(hits, num, 0.9) and abs(np.median(off)) < 0.04


def test_a_batch_that_costs_nothing_has_no_upper_end() -> None:
    rng = RNG(6)
    batch, tokens = np.repeat(2.0 ** np.arange(10, 14), 4), np.tile(2.0 ** np.arange(24, 28), 4)
    loss = 2 + (tokens / 1e7) ** -0.3 + 0.002 * rng.standard_normal(16)
    assert all(item.interval.high is None for item in critical_batches(batch, tokens, loss))


def ladder(rng: np.random.Generator, exponents: tuple[float, float] = (0.34, 0.28)) -> tuple[np.ndarray, ...]:
    """Three sizes by five horizons, and four times the largest; sizes scatter by 0.3%, runs by 0.1%."""
    sizes = 1e8 * 2.0 ** np.arange(5)
    sizes = sizes[[0, 1, 2, 4]]
    params, ratios = np.repeat(sizes, 5), np.tile([10.0, 20, 40, 100, 200], 4)
    alpha, beta = (value * np.exp(0.2 * rng.standard_normal()) for value in exponents)
    floor = 1.8 * np.exp(0.1 * rng.standard_normal())
    loss = floor + 0.6 * (params / 2e8) ** -alpha + 0.7 * (params * ratios / 8e9) ** -beta
    off = 0.003 * np.repeat(rng.standard_normal(4), 5) + 0.001 * rng.standard_normal(20)
    return params, params * ratios, loss * np.exp(off)


WORLDS = ("surface", "product", "no floor")


@pytest.mark.parametrize("name", WORLDS)
def test_a_forecast_to_four_times_the_size(name: str) -> None:
    rng, num = RNG(7), worlds(2)
    hits = of = sizes = 0
    error = []
    for _ in range(num):
        params, tokens, loss = ladder(rng)
        if name == "product":  # not the law that is fitted: terms multiply, and bend
            ratio_ = np.log(tokens / params / 40)
            loss = (
                1.7
                + 1.2 * (params / 2e8) ** -0.25 * np.exp(-0.1 * ratio_ + 0.015 * ratio_**2)
                + (loss - loss.mean()) * 0.0
            )
            loss *= np.exp(0.002 * np.repeat(rng.standard_normal(4), 5) + 0.001 * rng.standard_normal(20))
        elif name == "no floor":
            loss = (
                3.0
                * (params / 2e8) ** -0.07
                * (tokens / 8e9) ** -0.06
                * np.exp(0.001 * rng.standard_normal(20))
            )
        found = forecast(params, tokens, loss)
        assert found.score is not None
        hits += round(found.score.coverage * found.score.num_points)
        sizes += found.score.sizes_covered
        of += found.score.num_points
        error.append(found.score.mean_abs_error)
    mean, worst = 100 * np.mean(error), 100 * np.max(error)
    print(
        f"{name}: off by {mean:.2f}% ({worst:.2f}% at worst), {hits / of:.2f} inside, "
        f"{sizes} of {num} sizes whole"
    )
    assert np.mean(error) < (0.04 if name == "no floor" else 0.015)
    assert hits / of > 0.85


def test_a_law_of_size_alone_needs_no_tokens() -> None:
    params = 1e8 * 2.0 ** np.arange(5)
    loss = 1.9 + 0.9 * (params / 2e8) ** -0.3
    found = forecast(params, None, loss, more=[(1e10, None)])
    assert found.score is not None and found.score.max_abs_error < 0.01
    assert found.forecasts[-1].loss is None and found.forecasts[-1].interval.holds(1.9 + 0.9 * 50**-0.3)


ALPHA, BETA = 0.25, 0.5


def isoflop_runs(
    first: float, last: float, rng: np.random.Generator | None = None, sd: float = 0.0
) -> tuple[np.ndarray, ...]:
    """Five budgets of seven sizes about a multiple of the best one, from ``first`` to ``last``."""
    flops = np.repeat(np.geomspace(1e18, 1e21, 5), 7)
    truth = surface.Surface(1.8, 60.0, 30_000.0, ALPHA, BETA, 0.0, np.empty(0))
    centre = np.repeat(np.geomspace(first, last, 5), 7)
    params = truth.best_params(flops) * centre * np.tile(np.geomspace(0.25, 4, 7), 5)
    loss = truth.at(params, flops / 6 / params)
    return (
        params,
        flops / 6 / params,
        flops,
        loss if rng is None else loss * np.exp(sd * rng.standard_normal(35)),
    )


def test_the_parabola_is_off_where_sizes_are_off_centre_and_the_fit_says_by_how_much() -> None:
    """Sizes that drift past the best one bend approach 2's exponent without noise; approach 3 is exact."""
    found = compute_optimal.compute_optimal(*isoflop_runs(0.5, 2.0), replicates=5)
    assert found.surface.alpha == pytest.approx(ALPHA, abs=1e-3)
    for item in found.budgets:
        assert item.bias is not None and item.best.value is not None
        measured = np.log(item.best.value / item.surface_params)
        assert measured == pytest.approx(item.bias, abs=2e-3)
    assert found.parabola_exponent is not None and found.parabola_bias is not None
    off = found.parabola_exponent.value - found.surface.params_exponent
    print(
        f"drifting sizes: parabolas off by {off:+.4f} in the exponent, said to be {found.parabola_bias:+.4f}"
    )
    assert off == pytest.approx(found.parabola_bias, abs=5e-5)
    assert abs(off) > 1e-4


@pytest.mark.parametrize("name", ["even", "drifting"])
def test_both_approaches_cover_the_exponent(name: str) -> None:
    """Sizes evenly about each budget's best one, or drifting from half of it to twice."""
    num, ends = worlds(3 if name == "even" else 2), (1.0, 1.0) if name == "even" else (0.5, 2.0)
    truth = BETA / (ALPHA + BETA)
    hits = dict.fromkeys(("surface", "parabolas by bootstrap", "parabolas by t"), 0)
    off: list[tuple[float, float]] = []
    for world in range(num):
        params, tokens, flops, loss = isoflop_runs(*ends, RNG(100 + world), 0.003)
        found = compute_optimal.compute_optimal(params, tokens, flops, loss, replicates=40, seed=world)
        assert found.parabola_exponent is not None and found.parabolas is not None
        hits["surface"] += found.constants["params_exponent"].interval.holds(truth)
        hits["parabolas by bootstrap"] += found.parabola_exponent.interval.holds(truth)
        hits["parabolas by t"] += found.parabolas["params"].interval.holds(truth)
        off.append((found.surface.params_exponent - truth, found.parabola_exponent.value - truth))
    means = np.mean(off, axis=0)
    shares = ", ".join(f"{key} {value / num:.2f}" for key, value in hits.items())
    print(f"{name}, {num} worlds: {shares} covered; off by {means[0]:+.4f} and {means[1]:+.4f}")
    assert min(hits.values()) / num > 0.6
    assert np.abs(means).max() < 0.03


def test_trunks_are_drawn_whole() -> None:
    """Checkpoints of a trunk share its luck: drawn apart, they would promise more than they know."""
    rng = RNG(8)
    params, tokens, flops, loss = isoflop_runs(1.0, 1.0)
    trunk = np.repeat(np.arange(7), 5)
    loss = loss * np.exp(0.01 * rng.standard_normal(7)[trunk])
    sds = {
        name: compute_optimal.compute_optimal(params, tokens, flops, loss, trunks, replicates=60)
        .constants["alpha"]
        .sd
        for name, trunks in (("runs", None), ("trunks", [str(item) for item in trunk]))
    }
    assert sds["runs"] is not None and sds["trunks"] is not None
    assert sds["trunks"] > sds["runs"]
    twice = [np.append(values, values[0]) for values in (params, tokens, flops, loss)]
    twice[3][-1] *= 1.05  # not warmed down
    names = [str(item) for item in (*trunk, trunk[0])]
    found = compute_optimal.compute_optimal(*twice, names, replicates=2)
    assert any("not warmed down" in note and "1 point " in note for note in found.notes)


def test_budgets_are_told_apart_by_their_flops() -> None:
    flops = np.array([1e18, 1.01e18, 0.97e18, 3e18, 3.1e18])
    assert len(np.unique(isoflop.budgets_of(flops))) == 2
    assert Interval(None, 3.0).holds(-1e9) and not Interval(None, 3.0).holds(3.1)
