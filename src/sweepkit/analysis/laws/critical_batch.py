"""Critical batch: how many more tokens a larger batch needs for the same loss.

At a target loss, tokens grow with the batch as D(B) = D_min · (1 + B / B_crit) (McCandlish et al., 2018: the
same hyperbola as between tokens and steps). Each batch's tokens to the target are read between two runs that
ended on either side of it, off a monotone curve through all horizons in log D; nothing is extrapolated, and
an undecayed checkpoint is not a run. B_crit's interval holds all values that an F test would not reject, and
has no upper end where growth is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import interpolate, optimize

from sweepkit import errors
from sweepkit.analysis.laws.intervals import CONFIDENCE, Floats, Interval, t_limit
from sweepkit.analysis.laws.power_law import Law, power_law

#: Targets a group is asked for where none are named.
_TARGETS = 3


@dataclass(frozen=True)
class Reading:
    """Tokens that runs of one batch need for the target."""

    batch: float
    tokens: float
    steps: float
    fitted: float


@dataclass(frozen=True)
class CriticalBatch:
    """One group at one target loss: D_min (tokens) and B_crit (tokens), with B_crit's interval.

    Attributes:
        error: standard error of log B_crit, from the interval; None where it is unbounded.
    """

    group: str
    target: float
    least_tokens: float
    batch: float | None
    interval: Interval
    error: float | None
    readings: list[Reading]
    notes: list[str]


def critical_batches(
    batch_N: Floats,
    tokens_N: Floats,
    loss_N: Floats,
    groups: Sequence[str] | None = None,
    targets: Sequence[float] = (),
    confidence: float = CONFIDENCE,
) -> list[CriticalBatch]:
    """Critical batches of every group at every target.

    Args:
        batch_N, tokens_N: tokens a step, and in all; above 0.
        targets: losses; by default three that most batches reach.

    Raises:
        ConfigError: no target that three batches bracket, or a run of less than one batch.
    """
    names = ["all"] * len(loss_N) if groups is None else list(groups)
    if (is_short_N := tokens_N < batch_N).any():
        tokens, batch = float(tokens_N[is_short_N][0]), float(batch_N[is_short_N][0])
        contract = f"be tokens in all, so no fewer than the run's batch of {batch:g}"
        raise errors.invalid("--tokens", tokens, contract, "name the column of tokens, not of steps")
    found = []
    for name in dict.fromkeys(names):
        mine = np.array([item == name for item in names]) & np.isfinite(loss_N)
        curves = _curves(batch_N[mine], tokens_N[mine], loss_N[mine])
        for target in targets or _common(curves):
            readings = [(batch, _tokens_to(curve, target)) for batch, curve in curves.items()]
            there = [(batch, tokens) for batch, tokens in readings if tokens is not None]
            if len(there) >= 3:
                batch_K, tokens_K = np.array(there).T
                made = _critical(name, float(target), batch_K, tokens_K, confidence)
                missing = [f"{batch:g}" for batch in np.unique(batch_N[mine]) if batch not in batch_K]
                said = f"not reached, or by a single horizon, with a batch of {', '.join(missing)}"
                found.append(replace(made, notes=[*made.notes, *([said] if missing else [])]))
    if not found:
        contract = "be reached by three batches, each with a shorter run above it and a longer one below"
        raise errors.invalid(
            "--target",
            list(targets) or "chosen from the runs",
            contract,
            "run each batch at several horizons",
        )
    return found


_Curve = tuple[Floats, Floats]


def _curves(batch_N: Floats, tokens_N: Floats, loss_N: Floats) -> dict[float, _Curve]:
    """Batch → log tokens and mean loss of its horizons, shortest first."""
    found = {}
    for batch in np.unique(batch_N):
        mine = batch_N == batch
        tokens, place = np.unique(tokens_N[mine], return_inverse=True)
        if len(tokens) > 1:
            found[float(batch)] = (
                np.log(tokens),
                np.bincount(place, weights=loss_N[mine]) / np.bincount(place),
            )
    return found


def _common(curves: dict[float, _Curve]) -> list[float]:
    """Losses that three batches or more bracket."""
    lows = np.sort([loss.min() for _, loss in curves.values()])
    highs = np.sort([loss.max() for _, loss in curves.values()])
    for most in range(len(curves), 2, -1):
        low, high = lows[most - 1], highs[len(highs) - most]
        if low < high:
            return [float(low + share * (high - low)) for share in np.linspace(0.15, 0.85, _TARGETS)]
    return []


def _tokens_to(curve: _Curve, target: float) -> float | None:
    """Where the curve first falls through the target: cubics, for a line lies above what is convex."""
    log_D, loss = curve
    for place in range(len(loss) - 1):
        if loss[place] >= target >= loss[place + 1] and loss[place] > loss[place + 1]:
            through = interpolate.PchipInterpolator(log_D, loss - target)
            return math.exp(optimize.brentq(through, log_D[place], log_D[place + 1]))
    return None


def _critical(
    name: str, target: float, batch_K: Floats, tokens_K: Floats, confidence: float
) -> CriticalBatch:
    y_K, df = np.log(tokens_K), len(batch_K) - 2

    def squares(log_batch: float) -> tuple[float, float]:
        growth = np.log1p(batch_K / math.exp(log_batch))
        level = float(np.mean(y_K - growth))
        return float(np.sum((y_K - growth - level) ** 2)), level

    low, high = math.log(batch_K.min()) - 7, math.log(batch_K.max()) + 7
    grid = np.linspace(low, high, 400)
    values = np.array([squares(item)[0] for item in grid])
    place = int(values.argmin())
    notes = []
    if place in (0, len(grid) - 1):
        best = float(grid[place])
        notes.append("tokens do not grow with the batch" if place else "tokens grow as fast as the batch")
    else:
        best = float(
            optimize.minimize_scalar(
                lambda item: squares(item)[0], bounds=(grid[place - 1], grid[place + 1]), method="bounded"
            ).x
        )
    least, level = squares(best)
    bound = least * (1 + t_limit(df, confidence) ** 2 / df) if df > 0 else math.inf
    ends: list[float | None] = [None, None]
    for side, far in enumerate((low, high)):
        if squares(far)[0] > bound + 1e-15:
            ends[side] = math.exp(optimize.brentq(lambda item: squares(item)[0] - bound, far, best))
    interval = Interval(ends[0], ends[1], confidence)
    error = None
    if ends[0] is not None and ends[1] is not None:
        error = math.log(ends[1] / ends[0]) / (2 * t_limit(df, confidence))
    readings = [
        Reading(float(b), float(t), float(t / b), math.exp(level) * (1 + float(b) / math.exp(best)))
        for b, t in zip(batch_K, tokens_K, strict=True)
    ]
    is_known = place not in (0, len(grid) - 1)
    return CriticalBatch(
        name, target, math.exp(level), math.exp(best) if is_known else None, interval, error, readings, notes
    )


def law_of(found: Sequence[CriticalBatch], rule: float | None, confidence: float = CONFIDENCE) -> Law | None:
    """How the critical batch grows with its target's tokens; None with fewer than three bounded targets."""
    known = [item for item in found if item.batch is not None and item.interval.is_bounded]
    if len({item.least_tokens for item in known}) < 3:
        return None
    law = power_law(
        np.array([item.least_tokens for item in known]),
        np.array([item.batch for item in known], dtype=float),
        np.array([item.error if item.error is not None else math.nan for item in known]),
        None,
        [f"{item.group} at {item.target:.4g}" for item in known],
        "tokens",
        rule,
        confidence,
    )
    if endless := [f"{item.group} at {item.target:.4g}" for item in found if item not in known]:
        law.notes.append(f"no end of an interval, so no part of the law: {', '.join(endless)}")
    if len({item.group for item in known}) < len(known):
        law.notes.append("targets of the same runs depend on each other: the interval is too short")
    return law
