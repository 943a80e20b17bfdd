"""Futility: half way through its runs, can a variant still reach min_effect?

Runs of one seed see the same batches, so at equal fractions of their schedules the difference of their
training losses (mean of the last ``WINDOW`` of the schedule) is nearly free of the batches' noise. It is no
final effect yet: a rate that is behind early is often ahead at the end, when it has decayed. What differences
at a look foretell is learned from sweeps that ran to their ends: the final effect is ``slope`` times the
difference, with an error that has a floor and a share of the difference. Without the share the largest
differences are believed most, and they are the ones that turn.

Stopping what has little chance left would be non-binding: what is stopped is not adopted, so it can only
take false adoptions away, and the level stays what it was whether or not the rule is obeyed, as long as
comparisons are corrected for all variants that were planned. Nothing is stopped by it yet;
``promotion/simulation/stopped_early.py`` measures what it would save and lose.

A variant with another data order, batch or schedule is not judged: its curve compares at its end alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

#: Fractions of the schedule at which is looked.
LOOKS = (0.25, 0.5, 0.75)
#: Of the schedule, that training losses are averaged over.
WINDOW = 0.1
_DF = 4  # of Student's t: what curves still do has heavier tails than a normal distribution
_MIN_VARIANTS = 5  # to learn from
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

        Args:
            look: its place.
            difference_V, error_V: mean differences there, and their standard errors.
        """
        slope = self.slopes[look]
        variance_V = (slope * error_V) ** 2 + (self.shares[look] * difference_V) ** 2
        scale_V = np.sqrt(variance_V + max(self.floors[look], _LEAST) ** 2)
        left_V = special.stdtr(_DF, (-min_effect - slope * difference_V) / scale_V)
        return np.asarray(left_V, dtype=np.float64)


def differences(curves: pd.DataFrame, reference: str, looks: Sequence[float] = LOOKS) -> pd.DataFrame:
    """Mean difference of training loss to the reference's run of the same seed, at every look.

    Args:
        curves: of one rung: variant, seed, step and loss.

    Returns:
        A row a variant and seed, a column a look; missing where either run logged nothing there. Runs of the
        reference of one seed are averaged.
    """
    rows = curves[curves["loss"].notna()].astype({"loss": float, "step": float})
    last = rows.groupby(["variant", "seed"])["step"].transform("max")
    rows = rows.assign(frac=rows["step"] / last)
    found = {}
    for look in looks:
        inside = rows[(rows["frac"] <= look) & (rows["frac"] > look - WINDOW)]
        found[look] = inside.groupby(["variant", "seed"])["loss"].mean()
    table = pd.DataFrame(found)
    base = table.xs(reference, level="variant")
    return table.drop(index=reference, level="variant").sub(base, level="seed")


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
