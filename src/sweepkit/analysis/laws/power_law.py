"""How an optimum moves with scale: log optimum = α + β·log scale, the exponent β with its interval.

Points scatter about a law by more than their own errors (a ladder's sizes differ in more than size), so each
is weighted by its error *and* a scatter between sizes that is estimated along (Paule and Mandel, 1982); the
interval is Student's with k − 2 degrees of freedom (Hartung and Knapp, 2001, never shortened below the
errors). An optimum whose error is unknown counts with the median of the known ones; as exact it would be the
law. A censored optimum enters by the likelihood of lying beyond its bound, and the interval then inverts the
likelihood ratio, scaled so that it is the t interval where nothing is censored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from sweepkit import errors
from sweepkit.analysis.laws.intervals import CONFIDENCE, Floats, Interval, t_limit

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Point:
    """One size: its optimum, what the law says, and the exponent without it.

    Attributes:
        scale, optimum: both above 0.
        error: standard error of log optimum; 0 where none is known.
        censored: above or below; the optimum is then a bound.
        residual: log optimum − law.
        exponent_without: of the law without this point; None where too few are left.
    """

    name: str
    scale: float
    optimum: float
    error: float
    censored: str
    residual: float
    exponent_without: float | None


@dataclass(frozen=True)
class Law:
    """optimum = prefactor × scale^exponent.

    Attributes:
        exponent_error: standard error of the exponent.
        interval: of the exponent, k − 2 degrees of freedom.
        scatter: SD between sizes of log optimum, beyond their own errors.
        rule, rule_p: the exponent held against it, and that rule's two-sided p; None where none was given.
    """

    scale_name: str
    exponent: float
    exponent_error: float
    interval: Interval
    prefactor: float
    scatter: float
    df: int
    rule: float | None
    rule_p: float | None
    points: list[Point]
    notes: list[str]

    def at(self, scale: float) -> float:
        """The optimum that the law gives."""
        return float(self.prefactor * scale**self.exponent)


@dataclass(frozen=True)
class _Line:
    alpha: float
    beta: float
    error: float
    scatter2: float


def power_law(
    scale_K: Floats,
    optimum_K: Floats,
    error_K: Floats | None = None,
    censored: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    scale_name: str = "scale",
    rule: float | None = None,
    confidence: float = CONFIDENCE,
) -> Law:
    """The law through optima at several sizes.

    Args:
        scale_K: the one scale that it is stated in.
        optimum_K: best values; of a censored one the outermost value tried.
        error_K: standard errors of log optimum; None, NaN or 0: unknown (``counted_errors``).
        censored: ``above``, ``below`` or empty for each.
        rule: an exponent to test.

    Raises:
        ConfigError: fewer than three sizes, or values that are not above 0.
    """
    scale_K, optimum_K = np.asarray(scale_K, dtype=float), np.asarray(optimum_K, dtype=float)
    for name, values in ((scale_name, scale_K), ("optimum", optimum_K)):
        if not (values > 0).all():
            raise errors.invalid(
                name, float(values[~(values > 0)][0]), "be above 0 in a power law", "leave that size out"
            )
    side_K = np.array([{"above": 1, "below": -1}.get(item, 0) for item in (censored or [""] * len(scale_K))])
    num_sizes = len(np.unique(scale_K[side_K == 0]))
    if num_sizes < 3:
        contract = "have three sizes with an optimum inside their grid, for an interval"
        raise errors.invalid(
            f"law in {scale_name}", f"{num_sizes} sizes", contract, "run more sizes, or extend the grids"
        )
    listed = list(names) if names is not None else [f"{item:g}" for item in scale_K]
    own_K = np.zeros(len(scale_K)) if error_K is None else np.nan_to_num(np.asarray(error_K, dtype=float))
    error_K = counted_errors(own_K, side_K == 0)
    u_K, v_K = np.log(scale_K), np.log(optimum_K)
    df, notes = int((side_K == 0).sum()) - 2, []
    if side_K.any():
        line, interval, rule_p = _censored(u_K, v_K, error_K, side_K, df, rule, confidence)
        count = int((side_K != 0).sum())
        what = "1 optimum lies" if count == 1 else f"{count} optima lie"
        notes.append(f"{what} beyond the edge of the grid, known as a bound alone")
    else:
        line = _weighted(u_K, v_K, error_K)
        interval = Interval.around(line.beta, line.error, df, confidence)
        rule_p = None if rule is None else _p(line.beta - rule, line.error, df)
    if (error_K == 0).any():
        notes.append("an optimum without an error of its own: its error is part of the scatter")
    elif (own_K == 0).any():
        without_own = ", ".join(name for name, own in zip(listed, own_K, strict=True) if own == 0)
        typical = float(error_K[own_K == 0][0])
        notes.append(
            f"without an error of its own, counted with the others' median ({typical:.2g}): {without_own}"
        )
    points = []
    for place, name in enumerate(listed):
        rest = np.arange(len(u_K)) != place
        without = _exponent(u_K[rest], v_K[rest], error_K[rest], side_K[rest])
        residual = float(v_K[place] - line.alpha - line.beta * u_K[place])
        mark = {1: "above", -1: "below", 0: ""}[int(side_K[place])]
        points.append(
            Point(
                name,
                float(scale_K[place]),
                float(optimum_K[place]),
                float(own_K[place]),
                mark,
                residual,
                without,
            )
        )
    return Law(
        scale_name,
        line.beta,
        line.error,
        interval,
        math.exp(line.alpha),
        math.sqrt(line.scatter2),
        df,
        rule,
        rule_p,
        points,
        notes,
    )


def counted_errors(error_K: Floats, inside_K: Floats | None = None) -> Floats:
    """The errors that optima count with: the median of the known ones for an unknown one (0).

    All 0 where none is known of those inside their grids: the scatter is all there is then.
    """
    known_K = error_K > 0 if inside_K is None else (error_K > 0) & inside_K
    typical = float(np.median(error_K[known_K])) if known_K.any() else 0.0
    found: Floats = np.where(error_K > 0, error_K, typical)
    return found


def _p(distance: float, error: float, df: int) -> float:
    if error <= 0:
        return 1.0 if abs(distance) < _ROUNDING else 0.0
    return float(2 * special.stdtr(df, -abs(distance) / error))


def _weighted(u_K: Floats, v_K: Floats, error_K: Floats) -> _Line:
    """Least squares with weights 1/(error² + scatter²)."""
    df = len(u_K) - 2

    def line(scatter2: float) -> tuple[float, float, float, float]:
        w_K = 1 / np.maximum(error_K**2 + scatter2, _ROUNDING**2)
        u = float(w_K @ u_K / w_K.sum())
        spread = float(w_K @ (u_K - u) ** 2)
        beta = float(w_K @ ((u_K - u) * v_K)) / spread
        alpha = float(w_K @ v_K / w_K.sum()) - beta * u
        return alpha, beta, spread, float(w_K @ (v_K - alpha - beta * u_K) ** 2)

    def surplus(scatter2: float) -> float:
        return line(scatter2)[3] - df

    high, scatter2 = float(np.var(v_K)) * len(v_K) + 1e-6, 0.0
    if df > 0 and surplus(_ROUNDING**2) > 0:
        scatter2 = float(optimize.brentq(surplus, _ROUNDING**2, high, xtol=1e-14, rtol=1e-12))
    alpha, beta, spread, left = line(scatter2)
    quality = max(left / df, 1.0) if df > 0 else math.nan  # no point is known to better than rounding
    return _Line(alpha, beta, math.sqrt(quality / spread), scatter2)


def _exponent(u_K: Floats, v_K: Floats, error_K: Floats, side_K: Floats) -> float | None:
    """The exponent of what is left; two points give one, without an error."""
    if len(np.unique(u_K[side_K == 0])) < 2:
        return None
    if side_K.any():
        return _likelihood(u_K, v_K, error_K, side_K)[1].beta if (side_K == 0).sum() > 2 else None
    return _weighted(u_K, v_K, error_K).beta if len(u_K) > 2 else float((v_K[1] - v_K[0]) / (u_K[1] - u_K[0]))


def _likelihood(
    u_K: Floats, v_K: Floats, error_K: Floats, side_K: Floats, fixed: float | None = None
) -> tuple[float, _Line]:
    """The largest log likelihood, the exponent free or fixed."""
    inside = side_K == 0
    start = _weighted(u_K[inside], v_K[inside], error_K[inside])
    zero = float(u_K.mean())

    def negative(theta: Floats) -> float:
        beta = theta[1] if fixed is None else fixed
        sd_K = np.sqrt(error_K**2 + math.exp(2 * min(max(theta[-1], -12.0), 20.0)) + 1e-12)
        off_K = (v_K - theta[0] - beta * (u_K - zero)) / sd_K
        seen = -np.log(sd_K[inside]) - 0.5 * off_K[inside] ** 2
        beyond = special.log_ndtr(-off_K[~inside] * side_K[~inside])
        return -float(seen.sum() + beyond.sum())

    spread = math.log(max(math.sqrt(start.scatter2), float(np.median(error_K)), 1e-3))
    first = [start.alpha + start.beta * zero, start.beta, spread]
    best = min(
        (
            optimize.minimize(
                negative,
                np.array([first[0], *([first[1]] if fixed is None else []), first[2] + shift]),
                method="BFGS",
            )
            for shift in (0.0, 1.0)
        ),
        key=lambda found: found.fun,
    )
    beta = float(best.x[1]) if fixed is None else fixed
    scatter2 = math.exp(2 * min(float(best.x[-1]), 20.0))
    return -float(best.fun), _Line(float(best.x[0]) - beta * zero, beta, start.error, scatter2)


def _crossing(surplus: Callable[[float], float], inside: float, outside: float) -> float:
    """Where the surplus turns positive, by halving: an infinite one does no harm."""
    while abs(outside - inside) > 1e-4:
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if surplus(middle) > 0 else (middle, outside)
    return outside


def _censored(
    u_K: Floats, v_K: Floats, error_K: Floats, side_K: Floats, df: int, rule: float | None, confidence: float
) -> tuple[_Line, Interval, float | None]:
    top, line = _likelihood(u_K, v_K, error_K, side_K)
    seen = df + 2

    def t_of(beta: float) -> float:
        """The t statistic that the drop in likelihood is worth; exact where nothing is censored."""
        drop = top - _likelihood(u_K, v_K, error_K, side_K, beta)[0]
        if math.isnan(drop):
            return math.inf
        return math.sqrt(df * math.expm1(min(2 * max(drop, 0.0) / seen, 100.0)))

    limit, step = t_limit(df, confidence), max(line.error, 1e-3)
    ends: list[float | None] = []
    for side in (-1, 1):
        far = line.beta + side * step
        while t_of(far) < limit and abs(far - line.beta) < 100:
            far = line.beta + (far - line.beta) * 2
        if t_of(far) < limit:
            ends.append(None)
            continue
        ends.append(_crossing(lambda beta: t_of(beta) - limit, line.beta, far))
    p = None if rule is None else float(2 * special.stdtr(df, -t_of(rule)))
    half = [abs(end - line.beta) for end in ends if end is not None]
    error = max(half) / limit if half else math.inf
    return _Line(line.alpha, line.beta, error, line.scatter2), Interval(ends[0], ends[1], confidence), p
