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

How it is solved: taking the variants out, or the blocks, whichever are more, leaves normal equations of the
size of the others, where one variant's share is a subtraction. No matrix is as long as the runs.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweepkit.analysis import block_equations
from sweepkit.analysis.block_equations import BlockEquations

OUTLIER_LEVEL = 0.01
_CHUNK = 512  # variants whose correlations with all others are looked at together
_ROUNDING = 1e-8  # relative; losses are summed in single precision and sums of squares cancel
_EXACT = 1e-9  # estimability: error of a contrast projected on what the blocks can tell

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """One variant's runs as the block effects see them (b blocks, r runs, legend: ``_b``, ``_r``)."""

    n: int
    mean: float
    blocks: tuple[str, ...]  # of its runs, r
    places_r: NDArray[np.int64]  # the same by number
    values_r: Array  # y, centred
    share_b: Array  # share of the variant's runs in each block
    cross_b: Array  # Bᵀ M y with M the centring within the variant
    squares: float  # yᵀ M y

    def centred(self, x_b: Array) -> Array:
        """``x`` of the runs' blocks, centred within the variant."""
        return np.asarray(x_b[self.places_r] - self.share_b @ x_b, dtype=np.float64)


@dataclass(frozen=True)
class TwoWay:
    """A least-squares fit of ``value = variant + block``.

    Attributes:
        sse: residual sum of squares; exactly 0 when it is below the rounding error of the values.
        df: residual degrees of freedom, runs minus rank; 0 when the noise cannot be seen.
        blocks: of the block effects; None without runs.
    """

    parts: Mapping[str, _Part]
    sse: float
    df: int
    blocks: BlockEquations | None
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
        assert self.blocks is not None
        unlike_b = np.sum([weight * part.share_b for part, weight in chosen], axis=0)
        solved_b = self.blocks.inverse(unlike_b)
        if np.max(np.abs(self.blocks.gram(solved_b) - unlike_b), initial=0.0) > _EXACT:
            return None
        estimate = sum(weight * part.mean for part, weight in chosen) - float(unlike_b @ self.block_effects_b)
        own = sum(weight**2 / part.n for part, weight in chosen)
        return estimate, own + float(unlike_b @ solved_b)

    def weights(self, variant: str, reference: str) -> dict[str, Array]:
        """Variant → weights of its runs in the estimate of ``variant - reference``, which has to exist."""
        assert self.blocks is not None
        sign = {variant: 1.0, reference: -1.0}
        unlike_b = self.blocks.inverse(self.parts[variant].share_b - self.parts[reference].share_b)
        return {
            name: sign.get(name, 0.0) / part.n - part.centred(unlike_b) for name, part in self.parts.items()
        }

    def residuals(self, name: str) -> tuple[Array, Array]:
        """Residuals of the runs of one variant, and their leverages (variance is 1 - leverage)."""
        assert self.blocks is not None
        part = self.parts[name]
        design_rb = -np.tile(part.share_b, (part.n, 1))
        design_rb[np.arange(part.n), part.places_r] += 1.0
        leverage = 1.0 / part.n + (design_rb * self.blocks.inverse(design_rb)).sum(axis=1)
        return part.values_r - part.centred(self.block_effects_b), leverage

    def squared_weights(self, variant: str, reference: str) -> Array:
        """Sum of the squared ``weights`` over every variant's runs [v], in the order of ``parts``."""
        assert self.blocks is not None
        solved_b = self.blocks.inverse(self.parts[variant].share_b - self.parts[reference].share_b)
        mean_v, share_vb = self.blocks.share_vb @ solved_b, self.blocks.share_vb
        found_v = self.blocks.runs_v * np.maximum(share_vb @ solved_b**2 - mean_v**2, 0.0)
        found_v[[self._places[variant], self._places[reference]]] += [
            1.0 / self.parts[variant].n,
            1.0 / self.parts[reference].n,
        ]
        return np.asarray(found_v)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        """Variant → its place among the parts."""
        return {name: place for place, name in enumerate(self.parts)}

    def smallest_correlations(
        self, variants: Sequence[str], reference: str, variances: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Variant → the smallest correlation of its contrast with another's.

        Args:
            variances: of one run of each variant; None where all are alike.
        """
        assert self.blocks is not None
        variance = dict.fromkeys(self.parts, 1.0) if variances is None else variances
        base = self.parts[reference]
        solved_nb = self.blocks.inverse(
            np.stack([self.parts[name].share_b - base.share_b for name in variants])
        )
        own_n = np.asarray([variance[name] / self.parts[name].n for name in variants])
        shared, share_vb = variance[reference] / base.n, self.blocks.share_vb
        noise_v = self.blocks.runs_v * [variance[name] for name in self.parts]
        chunks = [slice(at, at + _CHUNK) for at in range(0, len(variants), _CHUNK)]
        left_nb = np.concatenate(
            [
                solved_nb[rows] * (noise_v @ share_vb) - ((solved_nb[rows] @ share_vb.T) * noise_v) @ share_vb
                for rows in chunks
            ]
        )
        scale_n = np.sqrt(own_n + shared + (left_nb * solved_nb).sum(axis=1))
        smallest: list[float] = []
        for rows in chunks:
            both_cn = (left_nb[rows] @ solved_nb.T + shared) / scale_n
            here = np.arange(len(both_cn))
            both_cn[here, here + rows.start] = np.inf  # with itself
            smallest += (both_cn.min(axis=1) / scale_n[rows]).tolist()
        return dict(zip(variants, smallest, strict=True))

    def without_each(self, values: Sequence[float]) -> dict[str, tuple[float, int]]:
        """Variant → residual sum of squares and degrees of freedom of all others."""
        return _without_each(self, _floor(values))


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
    of_variant: dict[str, list[tuple[str, float]]] = {}
    for name, block, value in rows:
        of_variant.setdefault(name, []).append((block, value))
    parts = {}
    for name, own in of_variant.items():
        y = np.asarray([value for _, value in own], dtype=np.float64) - centre
        y_centred = y - y.mean()
        places_r = np.asarray([place[block] for block, _ in own])
        parts[name] = _Part(
            n=len(own),
            mean=float(y.mean()),
            blocks=tuple(block for block, _ in own),
            places_r=places_r,
            values_r=y_centred,
            share_b=np.bincount(places_r, minlength=len(place)) / len(own),
            cross_b=np.bincount(places_r, weights=y_centred, minlength=len(place)).astype(np.float64),
            squares=float(y_centred @ y_centred),
        )
    return parts


def _solve(parts: Mapping[str, _Part], floor: float) -> TwoWay:
    """The fit of these parts; sums of squares under ``floor`` a run are rounding."""
    if not parts:
        return TwoWay(parts, 0.0, 0, None, np.zeros(0))
    blocks = BlockEquations.of([part.share_b for part in parts.values()], [part.n for part in parts.values()])
    cross_b = np.sum([part.cross_b for part in parts.values()], axis=0)
    block_effects_b = blocks.inverse(cross_b)
    squares = math.fsum(part.squares for part in parts.values())
    runs = sum(part.n for part in parts.values())
    df = runs - len(parts) - blocks.rank
    sse = _left(squares - float(cross_b @ block_effects_b), df, runs, floor)
    return TwoWay(parts, sse, df, blocks, block_effects_b)


def _left(sse: float, df: int, runs: int, floor: float) -> float:
    return sse if df > 0 and sse > runs * floor else 0.0


def _without_each(fit: TwoWay, floor: float) -> dict[str, tuple[float, int]]:
    """``TwoWay.without_each``."""
    blocks, num_variants = fit.blocks, len(fit.parts)
    if blocks is None or num_variants <= len(blocks.runs_b):
        rest = ((name, _solve(_without(fit.parts, name), floor)) for name in fit.parts)
        return {name: (others.sse, others.df) for name, others in rest}
    gram_bb = np.diag(blocks.runs_b) - (blocks.share_vb * blocks.runs_v[:, None]).T @ blocks.share_vb
    cross_b = np.sum([part.cross_b for part in fit.parts.values()], axis=0)
    squares = math.fsum(part.squares for part in fit.parts.values())
    runs = int(blocks.runs_v.sum())
    found = {}
    alike: dict[tuple[int, bytes], tuple[Array, int]] = {}  # most variants ran in the same blocks
    for name, part in fit.parts.items():
        if (layout := (part.n, part.share_b.tobytes())) not in alike:
            own_bb = part.n * (np.diag(part.share_b) - np.outer(part.share_b, part.share_b))
            alike[layout] = block_equations.inverted(gram_bb - own_bb)
        inverse_bb, rank = alike[layout]
        others_b = cross_b - part.cross_b
        df = runs - part.n - (num_variants - 1) - rank
        sse = squares - part.squares - float(others_b @ inverse_bb @ others_b)
        found[name] = _left(sse, df, runs - part.n, floor), df
    return found


def _noisiest(fit: TwoWay, reference: str, floor: float) -> str | None:
    """The variant with the most significant excess of residual variance, if any is significant."""
    candidates = [name for name in fit.parts if name != reference]
    if len(candidates) < 2 or fit.df < 2:
        return None
    found: list[tuple[float, str]] = []
    for name, (rest_sse, rest_df) in _without_each(fit, floor).items():
        df = fit.df - rest_df
        if name != reference and df > 0 and rest_df > 0 and rest_sse > 0.0:
            ratio = max(fit.sse - rest_sse, 0.0) / df / (rest_sse / rest_df)
            found.append((float(special.fdtrc(df, rest_df, ratio)), name))
    p, name = min(found, default=(1.0, ""))
    return name if p <= OUTLIER_LEVEL / len(candidates) else None


def _without(parts: Mapping[str, _Part], left_out: str) -> dict[str, _Part]:
    return {name: part for name, part in parts.items() if name != left_out}


def _floor(values: Sequence[float]) -> float:
    """Square of the resolution of one value."""
    return (_ROUNDING * max((abs(value) for value in values), default=0.0)) ** 2
