"""What the reference reaches at other horizons: the curve that variants are held against at equal cost.

The reference is run at several horizons, each to the end of its own schedule and with the same seeds. Between
two neighbouring horizons its loss is taken as a power law of cost, ``log loss = a + b log cost``, through the
two measured means. One such line over all horizons would be bent by the part of the loss that no training
removes, by more than the effects that are looked for; so a line reaches from one horizon to the next and no
further, and how far a parabola through the three nearest horizons lies from it (``bend``) is added to every
interval. Nothing is said outside of the horizons that were run.

Shapes: H horizons, X places on the axis of log cost in steps of the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepkit.analysis.noise import TwoWay
from sweepkit.results.columns import REFERENCE, is_horizon, is_reference

_SLACK = 1e-9  # a horizon is inside of itself

Array = NDArray[np.float64]


def has_horizons(rows: pd.DataFrame, reference: str = REFERENCE) -> bool:
    """Whether the reference was run at two horizons or more."""
    labels = {str(name) for name in rows["variant"] if is_reference(str(name), reference)}
    return reference in labels and len(labels) > 1 and "num_steps" in rows


def without_horizons(rows: pd.DataFrame, reference: str = REFERENCE) -> pd.DataFrame:
    """The rows without the reference's other horizons."""
    others = [name for name in rows["variant"].unique() if is_horizon(str(name), reference)]
    return rows[~rows["variant"].isin(others)]


def points(rows: pd.DataFrame, metric: str, reference: str = REFERENCE) -> pd.DataFrame:
    """The reference's horizons, shortest first: variant, num_steps, loss (mean of ``metric``), n."""
    names = [name for name in rows["variant"].unique() if is_reference(str(name), reference)]
    rows = rows[rows[metric].notna() & rows["num_steps"].notna() & rows["variant"].isin(names)]
    table = rows.groupby("variant", sort=False).agg(
        num_steps=("num_steps", "mean"), loss=(metric, "mean"), n=(metric, "size")
    )
    return table.sort_values("num_steps").reset_index()


@dataclass(frozen=True)
class Curve:
    """The reference's horizons, shortest first.

    Attributes:
        labels: their variants.
        log_steps_H: log of their steps.
        level_H: log of the metric at each, seeds in which they differ taken out.
        own: log steps of the horizon that variants are planned at.
    """

    labels: tuple[str, ...]
    log_steps_H: Array
    level_H: Array
    own: float

    @classmethod
    def of(cls, rows: pd.DataFrame, metric: str, fit: TwoWay, reference: str = REFERENCE) -> Curve:
        """From complete runs and the two-way fit of the metric's logarithm over all of them."""
        known = points(rows, metric, reference)
        names = tuple(str(name) for name in known["variant"])
        steps = np.log(known["num_steps"].to_numpy(dtype=float))
        level = np.log(known["loss"].to_numpy(dtype=float))
        contrasts = [fit.contrast(name, reference) for name in names]
        if all(found is not None for found in contrasts):
            base = level[names.index(reference)]
            level = np.asarray([base + found[0] for found in contrasts if found is not None])
        return cls(names, steps, level, float(steps[names.index(reference)]))

    def weights(self, x_X: Array) -> Array:
        """Weight of each horizon in the line at ``x_X``, float64 [X, H]; rows sum to 1."""
        place_X = self._place(x_X)
        low_X, high_X = self.log_steps_H[place_X], self.log_steps_H[place_X + 1]
        share_X = (x_X - low_X) / (high_X - low_X)
        weights_XH = np.zeros((len(x_X), len(self.labels)))
        index_X = np.arange(len(x_X))
        weights_XH[index_X, place_X] = 1.0 - share_X
        weights_XH[index_X, place_X + 1] = share_X
        return weights_XH

    def slope(self, x_X: Array) -> Array:
        """d log loss / d log cost, float64 [X]."""
        slopes: Array = np.diff(self.level_H) / np.diff(self.log_steps_H)
        return slopes[self._place(x_X)]

    def bend(self, x_X: Array) -> Array:
        """How far a parabola through the three nearest horizons lies from the line, float64 [X], ≥ 0.

        Zero at a horizon, and everywhere when there are only two.
        """
        if len(self.labels) < 3:
            return np.zeros(len(x_X))
        first_X = np.clip(self._place(x_X) - 1, 0, len(self.labels) - 3)
        bend_X = np.zeros(len(x_X))
        line_X = self.weights(x_X) @ self.level_H
        for first in np.unique(first_X):
            nodes, here_X = slice(first, first + 3), first_X == first
            parabola = np.polyfit(self.log_steps_H[nodes] - self.own, self.level_H[nodes], 2)
            bend_X[here_X] = np.abs(np.polyval(parabola, x_X[here_X] - self.own) - line_X[here_X])
        return bend_X

    def contains(self, x: float) -> bool:
        """Whether nothing has to be extrapolated at log cost ``x``."""
        return bool(self.log_steps_H[0] - _SLACK <= x <= self.log_steps_H[-1] + _SLACK)

    @property
    def level(self) -> float:
        """Log of the metric at the planned horizon."""
        return float(self.level_H[int(np.argmin(np.abs(self.log_steps_H - self.own)))])

    @property
    def span(self) -> str:
        """The horizons as multiples of the planned one: ``0.5× to 2×``."""
        low, high = math.exp(self.log_steps_H[0] - self.own), math.exp(self.log_steps_H[-1] - self.own)
        return f"{low:.3g}× to {high:.3g}×"

    def _place(self, x_X: Array) -> NDArray[np.intp]:
        """Index of the horizon to the left of each place."""
        return np.clip(np.searchsorted(self.log_steps_H, x_X) - 1, 0, len(self.labels) - 2)
