"""Variants that did not win and climb all the same, so that transfer is measured without selection.

What climbs was chosen for looking good, so part of any shrinkage on the next rung is selection alone. A few
variants that lost, drawn at random, are therefore run on the further rungs beside the winners. They are never
adopted, and they are judged apart, so that they cost the winners no power; their runs help to measure the
noise. Once drawn a variant is run up to the top; where nothing climbs, none is. What was stopped for futility
is not drawn, for its effect on the rung is not known.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sweepkit import fsio
from sweepkit.promotion import wording
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.sweep.decision import DecisionRule


def choose(verdicts: Sequence[Verdict], carried: Sequence[str], *, num: int, identity: str) -> list[Verdict]:
    """The verdicts of one rung, with those marked that are run on the next one though they lost.

    Args:
        verdicts: of all variants that were judged.
        carried: variants drawn on the rungs below, which count among ``num``.
        identity: hash of the frozen plan, from which is drawn.
    """
    if not any(verdict.climbs for verdict in verdicts):
        return list(verdicts)
    losers = {
        verdict.variant: effect
        for verdict in verdicts
        if not (verdict.climbs or verdict.evidence.against or verdict.evidence.stopped)
        and (effect := verdict.effect.effect) is not None
    }
    drawn = set(draw(losers, num - len(carried), f"{identity} {verdicts[0].rung}"))
    return [
        replace(verdict, unselected=True, reasons=[*verdict.reasons, wording.drawn()])
        if verdict.variant in drawn
        else verdict
        for verdict in verdicts
    ]


def draw(effects: Mapping[str, float], num: int, salt: str) -> list[str]:
    """``num`` of the variants, one from each of ``num`` strata of equal size from best to worst effect.

    Within a stratum all are equally likely; the same variants, effects and salt give the same draw.
    """
    order = sorted(effects, key=lambda name: (effects[name], name))
    num = max(0, min(num, len(order)))
    cuts = [len(order) * place // num for place in range(num + 1)] if num else []
    strata = [order[low:high] for low, high in itertools.pairwise(cuts)]
    return [min(stratum, key=lambda name: fsio.digest([salt, name])) for stratum in strata]


def only_measured(verdict: Verdict, decision: DecisionRule) -> Verdict:
    """What is said of a drawn variant above the rung where it lost: how large its effect is."""
    return replace(
        verdict,
        outcome=Outcome.unselected,
        climbs=False,
        unselected=True,
        reasons=[f"{decision.metric} {wording.estimate(verdict.effect)}: {wording.drawn()}"],
    )
