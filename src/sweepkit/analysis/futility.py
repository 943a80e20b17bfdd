"""Futility: half way through its runs, can a variant still reach min_effect?

Runs of one seed see the same batches, so at equal fractions of their schedules the difference of their
training losses (mean of the last ``WINDOW`` of the schedule) is nearly free of the batches' noise. It is no
final effect yet: a rate that is behind early is often ahead at the end, when it has decayed. What differences
at a look foretell is learned from sweeps that ran to their ends: the final effect is ``slope`` times the
difference, with an error that has a floor and a share of the difference. Without the share the largest
differences are believed most, and they are the ones that turn.

Stopping what has little chance left is non-binding: what is stopped is not adopted, so it can only take
false adoptions away, and the level stays what it was whether or not the rule is obeyed, as long as
comparisons are corrected for all variants that were planned. A sweep's ``decision.futility`` holds the
numbers, and ``launch/hopeless.py`` goes by them; ``promotion/simulation/stopped_early.py`` measures what that
saves and loses.

A variant with another data order, batch or schedule is not judged: its curve compares at its end alone.

Two or three seeds of one variant hardly tell its noise, so at each look that of all variants which came so
far is asked too, of those that were stopped then or later as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from sweepkit.printable import counted, percent
from sweepkit.sweep.futility_rule import LOSS, MIN_PAIRS, WINDOW, FutilityRule

#: Fractions of the schedule at which is looked.
LOOKS = (0.25, 0.5, 0.75)
_DF = 4  # of Student's t: what curves still do has heavier tails than a normal distribution
_MIN_VARIANTS = 5  # to learn from
_FAR = 1e9  # a difference beside which floors are nothing
_LEAST = 1e-12  # of a floor, where curves foretell their ends exactly

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Boundary:
    """What differences at each look foretell of final effects, one entry a look.

    Attributes:
        slopes: final effect for a difference of one.
        floors: least SD of what final effects differ by from that, in the final metric's unit.
        shares: SD of that for a difference of one, on top of the floor.
    """

    slopes: tuple[float, ...]
    floors: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def learned(cls, difference_VL: Array, final_V: Array) -> Boundary | None:
        """From variants that ran to their ends; None of fewer than five.

        Args:
            difference_VL: mean difference at each look; variant minus reference, lower is better.
            final_V: final effects.
        """
        if len(final_V) < _MIN_VARIANTS:
            return None
        slopes = [_least_absolute(column, final_V) for column in difference_VL.T]
        errors = [
            _error(column, final_V, slope) for column, slope in zip(difference_VL.T, slopes, strict=True)
        ]
        floors, shares = zip(*errors, strict=True)
        return cls(tuple(slopes), floors, shares)

    def chance_left(self, look: int, difference_V: Array, error_V: Array, min_effect: float) -> Array:
        """Chance that the final effect is an improvement of ``min_effect``; float64 [V].

        1 where the slope is 0: differences say nothing there, and what stopped one variant would stop all.

        Args:
            look: its place.
            difference_V, error_V: mean differences there, and their standard errors.
        """
        if self.slopes[look] == 0.0:
            return np.ones(len(difference_V))
        expected_V = self.slopes[look] * difference_V
        left_V = special.stdtr(_DF, (-min_effect - expected_V) / self.scale(look, difference_V, error_V))
        return np.asarray(left_V, dtype=np.float64)

    def scale(self, look: int, difference_V: Array, error_V: Array) -> Array:
        """SD of final effects about what is foretold; float64 [V]. Arguments as for ``chance_left``."""
        variance_V = (self.slopes[look] * error_V) ** 2 + (self.shares[look] * difference_V) ** 2
        return np.asarray(np.sqrt(variance_V + max(self.floors[look], _LEAST) ** 2), dtype=np.float64)


def reach(rule: FutilityRule) -> str:
    """What a rule can stop, in words: an error that grows with the difference leaves a chance, however large.

    Far behind, ``slope`` over ``share`` alone decides how little is left.
    """
    boundary, far = Boundary(rule.slopes, rule.floors, rule.shares), np.asarray([_FAR])
    none = np.zeros(1)
    left = [float(boundary.chance_left(place, far, none, 0.0)[0]) for place in range(len(rule.looks))]
    able = [f"{look:.0%}" for look, chance in zip(rule.looks, left, strict=True) if chance < rule.chance]
    never = [
        f"{look:.0%} ({percent(chance)} left)"
        for look, chance in zip(rule.looks, left, strict=True)
        if chance >= rule.chance
    ]
    said = f"futility stops what has less than {100 * rule.chance:g}% chance of min_effect"
    if not never:
        return f"{said}, at {', '.join(able)} of the schedule"
    behind = f"however far a variant is behind, that is not had at {', '.join(never)}"
    what = (
        f": what is far worse is stopped at {', '.join(able)} alone"
        if able
        else ": what is far worse runs to its end"
    )
    return f"{said}; {behind}{what} (slopes over shares; a larger chance stops more)"


def differences(
    curves: pd.DataFrame, reference: str, looks: Sequence[float] = LOOKS, column: str = LOSS
) -> pd.DataFrame:
    """Mean difference of an interim loss to the reference's run of the same seed, at every look.

    Over the steps that both have logged, for losses fall from step to step; of a schedule of another length,
    which shares none, over all of the window.

    Args:
        curves: of one rung: variant, seed, step and ``column``; num_steps where the last step of a run is not
            there, for it has not ended or has not logged it.
        column: training loss, or an evaluation's.

    Returns:
        A row a variant and seed, a column a look; missing where they logged nothing there that compares.
        Runs of the reference of one seed are averaged.
    """
    last = curves.groupby(["variant", "seed"])["step"].transform("max").astype("float64")
    if "num_steps" in curves:
        last = curves["num_steps"].astype("float64").fillna(last)
    rows = curves.assign(last=last, frac=curves["step"].astype("float64") / last)[curves[column].notna()]
    at = (
        rows.astype({column: float}).groupby(["variant", "seed", "last", "frac"])[column].mean().reset_index()
    )
    is_base, schedules = at["variant"] == reference, pd.MultiIndex.from_frame(at[["seed", "last"]])
    own, base = at[~is_base], at.loc[is_base, ["seed", "last", "frac", column]]
    other = own[~schedules.isin(schedules[is_base])[~is_base]]
    pairs = own.merge(base, on=["seed", "last", "frac"], suffixes=("", "_base"))
    pairs[column] -= pairs[f"{column}_base"]

    def mean(of: pd.DataFrame, look: float, *by: str) -> pd.Series:
        return of[(of["frac"] <= look) & (of["frac"] > look - WINDOW)].groupby([*by])[column].mean()

    found = {}
    for look in looks:
        whole = mean(other, look, "variant", "seed").sub(mean(base, look, "seed"), level="seed")
        found[look] = mean(pairs, look, "variant", "seed").combine_first(whole)
    return pd.DataFrame(found)


@dataclass(frozen=True)
class Finding:
    """What a look at a variant found.

    Attributes:
        look: fraction of the schedule.
        by_seed: seed → difference there.
        mean, error: of them, and the standard error.
        expected, scale: the final effect that they foretell, and its SD.
        chance: that it is an improvement of min_effect.
    """

    look: float
    by_seed: dict[str, float]
    mean: float
    error: float
    expected: float
    scale: float
    chance: float
    is_hopeless: bool

    def __str__(self) -> str:
        seen = f"{self.mean:+.5f} ± {self.error:.5f} over {counted(len(self.by_seed), 'seed')}".replace(
            "-", "−"
        )
        end = f"{self.expected:+.5f} ± {self.scale:.5f}".replace("-", "−")
        chance = f"{percent(self.chance)} chance of min_effect"
        return f"at {self.look:.0%}: {seen}, {end} expected at the end, {chance}"


def typical_sd(at_look: Iterable[Sequence[float] | Array]) -> float:
    """SD of differences between seeds at one look, typical of all variants that came so far.

    From the median of their variances, each over the median of a χ² of its degrees of freedom, so that a
    variant which falls apart does not hide what is hopeless. 0 where no variant has two seeds; those whose
    curves are still the reference's own have no noise of their own and are left out.

    Args:
        at_look: differences of single seeds, an array a variant; missing ones count for nothing.
    """
    variances = []
    for differences_S in at_look:
        values = np.asarray(differences_S, dtype=float)
        known = values[np.isfinite(values)]
        if len(known) > 1 and known.any():
            freedom = len(known) - 1
            median = 2.0 * special.gammaincinv(freedom / 2.0, 0.5) / freedom
            variances.append(known.var(ddof=1) / median)
    return float(np.sqrt(np.median(variances))) if variances else 0.0


def look_at(
    rule: FutilityRule, place: int, by_seed: Mapping[int, float], min_effect: float, sd: float = 0.0
) -> Finding | None:
    """What the differences at one look say; None of fewer pairs than can say anything.

    Curves that are the reference's own to the last bit say nothing yet: what was changed has not acted.

    Args:
        place: of the look.
        by_seed: seed → difference there, lower is better.
        sd: of differences between seeds there, at least (``typical_sd`` of all variants).
    """
    known = {seed: by_seed[seed] for seed in sorted(by_seed) if np.isfinite(by_seed[seed])}
    if len(known) < MIN_PAIRS or not any(known.values()):
        return None
    values = np.asarray(list(known.values()))
    mean, error = float(values.mean()), float(max(values.std(ddof=1), sd) / np.sqrt(len(values)))
    boundary = Boundary(rule.slopes, rule.floors, rule.shares)
    difference, spread = np.asarray([mean]), np.asarray([error])
    chance = float(boundary.chance_left(place, difference, spread, min_effect)[0])
    scale = float(boundary.scale(place, difference, spread)[0])
    return Finding(
        look=rule.looks[place],
        by_seed={str(seed): value for seed, value in known.items()},
        mean=mean,
        error=error,
        expected=rule.slopes[place] * mean,
        scale=scale,
        chance=chance,
        is_hopeless=chance < rule.chance,
    )


def _least_absolute(x: Array, y: Array) -> float:
    """Slope through zero of least absolute deviations, at least 0: a weighted median of ratios."""
    is_known = x != 0.0
    ratio, weight = y[is_known] / x[is_known], np.abs(x[is_known])
    if not len(ratio):
        return 0.0
    order = np.argsort(ratio)
    upto = np.cumsum(weight[order])
    return max(0.0, float(ratio[order][np.searchsorted(upto, upto[-1] / 2.0)]))


def _error(x: Array, y: Array, slope: float) -> tuple[float, float]:
    """Floor and share of the error: squares of what the slope leaves, on 1 and x², none below 0.

    Weighted so that a variant counts by how far it is off for its size, not by its size.
    """
    middle_x, middle_y = float(np.median(np.abs(x))), float(np.median(np.abs(y)))
    if middle_x == 0.0 or middle_y == 0.0:
        return float(np.sqrt(np.mean((y - slope * x) ** 2))), 0.0
    squares_V2 = np.stack([np.full(len(x), middle_y**2), (x / middle_x * middle_y) ** 2], axis=1)
    weight_V = 1.0 / squares_V2.sum(axis=1)
    left_V = (y - slope * x) ** 2
    (floor, share), _ = optimize.nnls(squares_V2 * weight_V[:, None], left_V * weight_V)
    return float(np.sqrt(floor)) * middle_y, float(np.sqrt(share)) * middle_y / middle_x
