"""A variant against the reference's frontier: at equal steps, seconds and FLOPs, and at equal loss.

* the equal-cost effect: its loss minus what the reference reaches at the same cost;
* the capability-matched speed-up: what the reference would spend to reach the variant's loss, over what
  the variant spent. It inverts the test of the equal-cost effect (Fieller 1954), so that the interval of one
  excludes 1 exactly when that of the other excludes 0.

The noise is that of ``gaps.py``: of the two-way model of ``noise.py`` on the logarithm of the metric. Step
times have an error of their own (``step_time.py``), which enters by the slope of the curve; FLOPs are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from sweepkit.analysis import noise, step_time
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.effects import block_names
from sweepkit.analysis.frontier import Array, Curve, has_horizons
from sweepkit.analysis.gaps import Gap, Runs, unlike
from sweepkit.results.columns import REFERENCE, is_reference

AXES = ("steps", "wall_clock", "flops")
COSTS = {"steps": "steps", "wall_clock": "time", "flops": "FLOPs"}
_PLACES = 2001  # of log cost at which the test is inverted; crossings are interpolated between them


@dataclass(frozen=True)
class Matched:
    """One variant against the reference's frontier on one axis.

    Attributes:
        axis: steps, wall_clock or flops.
        n: runs of the variant.
        cost_ratio: what the variant spent over what the reference spends at the planned horizon.
        effect, low, high: variant minus reference at equal cost, in the metric's unit; None where that cost
            lies outside of the reference's horizons.
        p, p_not_better: one-sided, of "not better at equal cost" and of "not worse" there.
        speedup, speedup_low, speedup_high: capability-matched; None where it is not within the horizons.
        p_margin, p_worse: one-sided, of "a speed-up of at most 1 / (1 + margin)" and of "at least" that.
        note: what was refused, in words.
    """

    variant: str
    axis: str
    n: int
    cost_ratio: float
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    p_not_better: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    confidence: float
    p_margin: float | None
    p_worse: float | None
    note: str

    @property
    def sentence(self) -> str:
        """Effect and speed-up with their intervals."""
        parts = []
        if self.effect is not None:
            change = f"{self.effect:+.5f}".replace("-", "−")
            if self.low is not None and self.high is not None:
                change += f" ({self.confidence:.0%} interval {self.low:+.5f} to {self.high:+.5f})".replace(
                    "-", "−"
                )
            parts.append(f"metric {change}")
        if self.speedup is not None:
            ends = [f"{end:.3f}" if end else "open" for end in (self.speedup_low, self.speedup_high)]
            parts.append(f"capability-matched speed-up {self.speedup:.3f}× ({ends[0]} to {ends[1]})")
        return "; ".join([*parts, *([self.note] if self.note else [])])


@dataclass(frozen=True)
class _Cost:
    """log of a variant's cost in steps of the reference, with the error of what was timed."""

    log_cost: float
    error: float = 0.0
    df: float = math.inf


def matched(
    rows: pd.DataFrame,
    metric: str,
    alpha: float,
    margins: Mapping[str, float] | None = None,
    reference: str = REFERENCE,
    known: Calibration | None = None,
) -> list[Matched]:
    """Every variant on the axes that were measured, variants in order of appearance.

    Args:
        rows: complete runs of one rung: variant, seed, pair_key, num_steps, ``metric`` and, for the other
            axes, median_step_time_s (seconds) and total_flops. The reference's other horizons are the
            variants ``reference@...``.
        metric: a loss above 0; of others no frontier is made.
        alpha: one-sided level; intervals have confidence ``1 - 2 alpha``.
        margins: axis → how much more cost still counts as not worse, as a ratio.
        known: noise of the metric that was measured beforehand under the same conditions.

    Returns:
        Nothing where the reference was run at one horizon only.
    """
    if "num_steps" not in rows:
        return []
    rows = rows[rows[metric].notna() & rows["num_steps"].notna()]
    if not has_horizons(rows, reference) or not (rows[metric] > 0.0).all():
        return []
    names = [str(name) for name in rows["variant"]]
    logs = [math.log(float(value)) for value in rows[metric]]
    blocks = block_names(rows)
    pool = noise.pool(names, blocks, logs, reference)
    curve = Curve.of(rows, metric, pool.fit, reference)
    runs = Runs(names, blocks, logs)
    apart = unlike(runs, curve, reference)
    known = None if known is None else replace(known, sd=known.sd / math.exp(curve.level))  # of the log
    found = []
    for name in dict.fromkeys(names):
        if is_reference(name, reference):
            continue
        own = name in pool.excluded  # too noisy for the pool, and for what was known
        fit = runs.fit([name, *curve.labels]) if own else pool.fit
        gap = (
            (apart and Gap.moderated(name, curve, apart))
            or Gap.paired(name, curve, fit, None if own else known)
            or Gap.unpaired(name, curve, runs)
        )
        margin = dict(margins or {})
        for axis, cost in _costs(rows, name, reference, alpha).items():
            n = len(runs.values(name))
            found.append(_match(gap, curve, name, n, axis, cost, alpha, margin.get(axis, 0.0)))
    return found


@dataclass(frozen=True)
class _Test:
    """Variant against curve at places of log cost [X]: log loss difference, error, df, bend, half width."""

    difference_X: Array
    error_X: Array | None
    df_X: Array
    bend_X: Array
    half_X: Array | None

    @classmethod
    def at(cls, x_X: Array, gap: Gap, curve: Curve, cost: _Cost, alpha: float) -> _Test:
        weights_XH = curve.weights(x_X)
        difference_X, bend_X = weights_XH @ gap.mean_H, curve.bend(x_X)
        if gap.covariance_HH is None or math.isnan(cost.error):
            return cls(difference_X, None, np.zeros(len(x_X)), bend_X, None)
        own_X = np.einsum("xh,hk,xk->x", weights_XH, gap.covariance_HH, weights_XH)
        timed_X = (curve.slope(x_X) * cost.error) ** 2
        error_X = np.sqrt(own_X + timed_X)
        df_X = (own_X + timed_X) ** 2 / (own_X**2 / gap.df + timed_X**2 / cost.df)
        half_X = special.stdtrit(df_X, 1.0 - alpha) * error_X + bend_X
        return cls(difference_X, error_X, df_X, bend_X, half_X)

    def p(self, sign: int) -> float | None:
        """Of the first place, one-sided: 1 for "not better than the reference there", -1 for "not worse"."""
        if self.error_X is None:
            return None
        t = (sign * self.difference_X[0] + self.bend_X[0]) / self.error_X[0]
        return float(special.stdtr(self.df_X[0], t))


def _match(
    gap: Gap, curve: Curve, variant: str, n: int, axis: str, cost: _Cost, alpha: float, margin: float
) -> Matched:
    def test(x: float) -> _Test:
        return _Test.at(np.asarray([x]), gap, curve, cost, alpha)

    ratio = math.exp(cost.log_cost - curve.own)
    effect = low = high = p = p_not = p_margin = p_worse = None
    notes = []
    if curve.contains(cost.log_cost):
        here = test(cost.log_cost)
        level = math.exp(float((curve.weights(np.asarray([cost.log_cost])) @ curve.level_H)[0]))
        middle, half = float(here.difference_X[0]), None if here.half_X is None else float(here.half_X[0])
        effect, p, p_not = level * math.expm1(middle), here.p(1), here.p(-1)
        if half is not None:
            low, high = level * math.expm1(middle - half), level * math.expm1(middle + half)
    else:
        notes.append(
            f"at {ratio:.3g}× the reference's {COSTS[axis]} it lies outside of the reference's horizons "
            f"({curve.span}), and nothing is extrapolated"
        )
    border = cost.log_cost - math.log1p(margin)
    if curve.contains(border):
        p_margin, p_worse = test(border).p(1), test(border).p(-1)
    x_X = np.linspace(curve.log_steps_H[0], curve.log_steps_H[-1], _PLACES)
    whole = _Test.at(x_X, gap, curve, cost, alpha)
    half_X = whole.half_X
    found = _crossing(x_X, whole.difference_X)
    slowest = None if half_X is None else _crossing(x_X, whole.difference_X + half_X)
    fastest = None if half_X is None else _crossing(x_X, whole.difference_X - half_X)
    if found is None:
        notes.append(_beyond(whole.difference_X, curve))
    speedup, low_speedup, high_speedup = (
        None if x is None else math.exp(x - cost.log_cost) for x in (found, slowest, fastest)
    )
    return Matched(
        variant, axis, n, ratio, effect, low, high, p, p_not, speedup, low_speedup, high_speedup,
        1.0 - 2.0 * alpha, p_margin, p_worse, "; ".join(notes),
    )  # fmt: skip


def _crossing(x_X: Array, y_X: Array) -> float | None:
    """Where ``y_X`` turns from negative to positive for the first time; None where it never does."""
    upwards = np.flatnonzero((y_X[:-1] <= 0.0) & (y_X[1:] > 0.0))
    if len(upwards) == 0:
        return float(x_X[-1]) if y_X[-1] == 0.0 else None
    place = int(upwards[0])
    share = -y_X[place] / (y_X[place + 1] - y_X[place])
    return float(x_X[place] + share * (x_X[place + 1] - x_X[place]))


def _beyond(difference_X: Array, curve: Curve) -> str:
    if difference_X[-1] < 0.0:
        return f"better than the reference at its longest horizon (of {curve.span})"
    if difference_X[0] > 0.0:
        return f"worse than the reference at its shortest horizon (of {curve.span})"
    return "the reference does not improve with its horizon here"


def _costs(rows: pd.DataFrame, variant: str, reference: str, alpha: float) -> dict[str, _Cost]:
    """The variant's cost on each axis that was measured, as log of steps of the reference."""
    mine, base = rows[rows["variant"] == variant], rows[rows["variant"] == reference]
    steps = math.log(float(mine["num_steps"].mean()))
    costs = {"steps": _Cost(steps)}
    if _same_step(mine, base):
        costs["wall_clock"] = _Cost(steps)
    elif "median_step_time_s" in rows:
        slower = step_time.compare(rows, variant, alpha, reference).effect
        if slower.effect is not None:
            error = math.nan if slower.standard_error is None else slower.standard_error
            costs["wall_clock"] = _Cost(steps + slower.effect, error, slower.df)
    if "total_flops" in rows:
        mine_flops, base_flops = (
            float((part["total_flops"] / part["num_steps"]).mean()) for part in (mine, base)
        )
        if mine_flops > 0 and base_flops > 0:
            costs["flops"] = _Cost(steps + math.log(mine_flops / base_flops))
    return costs


def _same_step(mine: pd.DataFrame, base: pd.DataFrame) -> bool:
    """Whether a step of both is the same work: one compiled program on the same batches."""
    for name in ("compile_key", "pair_key"):
        if name not in mine or mine[name].isna().any() or base[name].isna().any():
            return False
    programs = set(mine["compile_key"]) | set(base["compile_key"])
    return len(programs) == 1 and not set(mine["pair_key"]).isdisjoint(base["pair_key"])
