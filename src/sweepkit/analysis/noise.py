"""The noise of one rung: what is left of the metric after variant and seed are taken out.

Runs of one seed see the same tokens in the same order and, where the reference runs as often as a variant,
start from the same weights, so they share luck. The two-way model ``y = variant + block + noise`` takes that
luck out exactly as far as it really is shared; the residual variance, pooled over all variants and the
reference, is the noise that effects are measured against, with ``runs - rank`` degrees of freedom. The
reference may have several runs in a block, where all start from weights of their own
(``sweep/reference_runs.py``); each is a run like any other. The fit is ordinary least squares, so missing
runs are allowed: the contrast of two variants is then the intra-block estimate.

Pooling assumes equal noise. A variant whose own residuals are too large for that (an F test of its share of
the residual sum of squares against everybody else's, Bonferroni over variants at ``OUTLIER_LEVEL``) is taken
out of the pool, so that one unstable variant neither drowns the others in its noise nor hides behind
their calm; it is then measured by its own differences.

How it is solved: centring within each variant removes the variant effects, which leaves normal equations
of the size of the blocks that are sums over variants, so that leaving one variant out is a subtraction.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

OUTLIER_LEVEL = 0.01
_ROUNDING = 1e-8  # relative; losses are summed in single precision and sums of squares cancel
_EXACT = 1e-9  # estimability: error of a contrast projected on what the blocks can tell

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """What one variant adds to the normal equations of the block effects (b blocks, legend: ``_b``)."""

    n: int
    mean: float
    blocks: tuple[str, ...]  # of its runs, r
    centred_rb: Array  # design of the block effects, centred
    values_r: Array  # y, centred
    share_b: Array  # share of the variant's runs in each block
    gram_bb: Array  # Bᵀ M B with M the centring within the variant
    cross_b: Array  # Bᵀ M y
    squares: float  # yᵀ M y


@dataclass(frozen=True)
class TwoWay:
    """A least-squares fit of ``value = variant + block``.

    Attributes:
        sse: residual sum of squares; exactly 0 when it is below the rounding error of the values.
        df: residual degrees of freedom, runs minus rank; 0 when the noise cannot be seen.
    """

    parts: Mapping[str, _Part]
    sse: float
    df: int
    inverse_bb: Array  # pseudo-inverse of the summed gram: covariance of block effects per noise variance
    gram_bb: Array
    block_effects_b: Array

    @property
    def sd(self) -> float | None:
        """Residual standard deviation, in the value's unit; None when the noise cannot be seen.

        That is without degrees of freedom, and also when nothing is left over at all: seeds that change
        nothing measure nothing, and dividing by their zero would make every difference significant.
        """
        return float(np.sqrt(self.sse / self.df)) if self.df > 0 and self.sse > 0.0 else None

    def contrast(self, variant: str, reference: str) -> tuple[float, float] | None:
        """``combination`` of ``variant - reference``."""
        return self.combination({variant: 1.0, reference: -1.0})

    def combination(self, weights: Mapping[str, float]) -> tuple[float, float] | None:
        """Estimate of Σ weight × variant and its variance per unit of noise variance.

        Args:
            weights: variant → weight; they sum to zero, so that the common level drops out.

        Returns:
            None when a variant is missing or the data do not connect them (no chain of shared blocks).
        """
        if not weights.keys() <= self.parts.keys():
            return None
        chosen = [(self.parts[name], weight) for name, weight in weights.items()]
        unlike_b = np.sum([weight * part.share_b for part, weight in chosen], axis=0)
        if np.max(np.abs(self.gram_bb @ (self.inverse_bb @ unlike_b) - unlike_b), initial=0.0) > _EXACT:
            return None
        estimate = sum(weight * part.mean for part, weight in chosen) - float(unlike_b @ self.block_effects_b)
        own = sum(weight**2 / part.n for part, weight in chosen)
        return estimate, own + float(unlike_b @ self.inverse_bb @ unlike_b)

    def weights(self, variant: str, reference: str) -> dict[str, Array]:
        """Variant → weights of its runs in the estimate of ``variant - reference``, which has to exist."""
        sign = {variant: 1.0, reference: -1.0}
        unlike_b = self.inverse_bb @ (self.parts[variant].share_b - self.parts[reference].share_b)
        return {
            name: sign.get(name, 0.0) / part.n - part.centred_rb @ unlike_b
            for name, part in self.parts.items()
        }

    def residuals(self, name: str) -> tuple[Array, Array]:
        """Residuals of the runs of one variant, and their leverages (variance is 1 - leverage)."""
        part = self.parts[name]
        leverage = 1.0 / part.n + np.einsum("rb,bc,rc->r", part.centred_rb, self.inverse_bb, part.centred_rb)
        return part.values_r - part.centred_rb @ self.block_effects_b, leverage

    def covariance(self, variants: Sequence[str], reference: str) -> Array:
        """Covariance of the contrasts of ``variants`` with the reference, per unit of noise variance."""
        base = self.parts[reference]
        unlike = np.stack([self.parts[name].share_b - base.share_b for name in variants])
        own = np.diag([1.0 / self.parts[name].n for name in variants])
        return np.asarray(own + 1.0 / base.n + unlike @ self.inverse_bb @ unlike.T, dtype=np.float64)


@dataclass(frozen=True)
class Pool:
    """The pooled fit and the variants that were too noisy for it."""

    fit: TwoWay
    excluded: tuple[str, ...]


def fit_two_way(variants: Sequence[str], blocks: Sequence[str], values: Sequence[float]) -> TwoWay:
    """Fit ``value = variant + block`` by least squares; one entry a run, in any order and balance."""
    return _solve(_parts(variants, blocks, values), _floor(values))


def pool(variants: Sequence[str], blocks: Sequence[str], values: Sequence[float], reference: str) -> Pool:
    """The pooled fit, without variants whose residual variance is out of line (never the reference)."""
    parts, floor = _parts(variants, blocks, values), _floor(values)
    excluded: list[str] = []
    while True:
        fit = _solve(parts, floor)
        worst = _noisiest(fit, reference, floor)
        if worst is None:
            return Pool(fit, tuple(excluded))
        excluded.append(worst)
        parts = _without(parts, worst)


def without(fit: TwoWay, left_out: str, values: Sequence[float]) -> TwoWay:
    """The fit of all others; what ``sse`` and ``df`` lose is the residual of the one left out."""
    return _solve(_without(fit.parts, left_out), _floor(values))


def block_means(
    variants: Sequence[str], blocks: Sequence[str], values: Sequence[float]
) -> dict[str, dict[str, float]]:
    """Variant → block → mean. Runs of one block share its luck: beside other blocks they count as one."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, block, value in zip(variants, blocks, values, strict=True):
        found.setdefault(name, {}).setdefault(block, []).append(value)
    return {
        name: {block: math.fsum(own) / len(own) for block, own in by_block.items()}
        for name, by_block in found.items()
    }


def _parts(variants: Sequence[str], blocks: Sequence[str], values: Sequence[float]) -> dict[str, _Part]:
    """Each variant's part. A block with a single run tells nothing about any difference and is left out."""
    size = Counter(blocks)
    rows = [row for row in zip(variants, blocks, values, strict=True) if size[row[1]] > 1]
    place = {block: index for index, block in enumerate(dict.fromkeys(row[1] for row in rows))}
    centre = float(np.mean([row[2] for row in rows])) if rows else 0.0  # a large common level costs digits
    parts = {}
    for name in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == name]
        y = np.asarray([row[2] for row in own], dtype=np.float64) - centre
        design = np.zeros((len(own), len(place)))
        design[np.arange(len(own)), [place[row[1]] for row in own]] = 1.0
        centred = design - design.mean(axis=0)
        y_centred = y - y.mean()
        parts[name] = _Part(
            n=len(own),
            mean=float(y.mean()),
            blocks=tuple(row[1] for row in own),
            centred_rb=centred,
            values_r=y_centred,
            share_b=design.mean(axis=0),
            gram_bb=centred.T @ centred,
            cross_b=centred.T @ y_centred,
            squares=float(y_centred @ y_centred),
        )
    return parts


def _solve(parts: Mapping[str, _Part], floor: float) -> TwoWay:
    """The fit of these parts; sums of squares under ``floor`` a run are rounding."""
    runs = sum(part.n for part in parts.values())
    empty = np.zeros(len(next(iter(parts.values())).share_b) if parts else 0)
    gram_bb = sum((part.gram_bb for part in parts.values()), start=np.outer(empty, empty))
    cross_b = sum((part.cross_b for part in parts.values()), start=empty)
    inverse_bb: Array = np.asarray(np.linalg.pinv(gram_bb, hermitian=True), dtype=np.float64)
    block_effects_b = inverse_bb @ cross_b
    rank = int(np.linalg.matrix_rank(gram_bb, hermitian=True)) if gram_bb.size else 0
    df = runs - len(parts) - rank
    sse = sum(part.squares for part in parts.values()) - float(cross_b @ block_effects_b)
    sse = sse if df > 0 and sse > runs * floor else 0.0
    return TwoWay(parts, sse, df, inverse_bb, gram_bb, block_effects_b)


def _noisiest(fit: TwoWay, reference: str, floor: float) -> str | None:
    """The variant with the most significant excess of residual variance, if any is significant."""
    candidates = [name for name in fit.parts if name != reference]
    found: list[tuple[float, str]] = []
    for name in candidates if len(candidates) > 1 and fit.df > 1 else ():
        rest = _solve(_without(fit.parts, name), floor)
        df = fit.df - rest.df
        if df > 0 and rest.df > 0 and rest.sse > 0.0:
            ratio = max(fit.sse - rest.sse, 0.0) / df / (rest.sse / rest.df)
            found.append((float(special.fdtrc(df, rest.df, ratio)), name))
    p, name = min(found, default=(1.0, ""))
    return name if p <= OUTLIER_LEVEL / max(1, len(candidates)) else None


def _without(parts: Mapping[str, _Part], left_out: str) -> dict[str, _Part]:
    return {name: part for name, part in parts.items() if name != left_out}


def _floor(values: Sequence[float]) -> float:
    """Square of the resolution of one value."""
    return (_ROUNDING * max((abs(value) for value in values), default=0.0)) ** 2
