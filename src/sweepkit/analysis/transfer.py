"""How an effect travels up the ladder: its size at every depth, what is retained, whether its sign turns.

Retention is the ratio of an effect to the one on the rung below, with Fieller's interval (Fieller 1954,
independent numerator and denominator). It is given only where the lower effect is distinguishable from
zero; a ratio of two noises says nothing. An effect that climbed was selected for looking good: against what
was measured, a winner keeps 30% (median) where the truth is 60%. So it is held against its shrunken estimate
on the rung below, with that estimate's error; one that was drawn at random, against what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from sweepkit.analysis.effects import Effect


@dataclass(frozen=True)
class TransferRow:
    """One variant's effect on one rung; a story is one variant's rows from the smallest depth up.

    ``effect`` is variant minus reference in the metric's unit (bits per byte): negative is better. None where
    nothing could be measured. ``retention`` is the ratio to the rung below (to its shrunken estimate, for a
    variant that was picked there), ``note`` how it stands beside that rung in words.
    """

    variant: str
    rung: str
    depth: int | None
    n: int
    effect: float | None
    low: float | None
    high: float | None
    confidence: float
    retention: float | None = None
    retention_low: float | None = None
    retention_high: float | None = None
    note: str = ""


def story(steps: list[tuple[str, int | None, Effect, bool]]) -> list[TransferRow]:
    """One variant's rows from its effects, smallest rung first.

    Args:
        steps: (rung, depth, effect, whether it was picked there for looking good) for every rung that the
            variant was run on.
    """
    rows: list[TransferRow] = []
    previous: tuple[str, Effect] | None = None
    was_picked = False
    for rung, depth, effect, is_picked in steps:
        ratio = retention(previous[1], effect, was_picked) if previous else None
        rows.append(
            TransferRow(
                variant=effect.variant,
                rung=rung,
                depth=depth,
                n=effect.n,
                effect=effect.effect,
                low=effect.low,
                high=effect.high,
                confidence=effect.confidence,
                retention=ratio[0] if ratio else None,
                retention_low=ratio[1] if ratio else None,
                retention_high=ratio[2] if ratio else None,
                note=_note(previous, (rung, effect), ratio, was_picked) if previous else "",
            )
        )
        previous, was_picked = (rung, effect), is_picked
    return rows


def retention(
    before: Effect, after: Effect, is_picked: bool = False
) -> tuple[float, float | None, float | None] | None:
    """``after / before`` with Fieller's interval; None when ``before`` may be zero.

    Args:
        is_picked: whether the variant climbed because ``before`` looked good. Then its shrunken estimate is
            the denominator, whose error is that of a posterior mean: the standard error by the root of what
            shrinkage leaves. No ends where nothing bounds them.
    """
    if before.effect is None or after.effect is None:
        return None
    if before.standard_error is None or after.standard_error is None or not _excludes_zero(before):
        return None
    quantile = float(special.stdtrit(min(before.df, after.df), 0.5 + after.confidence / 2))
    x, y, error = before.effect, after.effect, before.standard_error
    if is_picked:
        kept = (before.shrunk or 0.0) / before.effect
        if kept <= 0.0:
            return None
        x, error = kept * before.effect, math.sqrt(kept) * before.standard_error
    a = x * x - (quantile * error) ** 2
    c = y * y - (quantile * after.standard_error) ** 2
    if a <= 0.0:
        return y / x, None, None
    half = math.sqrt(max(0.0, x * x * y * y - a * c))
    return y / x, (x * y - half) / a, (x * y + half) / a


def _note(
    before: tuple[str, Effect],
    after: tuple[str, Effect],
    ratio: tuple[float, float | None, float | None] | None,
    is_picked: bool,
) -> str:
    """What changed from one rung to the next, both given with their effects."""
    (rung, lower), (_, upper) = before, after
    if lower.effect is None or upper.effect is None:
        return "not measured on both rungs"
    unknown = [name for name, effect in (before, after) if effect.standard_error is None]
    why = f"the noise at {' and '.join(unknown)} is not known"
    if lower.effect * upper.effect < 0:
        shown = _excludes_zero(lower) and _excludes_zero(upper)
        return f"sign flip against {rung}: " + (
            "shown on both rungs"
            if shown
            else f"not shown, {why if unknown else 'an interval includes zero'}"
        )
    if ratio is None:
        return f"no retention: {why if unknown else f'the effect at {rung} is not distinguishable from zero'}"
    interval = "no bounded interval"
    if ratio[1] is not None and ratio[2] is not None:
        interval = f"{upper.confidence:.0%} interval {ratio[1]:.0%} to {ratio[2]:.0%}"
    if is_picked:
        measured = upper.effect / lower.effect
        return (
            f"keeps {ratio[0]:.0%} of its shrunken effect at {rung} ({interval}; {measured:.0%} of what was "
            "measured there, for which it was picked)"
        )
    return f"keeps {ratio[0]:.0%} of the effect at {rung} ({interval})"


def _excludes_zero(effect: Effect) -> bool:
    return effect.low is not None and effect.high is not None and effect.low * effect.high > 0.0
