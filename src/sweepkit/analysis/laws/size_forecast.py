"""What larger sizes will reach, from the smallest ones, with intervals, and the score where they have run.

The surface is fitted with a weak prior (``bent_surface.py``). What the same procedure misses when it is held
out *within* the sizes it was given (all but the largest → the largest) is measured and widens the interval,
in proportion to the distance in log N.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweepkit import errors
from sweepkit.analysis.laws import bent_surface
from sweepkit.analysis.laws.bent_surface import Bent, Runs
from sweepkit.analysis.laws.intervals import CONFIDENCE, Floats, Interval, t_limit

NUM_SIZES = 3
#: Sizes within this factor are one.
SAME_SIZE = 1.02
#: Relative SD per unit of log N where two sizes leave none to try the forecast on: what is missed on ladders
#: that have run, their root mean square (0.5 to 0.9% of published ones, 3.5% of the mini ladder).
UNTRIED = 0.02


@dataclass(frozen=True)
class Forecast:
    """One point beyond the sizes that were fitted.

    Attributes:
        loss: None where it has not run.
        expected, interval: the forecast of one run.
        error: loss / expected − 1.
        no_change: what the largest fitted size reached at the nearest number of tokens a parameter.
    """

    params: float
    tokens: float | None
    loss: float | None
    expected: float
    interval: Interval
    error: float | None
    is_inside: bool | None
    no_change: float


@dataclass(frozen=True)
class Score:
    """How forecasts of sizes that have run did, by point and by size: points of a size miss together.

    Attributes:
        log_score: mean log density of log loss (larger is better), and the same for *no change*.
    """

    num_points: int
    num_sizes: int
    mean_abs_error: float
    max_abs_error: float
    coverage: float
    sizes_covered: int
    log_score: float
    no_change_abs_error: float


@dataclass(frozen=True)
class SizeForecast:
    """Forecasts, the surface they come from, and their score.

    Attributes:
        fitted_sizes: parameters of the sizes that were fitted.
        noise_sd, size_sd: relative; of a run, and of a size about the surface.
        backtest_error: relative error of the largest fitted size, forecast from the others; None for two.
        terms: of the surface's constants, the value and the interval of draws.
    """

    fitted_sizes: list[float]
    num_fitted: int
    constants: dict[str, tuple[float, Interval]]
    noise_sd: float
    size_sd: float
    backtest_error: float | None
    forecasts: list[Forecast]
    score: Score | None
    fitted_rows: list[tuple[float, float | None, float, float]]
    notes: list[str]


def sizes_of(params_N: Floats) -> Floats:
    """The size of each run: those within 2% of a smaller one are the same one, by their mean."""
    order = np.argsort(params_N)
    label = np.zeros(len(params_N), dtype=int)
    last = params_N[order[0]]
    for before, row in itertools.pairwise(order):
        is_new = params_N[row] > last * SAME_SIZE
        label[row] = label[before] + is_new
        last = params_N[row] if is_new else last
    return np.array([params_N[label == own].mean() for own in label])


def forecast(
    params_N: Floats,
    tokens_N: Floats | None,
    loss_N: Floats,
    num_sizes: int = NUM_SIZES,
    more: Sequence[tuple[float, float | None]] = (),
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> SizeForecast:
    """Fit the smallest sizes and forecast every larger one in the table, and the points asked for beside.

    Args:
        tokens_N: None where every run of a size saw as many. Where all runs saw as many and as many are asked
            for, the law is one of size alone; what others would do is told by the prior.
        loss_N: above 0; NaN for a point that has not run.
        num_sizes: how many of the smallest sizes are fitted.
        more: (parameters, tokens) to forecast.

    Raises:
        ConfigError: fewer sizes than asked for, or nothing to forecast.
    """
    params_N = np.asarray(params_N, dtype=float)
    token_N = np.ones(len(params_N)) if tokens_N is None else np.asarray(tokens_N, dtype=float)
    asked = [] if tokens_N is None else [token for _, token in more if token is not None]
    varies, has_tokens = (bool(np.ptp(np.log(item)) > 1e-6) for item in (token_N, [*token_N, *asked]))
    ran_N, size_N = np.isfinite(loss_N), sizes_of(params_N)
    known = np.unique(size_N[ran_N])
    if num_sizes < 2:
        raise errors.invalid("--sizes", num_sizes, "be 2 or more: one size shows no law", "fit more sizes")
    if len(known) < num_sizes:
        contract = f"be {num_sizes} or more that have run"
        raise errors.invalid("sizes", len(known), contract, "lower --sizes, or run more")
    fitted_N = ran_N & (size_N <= known[num_sizes - 1])
    if missing := [item for item in more if item[1] is None] if varies else []:
        raise errors.invalid("--at", missing[0][0], "name tokens too", "write --at PARAMS,TOKENS")
    held = [(params_N[row], token_N[row], loss_N[row]) for row in np.flatnonzero(~fitted_N)]
    held += [(size, token or float(token_N[0]), math.nan) for size, token in more]
    if not held:
        remedy = "lower --sizes, or name points with --at PARAMS,TOKENS"
        raise errors.invalid("sizes", num_sizes, "leave something to forecast", remedy)
    middle = float(np.median(np.log(loss_N[fitted_N])))  # the fit knows no unit
    y_N = np.log(np.where(ran_N, loss_N, 1.0)) - middle
    runs = Runs(params_N, token_N, y_N, size_N, has_tokens).where(fitted_N)
    to_H, tokens_H, loss_H = np.array(held, dtype=float).T
    weighed = [
        (weight, bent, bent_surface.draws(bent, runs, seed)) for weight, bent in bent_surface.fits(runs)
    ]
    mean_H, sd_H = _mixed(weighed, to_H, tokens_H)
    mean_H = mean_H + middle
    backtest, slack = _backtest(runs)
    distance_H = np.maximum(np.log(to_H / runs.params_N.max()), 0.0)
    sd_H = np.hypot(sd_H, slack * distance_H)
    _, bent, draws_SP = max(weighed, key=lambda item: item[0])
    limit = t_limit(max(num_sizes + 1, 3), confidence)
    nearest_H = np.exp(_no_change(runs, to_H, tokens_H) + middle)
    forecasts = [
        _point(size, None if tokens_N is None else token, loss, mean, limit * sd, nearest, confidence)
        for size, token, loss, mean, sd, nearest in zip(
            to_H, tokens_H, loss_H, mean_H, sd_H, nearest_H, strict=True
        )
    ]
    forecasts.sort(key=lambda item: (item.params, item.tokens or 0.0))
    fitted = np.exp(bent.log_at(runs.params_N, runs.tokens_N) + middle)
    return SizeForecast(
        [float(size) for size in known[:num_sizes]],
        int(fitted_N.sum()),
        _constants(bent, draws_SP, middle, has_tokens, confidence),
        bent.noise_sd,
        bent.size_sd,
        backtest,
        forecasts,
        _score(to_H, loss_H, mean_H, sd_H, nearest_H, limit),
        [
            (float(size), float(token) if has_tokens else None, math.exp(y + middle), float(mean))
            for size, token, y, mean in zip(runs.params_N, runs.tokens_N, runs.y_N, fitted, strict=True)
        ],
        _notes(runs),
    )


def _mixed(
    weighed: Sequence[tuple[float, Bent, Floats]], to_H: Floats, tokens_H: Floats
) -> tuple[Floats, Floats]:
    """Mean and SD of one run's log loss: what each surface does not know, and what they differ by."""
    weight_M = np.array([weight for weight, _, _ in weighed])[:, None]
    mean_MH = np.stack([bent.log_at(to_H, tokens_H) for _, bent, _ in weighed])
    spread_MH = np.stack([bent.log_at(to_H, tokens_H, draws_SP).std(axis=0) for _, bent, draws_SP in weighed])
    own_M = np.array([np.hypot(bent.noise_sd, bent.size_sd) for _, bent, _ in weighed])[:, None]
    mean_H = (weight_M * mean_MH).sum(axis=0)
    variance_H = (weight_M * (spread_MH**2 + own_M**2 + (mean_MH - mean_H) ** 2)).sum(axis=0)
    return mean_H, np.sqrt(variance_H)


def _backtest(runs: Runs) -> tuple[float | None, float]:
    """The largest size from the others: mean relative error, and what it adds to an SD per unit of log N."""
    sizes = np.unique(runs.size_N)
    if len(sizes) < 3:
        return None, UNTRIED
    is_below = runs.size_N < sizes[-1]
    last = runs.where(~is_below)
    expected_N = sum(
        weight * bent.log_at(last.params_N, last.tokens_N)
        for weight, bent in bent_surface.fits(runs.where(is_below))
    )
    error = float(np.mean(last.y_N - expected_N))
    return error, abs(error) / max(math.log(sizes[-1] / sizes[-2]), 0.3)


def _no_change(runs: Runs, to_H: Floats, tokens_H: Floats) -> Floats:
    """log loss of the largest fitted size at the nearest tokens a parameter."""
    largest = runs.where(runs.size_N == runs.size_N.max())
    ratio_N, wanted_H = np.log(largest.tokens_N / largest.params_N), np.log(tokens_H / to_H)
    nearest_H = np.abs(ratio_N[None] - wanted_H[:, None]).argmin(axis=1)
    found: Floats = largest.y_N[nearest_H]
    return found


def _point(
    params: float,
    tokens: float | None,
    loss: float,
    mean: float,
    half: float,
    nearest: float,
    confidence: float,
) -> Forecast:
    interval = Interval(math.exp(mean - half), math.exp(mean + half), confidence)
    expected, ran = math.exp(mean), math.isfinite(loss)
    return Forecast(
        float(params),
        None if tokens is None else float(tokens),
        float(loss) if ran else None,
        expected,
        interval,
        float(loss / expected - 1) if ran else None,
        bool(interval.holds(loss)) if ran else None,
        float(nearest),
    )


def _score(
    to: Floats, losses: Floats, mean_H: Floats, sd_H: Floats, nearest: Floats, limit: float
) -> Score | None:
    ran = np.isfinite(losses)
    if not ran.any():
        return None
    off = np.log(losses[ran]) - mean_H[ran]
    inside = np.abs(off) <= limit * sd_H[ran]
    sizes = sizes_of(to[ran])
    density = -0.5 * (off / sd_H[ran]) ** 2 - np.log(sd_H[ran] * math.sqrt(2 * math.pi))
    error = np.abs(np.expm1(off))
    return Score(
        int(ran.sum()),
        len(np.unique(sizes)),
        float(error.mean()),
        float(error.max()),
        float(inside.mean()),
        sum(bool(inside[sizes == size].all()) for size in np.unique(sizes)),
        float(density.mean()),
        float(np.abs(losses[ran] / nearest[ran] - 1).mean()),
    )


def _constants(
    bent: Bent, draws_SP: Floats, middle: float, has_tokens: bool, confidence: float
) -> dict[str, tuple[float, Interval]]:
    """E, α, β and the bend with their intervals; ``middle``: what log losses were measured from."""
    logs = {"E": (2, middle), "alpha": (3, 0.0)} | ({"beta": (4, 0.0)} if has_tokens else {})
    found = {
        name: (
            math.exp(bent.theta_P[place] + zero),
            Interval.of_draws(np.exp(draws_SP[:, place] + zero), confidence),
        )
        for name, (place, zero) in logs.items()
    }
    if len(bent.theta_P) > 5:
        found["bend"] = (float(bent.theta_P[5]), Interval.of_draws(draws_SP[:, 5], confidence))
    return found


def _notes(runs: Runs) -> list[str]:
    notes = []
    sizes = np.unique(runs.size_N)
    lows = [float(runs.y_N[runs.size_N == size].min()) for size in (sizes[0], sizes[-1])]
    if lows[1] > lows[0]:
        notes.append(
            "the largest fitted size is worse than the smallest, and a law can only fall: is this a loss?"
        )
    if not runs.has_tokens:
        notes.append("tokens do not vary, or none are named: a law of size alone")
    elif float(np.ptp(np.log(runs.tokens_N))) < math.log(SAME_SIZE):
        notes.append("the fitted runs saw as many tokens: the two terms are told apart by the prior alone")
    elif abs(float(np.corrcoef(np.log(runs.params_N), np.log(runs.tokens_N))[0, 1])) > 0.98:
        notes.append("tokens follow size in these runs: the two terms are told apart by the prior alone")
    if float(np.ptp(np.log(np.unique(runs.size_N)))) < math.log(2):
        notes.append("the fitted sizes lie within a factor of 2: what is far beyond rests on the prior")
    return notes
