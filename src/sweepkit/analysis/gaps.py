"""How far a variant is from each of the reference's horizons, in log loss, and how sure that is.

The noise is that of the two-way model of ``noise.py`` on the logarithm of the metric, over the variants and
the reference's horizons, shrunk towards a calibration as that of ``effects.py`` is. Where ``unequal.py``
finds the reference noisier than its variants, or these unlike each other, each has its own, and every horizon
the reference's. Where a variant shares no seed with the reference, each has its own spread, and the horizons
of the reference are taken to move together, which is the wider of the two extremes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis import calibration, noise, unequal
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.frontier import Array, Curve
from sweepkit.analysis.unequal import Kind, Spread


@dataclass(frozen=True)
class Runs:
    names: list[str]
    blocks: list[str]
    logs: list[float]

    def values(self, name: str) -> Array:
        """One a seed: runs that share a seed's luck count as one where they are not paired."""
        return np.asarray(list(noise.block_means(self.names, self.blocks, self.logs)[name].values()))

    def fit(self, chosen: list[str]) -> noise.TwoWay:
        """The two-way fit of these variants alone, each seed's mean; more runs calm no noise of others."""
        means = noise.block_means(self.names, self.blocks, self.logs)
        kept = [(name, block, y) for name in chosen for block, y in means.get(name, {}).items()]
        return noise.fit_two_way(*(list(column) for column in zip(*kept, strict=True)))


@dataclass(frozen=True)
class Gap:
    """Variant minus each horizon in log loss, float64 [H], its covariance [H, H] and degrees of freedom."""

    mean_H: Array
    covariance_HH: Array | None  # None: the noise is not known
    df: float

    @classmethod
    def paired(cls, variant: str, curve: Curve, fit: noise.TwoWay, known: Calibration | None) -> Gap | None:
        """None where the seeds do not connect them."""
        gaps = [fit.contrast(variant, label) for label in curve.labels]
        between = [[_leverage(fit, a, b) for b in curve.labels] for a in curve.labels]
        if any(gap is None for gap in gaps) or any(None in row for row in between):
            return None
        mean_H, own_H = np.asarray([gap for gap in gaps if gap is not None]).T
        unit_HH = (own_H[:, None] + own_H[None, :] - np.asarray(between, dtype=float)) / 2.0
        settled = calibration.settle(fit.sd, fit.df, known)
        if settled is None:
            return cls(mean_H, None, 0.0)
        return cls(mean_H, settled.sd**2 * unit_HH, settled.df)

    @classmethod
    def moderated(cls, variant: str, curve: Curve, spread: Spread) -> Gap | None:
        """Of runs that are not equally noisy; None where the seeds do not connect them."""
        if variant not in spread.variances:
            return None
        known = [error for label in curve.labels if (error := spread.error(variant, label)) is not None]
        if len(known) < len(curve.labels):
            return None
        parts = spread.fit.parts
        sd_q = np.concatenate(
            [np.full(part.n, math.sqrt(spread.variances[name].value)) for name, part in parts.items()]
        )
        weight_Hq = np.asarray(
            [
                np.concatenate(list(spread.fit.weights(variant, label).values())) * sd_q
                for label in curve.labels
            ]
        )
        gaps = [spread.fit.contrast(variant, label) for label in curve.labels]
        mean_H = np.asarray([gap[0] for gap in gaps if gap is not None])
        return cls(mean_H, weight_Hq @ weight_Hq.T, min(error.df for error in known))

    @classmethod
    def unpaired(cls, variant: str, curve: Curve, runs: Runs) -> Gap:
        """Spreads as they are, Satterthwaite's degrees of freedom."""
        mine, groups = runs.values(variant), [runs.values(label) for label in curve.labels]
        mean_H = np.asarray([mine.mean() - group.mean() for group in groups])
        fewest = min(len(group) for group in groups)
        if len(mine) < 2 or fewest < 2:
            return cls(mean_H, None, 0.0)
        own = float(mine.var(ddof=1)) / len(mine)
        base = float(np.mean([group.var(ddof=1) for group in groups])) / fewest
        if own + base == 0.0:
            return cls(mean_H, None, 0.0)
        df = (own + base) ** 2 / (own**2 / (len(mine) - 1) + base**2 / (fewest - 1))
        return cls(mean_H, np.full((len(groups), len(groups)), own + base), df)


def unlike(runs: Runs, curve: Curve, reference: str) -> Spread | None:
    """Whose noise is unlike whose, told at the reference's own horizon; None where all are alike."""
    other = [label for label in curve.labels if label != reference]
    rows = zip(runs.names, runs.blocks, runs.logs, strict=True)
    names, blocks, logs = map(list, zip(*(row for row in rows if row[0] not in other), strict=True))
    pool = noise.pool(names, blocks, logs, reference)
    found = unequal.spread(names, blocks, logs, reference, pool)
    if found.kind is Kind.equal:
        return None
    chosen = [name for name in dict.fromkeys(runs.names) if name in found.variances or name in other]
    kept = [row for row in zip(runs.names, runs.blocks, runs.logs, strict=True) if row[0] in chosen]
    fit = noise.fit_two_way(*(list(column) for column in zip(*kept, strict=True)))
    variances = dict(found.variances) | dict.fromkeys(other, found.variances[reference])
    return Spread(found.kind, fit, variances)


def _leverage(fit: noise.TwoWay, one: str, other: str) -> float | None:
    if one == other:
        return 0.0
    found = fit.contrast(one, other)
    return None if found is None else found[1]
