"""Each variant against the reference on one rung: effect, interval, one-sided p, shrunken effect.

An effect is variant minus reference in the metric's unit; for bits per byte negative is better. Variants
that saw the reference's tokens (equal ``pair_key``) are paired with it by block, and the noise is the
pooled residual of ``noise.py``, shrunk towards a calibration where there is one; where the reference or the
variants have a noise of their own, that of ``unequal.py``. A variant with other tokens (another dataset,
batch or sequence length) or other seeds shares no luck with the reference: it is compared unpaired
(``one_way.py``). Where the reference ran several times a seed, the two-way fit takes every run; a variant's
own differences and unpaired ones take each seed's mean, for its runs share luck. Intervals are two-sided at
``1 - 2 alpha``, so that one excludes zero exactly when the one-sided p is at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special  # Student's t without the overhead of scipy.stats

from sweepkit.analysis import calibration, noise, shrinkage, unequal
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.copies import copies_of, near_copies_of
from sweepkit.analysis.one_way import Groups
from sweepkit.analysis.unequal import Kind, Spread
from sweepkit.results.columns import REFERENCE

POOLED, OWN, MODERATED, SAME, NONE = "pooled", "own", "moderated", "same", "none"
ONE_WAY, WELCH = "one-way", "Welch"


@dataclass(frozen=True)
class Effect:
    """One variant's difference to the reference.

    Attributes:
        variant: label.
        n: seeds compared: those that both have when paired, else those of the smaller group.
        effect: variant minus reference, in the metric's unit; None when not estimable.
        standard_error, df: None and 0 when the noise could not be measured.
        low, high: interval at ``confidence``.
        p: one-sided, of "the variant is not below the reference".
        noise_sd: standard deviation of one run's noise behind the standard error.
        method: ``pooled`` (paired, the rung's pooled noise), ``own`` (paired, its own differences, because
            its noise is out of line, or most of its runs equal the reference's), ``moderated``
            (paired, because no two variants are equally noisy), ``one-way`` (unpaired, pooled noise),
            ``Welch`` (unpaired, unequal noise), ``same`` (equal to the reference up to
            ``copies.SAME_VALUE``, so that it changed nothing) or ``none``.
        shrunk: the shrunken effect, which ``shrinkage`` estimates from all variants of the rung.
        noise_source: the sweep's ``residual``, a ``calibration`` or both.
        rho: smallest correlation of a pooled comparison with any other pooled one (1 / (1 + m) with m runs of
            the reference a seed, without missing runs).
        reference_sd: of one run of the reference, where it was found to be noisier than its variants.
        seeds: that the reference's noise was seen with.
    """

    variant: str
    n: int
    effect: float | None
    standard_error: float | None
    df: float
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    noise_sd: float | None
    method: str
    shrunk: float | None = None
    noise_source: str = ""
    rho: float = 0.5
    reference_sd: float | None = None
    seeds: int = 0

    @classmethod
    def unknown(cls, variant: str, confidence: float, n: int = 0) -> Effect:
        """An effect that cannot be estimated."""
        return cls(variant, n, None, None, 0.0, None, None, confidence, None, None, NONE)

    def p_below(self, bound: float) -> float | None:
        """One-sided p of "the true effect is ``bound`` or more": small shows that it lies below."""
        if self.effect is None or self.standard_error is None:
            return None
        return float(special.stdtr(self.df, (self.effect - bound) / self.standard_error))

    def shifted(self, by: float) -> Effect:
        """The same with ``by``, which is known exactly, added."""
        if self.effect is None:
            return self
        low, high = (None if end is None else end + by for end in (self.low, self.high))
        moved = replace(self, effect=self.effect + by, low=low, high=high)
        return replace(moved, p=moved.p_below(0.0))

    def turned(self, sign: int) -> Effect:
        """The same of the metric times ``sign`` (1 or -1); p stays what it says of better and worse."""
        if sign == 1 or self.effect is None:
            return self
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        shrunk = None if self.shrunk is None else -self.shrunk
        return replace(self, effect=-self.effect, low=low, high=high, shrunk=shrunk)

    def p_above(self, bound: float) -> float | None:
        """One-sided p of "the true effect is ``bound`` or less": small shows that it lies above."""
        below = self.p_below(bound)
        return None if below is None else 1.0 - below


def effects(
    frame: pd.DataFrame,
    column: str,
    alpha: float,
    reference: str = REFERENCE,
    known: Calibration | None = None,
    apart: Sequence[str] = (),
) -> list[Effect]:
    """Effects of all variants in ``frame`` on ``column``, in order of appearance.

    Args:
        frame: all runs of one rung; columns variant, seed, pair_key and ``column``. Rows without a value
            are left out of the fit, but show which blocks were planned.
        column: what is compared; lower is better.
        alpha: one-sided level; intervals have confidence ``1 - 2 alpha``.
        reference: label of the reference.
        known: noise that was measured beforehand under the same conditions.
        apart: variants whose effects say nothing about how large the others' may be (``shrinkage``).
    """
    names = list(dict.fromkeys(str(name) for name in frame["variant"] if name != reference))
    rows = frame[frame[column].notna()]
    labels = [str(name) for name in rows["variant"]]
    blocks = block_names(rows)
    values = [float(value) for value in rows[column]]
    copies = copies_of(labels, [str(seed) for seed in rows["seed"]], values, reference)
    # a copy has no noise of its own, and would thin the pool's
    near = near_copies_of(labels, blocks, values, reference) - copies.keys()
    own = [i for i, label in enumerate(labels) if label not in copies and label not in near]
    noisy = (
        [labels[place] for place in own],
        [blocks[place] for place in own],
        [values[place] for place in own],
    )
    pooled = noise.pool(*noisy, reference)
    spread = unequal.spread(*noisy, reference, pooled)
    groups = noise.block_means(labels, blocks, values)
    # blocks as planned, so that a pair lost to a failure does not make a paired variant unpaired
    planned: dict[str, set[str]] = {}
    for name, block in zip(frame["variant"], block_names(frame), strict=True):
        planned.setdefault(str(name), set()).add(block)
    confidence = 1.0 - 2.0 * alpha
    base = groups.get(reference, {})
    apart_from_it = dict.fromkeys(
        name for name in names if not planned[name] & planned.get(reference, set()) and name not in copies
    )
    unpaired = {name: list(groups[name].values()) for name in [reference, *apart_from_it] if name in groups}
    beside = Groups.of(unpaired, reference, len(base) < labels.count(reference))
    found = []
    for name in names:
        mine = groups.get(name, {})
        if name in copies:
            continue
        if name in apart_from_it:
            found.append(_unpaired(name, beside, confidence))
        else:
            found.append(
                _own(name, mine, base, reference, confidence)
                if name in near
                else _paired(name, mine, base, pooled, spread, reference, confidence, known)
            )
    found = [replace(item, seeds=len(base)) for item in _related(found, spread, reference, beside)]
    shrunk = {
        item.variant: item
        for are_apart in (False, True)
        for item in _shrunk([item for item in found if (item.variant in apart) is are_apart])
    }
    for name, twin in copies.items():
        shrunk[name] = (
            replace(_same(name, groups, reference, confidence), seeds=len(base))
            if twin == reference
            else replace(shrunk[twin], variant=name)
        )
    return [shrunk[name] for name in names]


def _same(name: str, groups: Mapping[str, Mapping[str, float]], reference: str, confidence: float) -> Effect:
    mine, base = (groups[key].values() for key in (name, reference))  # other rows of data, maybe, read alike
    off = math.fsum(mine) / len(mine) - math.fsum(base) / len(base)
    return Effect(name, len(mine), off, None, 0.0, None, None, confidence, None, None, SAME, shrunk=0.0)


def block_names(frame: pd.DataFrame) -> list[str]:
    """The block of every row: its data order, or its seed where that is not known."""
    keys = frame["pair_key"] if "pair_key" in frame else [None] * len(frame)
    return [
        f"seed {seed}" if pd.isna(key) else str(key) for key, seed in zip(keys, frame["seed"], strict=True)
    ]


def _related(found: list[Effect], spread: Spread, reference: str, beside: Groups) -> list[Effect]:
    """Those that share one noise with their smallest correlation."""
    rho: dict[str, float] = {}
    paired = [item.variant for item in found if item.method == POOLED and item.p is not None]
    if len(paired) > 1 and spread.kind is Kind.equal:
        rho |= spread.fit.smallest_correlations(paired, reference)
    elif len(paired) > 1:
        rho |= spread.correlations(paired, reference)
    unpaired = [item.variant for item in found if item.method == ONE_WAY and item.p is not None]
    if unpaired:
        rho |= dict.fromkeys(unpaired, beside.rho(unpaired))
    return [
        replace(item, rho=min(max(float(rho[item.variant]), 0.0), 0.99)) if item.variant in rho else item
        for item in found
    ]


def _shrunk(found: list[Effect]) -> list[Effect]:
    """With shrunken effects; t statistics count as the normal ones of equal p."""
    sizes: dict[str, tuple[float, float]] = {}
    for effect in found:
        if effect.effect is None or effect.standard_error is None:
            continue
        z = _normal(effect.effect / effect.standard_error, effect.df)
        sizes[effect.variant] = (effect.effect, effect.effect / z if z else effect.standard_error)
    if not sizes:
        return found
    values = np.asarray(list(sizes.values()))
    shrunk = dict(zip(sizes, shrinkage.shrink(values[None, :, 0], values[None, :, 1])[0], strict=True))
    return [
        replace(effect, shrunk=float(shrunk[effect.variant])) if effect.variant in shrunk else effect
        for effect in found
    ]


def _normal(t: float, df: float) -> float:
    """The normal statistic with the p of ``t``."""
    tail = float(special.stdtr(df, -abs(t)))
    return math.copysign(-float(special.ndtri(max(tail, 1e-300))), t)


def _paired(
    name: str,
    mine: Mapping[str, float],
    base: Mapping[str, float],
    pooled: noise.Pool,
    spread: Spread,
    reference: str,
    confidence: float,
    known: Calibration | None,
) -> Effect:
    n = len(mine.keys() & base.keys())
    fit, method = spread.fit, POOLED
    if spread.kind is Kind.everybody:
        method = MODERATED
    elif name in pooled.excluded:
        return _own(name, mine, base, reference, confidence)
    contrast = fit.contrast(name, reference)
    if contrast is None:
        return Effect.unknown(name, confidence, n)
    estimate, leverage = contrast
    if method == MODERATED or (method == POOLED and spread.kind is Kind.reference):
        error = spread.error(name, reference)
        assert error is not None
        sd = math.sqrt(error.value / leverage)
        effect = _measured(name, n, estimate, math.sqrt(error.value), error.df, confidence, sd, method)
        return replace(effect, reference_sd=math.sqrt(spread.variances[reference].value))
    settled = calibration.settle(fit.sd, fit.df, known)
    if settled is None:
        return Effect(name, n, estimate, None, 0.0, None, None, confidence, None, None, method)
    error_of_mean = settled.sd * math.sqrt(leverage)
    effect = _measured(name, n, estimate, error_of_mean, settled.df, confidence, settled.sd, method)
    return replace(effect, noise_source=settled.source)


def _own(
    name: str, mine: Mapping[str, float], base: Mapping[str, float], reference: str, confidence: float
) -> Effect:
    """By the variant's own paired differences."""
    n = len(mine.keys() & base.keys())
    labels = [name] * len(mine) + [reference] * len(base)
    fit = noise.fit_two_way(labels, [*mine, *base], [*mine.values(), *base.values()])
    contrast = fit.contrast(name, reference)
    if contrast is None:
        return Effect.unknown(name, confidence, n)
    estimate, leverage = contrast
    if fit.sd is None:
        return Effect(name, n, estimate, None, 0.0, None, None, confidence, None, None, OWN)
    return _measured(name, n, estimate, fit.sd * math.sqrt(leverage), fit.df, confidence, fit.sd, OWN)


def _unpaired(name: str, beside: Groups, confidence: float) -> Effect:
    mine, base = (beside.values.get(key, ()) for key in (name, beside.reference))
    n = min(len(mine), len(base))
    if n == 0:
        return Effect.unknown(name, confidence, n)
    method = ONE_WAY if beside.is_equal else WELCH
    estimate, error = beside.difference(name), beside.error(name)
    if error is None:
        return Effect(name, n, estimate, None, 0.0, None, None, confidence, None, None, method)
    sd = math.sqrt(error.value / (1 / len(mine) + 1 / len(base)))
    return _measured(name, n, estimate, math.sqrt(error.value), error.df, confidence, sd, method)


def _measured(
    name: str, n: int, estimate: float, error: float, df: float, confidence: float, sd: float, method: str
) -> Effect:
    half = float(special.stdtrit(df, 0.5 + confidence / 2)) * error
    p = float(special.stdtr(df, estimate / error))
    return Effect(
        name, n, estimate, error, float(df), estimate - half, estimate + half, confidence, p, sd, method,
        noise_source=calibration.OWN,
    )  # fmt: skip
