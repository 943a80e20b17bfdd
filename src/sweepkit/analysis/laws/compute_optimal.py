"""Which size is best for a budget: parabolas through each budget's runs beside a surface through all runs.

Approach 2 is ``isoflop.py``, approach 3 the surface itself (``surface.py``). Intervals are of bootstraps over
runs, or over trunks where several runs share one: the surface's draws runs, the parabolas' the signs of their
residuals. Every way of counting parameters is fitted by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweepkit import errors
from sweepkit.analysis.laws import isoflop, surface
from sweepkit.analysis.laws.intervals import CONFIDENCE, Floats, Interval, unit_of
from sweepkit.analysis.laws.isoflop import Budget
from sweepkit.analysis.laws.power_law import Law
from sweepkit.analysis.laws.surface import Surface
from sweepkit.printable import counted

REPLICATES = 200
_SHOWN_INFLUENCE = 8
#: Runs beyond so many are not each left out; those with the largest residuals are.
_LEFT_OUT = 40
#: FLOPs / (N·D) of all runs lie within this factor, or it is said.
_ONE_FACTOR = 1.1
#: FLOPs / (N·D) and tokens a parameter of any language model, by any way of counting.
_FACTORS, _RATIOS = (0.5, 500.0), (0.01, 1e5)


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval and SD."""

    value: float
    interval: Interval
    sd: float | None


@dataclass(frozen=True)
class Without:
    """The surface's exponents where runs are left out."""

    runs: str
    num_left_out: int
    e: float
    alpha: float
    beta: float
    params_exponent: float


@dataclass(frozen=True)
class ComputeOptimal:
    """Both approaches for one way of counting parameters.

    Attributes:
        parabolas: approach 2's laws of parameters and tokens in FLOPs; None with fewer than three budgets.
        parabola_exponent: the first of them with a bootstrap interval.
        parabola_bias: of that exponent, in noiseless losses of the surface.
        constants: E, A, B, alpha, beta, params_exponent, tokens_exponent of approach 3.
        flops_per_param_token: k in C = k·N·D, the runs' median.
        ratios: FLOPs → tokens a parameter at the best size, by approach 3.
        influence: what leaving runs out changes, the largest changes first.
    """

    counting: str
    num_runs: int
    resampled: str
    surface: Surface
    constants: dict[str, Estimate]
    flops_per_param_token: float
    budgets: list[Budget]
    parabolas: dict[str, Law] | None
    parabola_exponent: Estimate | None
    parabola_bias: float | None
    ratios: dict[float, Estimate]
    influence: list[Without]
    params_N: Floats
    tokens_N: Floats
    notes: list[str]


def compute_optimal(
    params_N: Floats,
    tokens_N: Floats,
    flops_N: Floats | None,
    loss_N: Floats,
    trunks: Sequence[str] | None = None,
    counting: str = "params",
    left_out: tuple[Floats, Floats, Floats] | None = None,
    delta: float = surface.HUBER_DELTA,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> ComputeOptimal:
    """Fit both approaches.

    Args:
        flops_N: training FLOPs; None: 6·N·D.
        trunks: what each run branched off, where several share one; the bootstrap draws trunks.
        left_out: size, tokens and loss of runs that were dropped before; what they would change is shown.
        delta: of the Huber loss on log loss.

    Raises:
        ConfigError: too few runs, or sizes and tokens that do not vary on their own.
    """
    params_N, tokens_N, loss_N = (np.asarray(item, dtype=float) for item in (params_N, tokens_N, loss_N))
    flops_N = 6 * params_N * tokens_N if flops_N is None else np.asarray(flops_N, dtype=float)
    if len(params_N) < 7:
        raise errors.invalid(
            "runs", len(params_N), "be seven or more for five constants", "run more sizes and budgets"
        )
    for name, values in (("--params", params_N), ("tokens", tokens_N)):
        if np.ptp(np.log(values)) < 1e-6:
            contract = "vary, for the surface is of both parameters and tokens"
            raise errors.invalid(
                name, float(values[0]), contract, "run others too, or use --forecast, or --axis"
            )
    apart = abs(float(np.corrcoef(np.log(params_N), np.log(tokens_N))[0, 1]))
    if not apart < 0.999:
        remedy = "run sizes at other ratios of tokens to parameters, or use --forecast, which has a prior"
        raise errors.invalid("tokens", "in a fixed ratio to parameters", "vary on their own", remedy)
    factor_N = flops_N / (params_N * tokens_N)
    factor = float(np.median(factor_N))
    found = surface.fit(params_N, tokens_N, loss_N, delta)
    weights_SN = _resampled(len(params_N), trunks, replicates, seed)
    draws = surface.refits(found, params_N, tokens_N, loss_N, weights_SN, delta)
    budget_N = isoflop.budgets_of(flops_N)
    level_N, said = isoflop.at_budget(params_N, tokens_N, flops_N, loss_N, budget_N, found)
    parabolas, laws, notes = isoflop.by_parabolas(params_N, level_N, budget_N, found, factor, confidence)
    exponent, bias = None, None
    if laws is not None:
        value = laws["params"].exponent
        signs_SN = _signs(len(params_N), trunks, replicates, seed)
        draws_S = isoflop.exponents(parabolas, laws["params"], params_N, level_N, budget_N, signs_SN)
        exponent = _estimate(value, draws_S, confidence)
        bias = isoflop.bias_of_exponent(parabolas)
    num = len(set(trunks)) if trunks is not None else len(params_N)
    return ComputeOptimal(
        counting,
        len(params_N),
        f"{num} {'trunks' if trunks is not None else 'runs'}, {replicates} times",
        found,
        _constants(found, draws, confidence),
        factor,
        parabolas,
        laws,
        exponent,
        bias,
        _ratios(found, draws, budget_N, factor, confidence),
        _influence(found, params_N, tokens_N, loss_N, delta, left_out),
        params_N,
        tokens_N,
        [
            *_units(params_N, tokens_N, factor),
            *_factors(factor_N),
            *said,
            *notes,
            *_undecayed(params_N, tokens_N, loss_N, trunks),
        ],
    )


def _units(params_N: Floats, tokens_N: Floats, factor: float) -> list[str]:
    """A sentence where parameters, tokens and FLOPs are hardly counts: FLOPs of 6·N·D would be none."""
    ratio = float(np.median(tokens_N / params_N))
    what = [
        f"{says} {value:.3g}"
        for says, value, (low, high) in (
            ("FLOPs / (N·D) is", factor, _FACTORS), ("tokens a parameter are", ratio, _RATIOS)
        )
        if not low <= value <= high
    ]  # fmt: skip
    if not what:
        return []
    return [
        f"{' and '.join(what)} in the middle: are all three counted in ones, and tokens no steps? Ratios and "
        "FLOPs here are in the table's units, and exponents hold only where each unit is one for all runs"
    ]


def _factors(factor_N: Floats) -> list[str]:
    """A sentence where C = k·N·D has no one k: the parabolas' budgets are FLOPs, the surface's are N·D."""
    low, high = float(factor_N.min()), float(factor_N.max())
    if high < _ONE_FACTOR * low:
        return []
    return [
        f"FLOPs are from {low:.3g} to {high:.3g} times N·D: the surface's best sizes, and all tokens a "
        "parameter, are by the median; parabolas are by what every run had"
    ]


def _undecayed(params_N: Floats, tokens_N: Floats, loss_N: Floats, trunks: Sequence[str] | None) -> list[str]:
    """A sentence where a trunk has two losses at one size and horizon: one of them was not warmed down."""
    if trunks is None:
        return []
    places: dict[tuple[str, float, float], set[float]] = {}
    for point in zip(trunks, params_N, tokens_N, loss_N, strict=True):
        places.setdefault(point[:3], set()).add(point[3])
    twice = [trunk for (trunk, _, _), losses in places.items() if len(losses) > 1]
    if not twice:
        return []
    return [
        f"{counted(len(twice), 'point')} of a trunk ({twice[0]}, say) with two losses at one size and "
        "number of tokens: a checkpoint that was not warmed down is no run, and beside one that was no "
        "interval holds; leave it out (--where)"
    ]


def _places(num_runs: int, trunks: Sequence[str] | None) -> npt.NDArray[np.intp]:
    """What each run is drawn with: its trunk, or itself."""
    return np.arange(num_runs) if trunks is None else np.unique(list(trunks), return_inverse=True)[1]


def _signs(num_runs: int, trunks: Sequence[str] | None, replicates: int, seed: int) -> Floats:
    """1 or −1 for each run in each replicate, one for all runs of a trunk, (S, N)."""
    place_N = _places(num_runs, trunks)
    drawn = np.random.default_rng(seed).integers(0, 2, (replicates, int(place_N.max()) + 1))
    return (2.0 * drawn - 1)[:, place_N]


def _resampled(num_runs: int, trunks: Sequence[str] | None, replicates: int, seed: int) -> Floats:
    """How often each run counts in each replicate, (S, N)."""
    rng = np.random.default_rng(seed)
    labels = _places(num_runs, trunks)
    num = int(labels.max()) + 1
    return rng.multinomial(num, np.full(num, 1 / num), size=replicates)[:, labels].astype(float)


def _sd(draws: Floats) -> float | None:
    there = draws[np.isfinite(draws)]
    unit = unit_of(there)
    return float((there / unit).std(ddof=1)) * unit if len(there) > 2 else None


def _estimate(value: float, draws: Floats, confidence: float) -> Estimate:
    return Estimate(value, Interval.of_draws(draws, confidence), _sd(draws))


def _constants(found: Surface, draws: Sequence[Surface], confidence: float) -> dict[str, Estimate]:
    read: dict[str, Callable[[Surface], float]] = {
        "E": lambda item: item.e,
        "A": lambda item: item.a,
        "B": lambda item: item.b,
        "alpha": lambda item: item.alpha,
        "beta": lambda item: item.beta,
        "params_exponent": lambda item: item.params_exponent,
        "tokens_exponent": lambda item: 1 - item.params_exponent,
    }
    return {
        name: _estimate(of(found), np.array([of(item) for item in draws]), confidence)
        for name, of in read.items()
    }


def _ratios(
    found: Surface, draws: Sequence[Surface], budget_N: Floats, factor: float, confidence: float
) -> dict[float, Estimate]:
    """Tokens a parameter at the best size of the smallest, the middle and the largest budget."""
    budgets = np.unique(budget_N)
    wanted = np.unique(budgets[[0, len(budgets) // 2, -1]])

    def ratio(item: Surface, flops: float) -> float:
        best = float(item.best_params(np.array(flops), factor))
        return flops / factor / best / best if best else math.inf

    return {
        float(flops): _estimate(
            ratio(found, flops), np.array([ratio(item, flops) for item in draws]), confidence
        )
        for flops in wanted
    }


def _influence(
    found: Surface,
    params_N: Floats,
    tokens_N: Floats,
    loss_N: Floats,
    delta: float,
    left_out: tuple[Floats, Floats, Floats] | None,
) -> list[Without]:
    """The fit without each of the runs with the largest residuals, without the worst five and ten, and with
    those back in that were dropped before."""
    order = np.argsort(-np.abs(found.log_residual_N))
    single = order[:_LEFT_OUT]
    groups = [order[:count] for count in (5, 10) if count <= len(order) // 4]
    weights_SN = np.ones((len(single) + len(groups), len(params_N)))
    weights_SN[np.arange(len(single)), single] = 0
    for row, group in enumerate(groups, len(single)):
        weights_SN[row, group] = 0
    refits = surface.refits(found, params_N, tokens_N, loss_N, weights_SN, delta)

    def entry(item: Surface, runs: str, count: int) -> Without:
        return Without(runs, count, item.e, item.alpha, item.beta, item.params_exponent)

    def name(row: int) -> str:
        off = 100 * found.log_residual_N[row]
        return f"N {params_N[row]:.3g}, D {tokens_N[row]:.3g}, off by {off:+.1f}%"

    alone = [entry(item, name(row), 1) for item, row in zip(refits, single, strict=False)]
    alone.sort(key=lambda item: -abs(item.params_exponent - found.params_exponent))
    whole = [entry(found, "none", 0)]
    if left_out is not None:
        with_all = [np.concatenate(pair) for pair in zip((params_N, tokens_N, loss_N), left_out, strict=True)]
        count = len(left_out[0])
        again = surface.fit(with_all[0], with_all[1], with_all[2], delta)
        whole.append(entry(again, f"none, the {count} dropped before back in", -count))
    together = [
        entry(item, f"the {len(rows)} with the largest residuals", len(rows))
        for item, rows in zip(refits[len(single) :], groups, strict=True)
    ]
    return [*whole, *together, *alone[:_SHOWN_INFLUENCE]]
