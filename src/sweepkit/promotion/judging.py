"""What follows from a case: below the last rung whether it climbs, on the last one whether it is adopted."""

from __future__ import annotations

from sweepkit.analysis import effects
from sweepkit.analysis.axes import Status
from sweepkit.promotion import doubts, wording
from sweepkit.promotion.case import Case
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.sweep.decision import SUPERIOR, DecisionRule

#: Fewer complete pairs than this decide nothing in a variant's favour.
MIN_PAIRS = 2

Finding = tuple[Outcome, bool, list[str]]  # outcome, whether it climbs, decisive reasons


def screen(case: Case, decision: DecisionRule, max_promoted: int | None) -> Finding:
    climbs = _is_large(case.gain, case, decision) and bool(case.runs.complete)
    what_follows = wording.whether_climbs(decision, climbs)
    against = _against(case, decision)
    if case.runs.stopped:
        return _stopped(case, decision, against)
    if not against and case.doubts.suspect:
        return Outcome.inconclusive, climbs, [*_waits(case, decision), what_follows]
    against = against or _too_small(case, decision)
    if against:
        return Outcome.reject, False, against
    if shown(case, decision):
        return Outcome.promote, True, _shown_better(case, decision)
    if max_promoted is not None and case.effect.n < MIN_PAIRS and case.effect.effect is not None:
        return Outcome.inconclusive, True, [wording.ranked(case, decision, max_promoted)]
    return Outcome.inconclusive, climbs, [*wording.undecided(case, decision, MIN_PAIRS), what_follows]


def adopt(case: Case, decision: DecisionRule) -> Finding:
    against = _against(case, decision)
    if case.runs.stopped:
        return _stopped(case, decision, against)
    if not against and case.doubts.suspect:
        return Outcome.inconclusive, False, _waits(case, decision)
    against = against or _too_small(case, decision)
    if against:
        return Outcome.reject, False, against
    unrecorded = [score.sentence for score in case.scores if score.n < case.effect.n]
    if shown(case, decision) and not unrecorded:
        return Outcome.adopt, False, _shown_better(case, decision)
    return Outcome.inconclusive, False, [*unrecorded, *wording.undecided(case, decision, MIN_PAIRS)]


def _stopped(case: Case, decision: DecisionRule, against: list[str]) -> Finding:
    """Of a variant whose runs were stopped for futility: it does not climb, whatever the others show."""
    said = wording.stopped(case.runs)
    if not against and case.doubts.suspect:
        return Outcome.inconclusive, False, [*_waits(case, decision), said]
    return Outcome.reject, False, [*against, said]


def _waits(case: Case, decision: DecisionRule) -> list[str]:
    assert case.doubts.suspect is not None
    return [
        doubts.waiting(case.doubts.suspect, decision.unit_in_words, decision.sign),
        wording.measured(case, decision),
    ]


def _shown_better(case: Case, decision: DecisionRule) -> list[str]:
    return [wording.shown_better(case, decision), *doubts.leaning(case.doubts, True, case.effect.seeds)]


def _against(case: Case, decision: DecisionRule) -> list[str]:
    """Sentences that reject a variant on any rung, whatever its loss."""
    is_shown = case.divergence.p <= decision.alpha
    reasons = [wording.less_stable(case.divergence, decision.alpha)] if is_shown else []
    reasons += [wording.does_not_fit(case.runs)] if case.runs.does_not_fit else []
    reasons += [
        axis.sentence for name, axis in case.axes.items() if name != "steps" and axis.status is Status.failed
    ]
    reasons += [score.sentence for score in case.scores if score.status is Status.failed]
    return reasons


def _too_small(case: Case, decision: DecisionRule) -> list[str]:
    """A sentence when even the good end of the interval is worse than wanted."""
    steps = case.axes.get("steps")
    if case.effect.method == effects.SAME and (steps is None or steps.demand == SUPERIOR):
        return [wording.changed_nothing(case, decision)]
    if case.effect.low is None or steps is None:
        return []
    if steps.demand == SUPERIOR and case.effect.low > 0.0:
        return [wording.shown_worse(case, decision)]  # so wide an interval has allowed for few seeds
    if not case.is_measured:
        return []
    if steps.demand != SUPERIOR:
        said = [steps.sentence, wording.measured(case, decision)]
        return said if steps.status is Status.failed else []
    return [wording.shown_small(case, decision)] if case.effect.low > -decision.min_effect else []


def shown(case: Case, decision: DecisionRule) -> bool:
    """Whether it is shown to be better, and nothing stands in the way of saying so."""
    if case.effect.n < MIN_PAIRS or not case.is_measured or not case.is_reference_seen:
        return False
    if case.divergence.is_more or case.doubts.suspect or case.doubts.lost_more:
        return False
    return case.p_corrected <= decision.alpha and _is_large(case.shrunken_gain, case, decision)


def _is_large(gain: float, case: Case, decision: DecisionRule) -> bool:
    """Whether a gain reaches min_effect: at equal steps, or at the equal cost where it has to be better."""
    steps = case.axes.get("steps")
    if steps is None or steps.demand == SUPERIOR:
        return gain >= decision.min_effect
    held = [axis.matched for axis in case.axes.values() if axis.demand == SUPERIOR and axis.matched]
    return all(item.effect is None or -item.effect >= decision.min_effect for item in held)
