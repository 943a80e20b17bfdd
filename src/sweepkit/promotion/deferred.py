"""Fields whose effect is known to turn with scale: variants that change one are not decided on a small rung.

``decision.scale_sensitive: {precision: 24}`` says that what changes a field of ``precision`` is never
promoted or rejected for its loss below d24: it climbs, whatever it looked like, and takes nobody's place.
Divergence and memory still count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.sweep.cell import REFERENCE, VARIANT, Cell
from sweepkit.sweep.decision import DecisionRule

#: Variant → the declared field that it changes and the depth below which it is not decided.
Deferred = dict[str, tuple[str, int]]


def deferred(cells: Sequence[Cell], rule: DecisionRule) -> Deferred:
    """The variants among the cells of one rung that are not decided there."""
    reference = next((cell for cell in cells if cell.role == REFERENCE), None)
    if reference is None or not rule.scale_sensitive:
        return {}
    base = reference.plan.settings
    found: Deferred = {}
    for cell in cells:
        if cell.role != VARIANT or cell.variant in found:
            continue
        mine = cell.plan.settings
        changed = [name for name in mine.keys() | base.keys() if mine.get(name) != base.get(name)]
        hits = [
            (depth, field)
            for field, depth in rule.scale_sensitive.items()
            if (cell.plan.depth or depth) < depth
            and any(f"{name}.".startswith(f"{field}.") for name in changed)
        ]
        if hits:
            depth, field = max(hits)
            found[cell.variant] = (field, depth)
    return found


def undecided(verdict: Verdict, found: Deferred, is_last: bool) -> Verdict:
    """The verdict of a deferred variant, which climbs; any other as it is."""
    if verdict.variant not in found or verdict.evidence.against:
        return verdict
    field, depth = found[verdict.variant]
    said = f"{field} is declared scale-sensitive: not decided below d{depth}"
    return replace(
        verdict, outcome=Outcome.inconclusive, climbs=not is_last, reasons=[said, *verdict.reasons]
    )
