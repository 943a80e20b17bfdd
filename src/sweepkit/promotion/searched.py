"""What climbs from the rung that was searched.

A ladder's single runs only rank, whatever the reference's one run was: a fixed number of variants climbs. A
search has as many points as its budget allows, so that some always climb unless they have to beat the
reference.
"""

from __future__ import annotations

from dataclasses import replace

from sweepkit.promotion.verdict_record import Verdict
from sweepkit.sweep.decision import DecisionRule


def only_if_better(verdict: Verdict, rule: DecisionRule) -> Verdict:
    """A verdict of the searched rung: by single runs, only a point that is better by min_effect climbs."""
    effect = verdict.effect
    if not verdict.climbs or effect.n > 1 or effect.effect is None:
        return verdict
    if -rule.sign * effect.effect >= rule.min_effect:
        return verdict
    reason = (
        f"its single run is not better than the reference's by min_effect ({rule.min_effect:g}), as points "
        "of a search have to be to climb"
    )
    return replace(verdict, climbs=False, reasons=[reason])
