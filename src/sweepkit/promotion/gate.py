"""The gate: all verdicts of one rung, from its runs and the frozen decision rule alone.

Below the last rung the gate screens. A variant is *promoted* when its improvement is shown (Holm-corrected
over the rung's variants), is estimated at min_effect or more, and no cost axis is shown to fail. It is
*rejected* when a replicate diverged or ran out of memory, when a cost axis is shown to fail, or when even
the good end of its interval stays short of min_effect. Everything else is *inconclusive*; it still climbs
when its estimate reaches min_effect, because a screen that errs that way costs compute only.

On the last rung the gate adopts. All axes must be met there: a variant's p is the largest over its axes
(intersection-union), corrected by Holm over the variants that got so far, and at most alpha. Nothing climbs.

Same runs, same verdicts: nothing here is random or depends on time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import axes, comparable, effects, replicates
from sweepkit.analysis.axes import Axis, Status
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.replicates import Replicates
from sweepkit.config.schema import RungConfig
from sweepkit.promotion import wording
from sweepkit.promotion.verdict import Outcome, Verdict
from sweepkit.results.columns import REFERENCE
from sweepkit.results.record import RunState
from sweepkit.sweep.decision import NOT_WORSE, SUPERIOR, DecisionRule

#: Raised by hand when the same runs may be judged differently, or evidence changes shape; older stored
#: decisions are then made anew.
RULE_VERSION = 3
#: Fewer complete pairs than this decide nothing in a variant's favour.
MIN_PAIRS = 2


@dataclass(frozen=True)
class Case:
    """All that is known of one variant on one rung when it is judged."""

    variant: str
    runs: Replicates
    effect: Effect
    axes: dict[str, Axis]
    p: float  # what Holm corrects; 1 where there is none
    p_holm: float
    metric_p_holm: float  # the same of the metric alone, with no clock in it
    num_variants: int

    @property
    def gain(self) -> float:
        """Estimated improvement, positive is better; minus infinity where there is none."""
        return -self.effect.effect if self.effect.effect is not None else float("-inf")


Finding = tuple[Outcome, bool, list[str]]  # outcome, whether it climbs, decisive reasons


def decide(
    frame: pd.DataFrame,
    decision: DecisionRule,
    rung: RungConfig | str,
    is_last: bool,
    allow_mixed_environments: bool = False,
) -> list[Verdict]:
    """Judge every variant of one rung against the reference.

    Args:
        frame: the rung's rows of the runs table, the reference's among them; variants that are not to be
            judged must be left out. Rows of other rungs are ignored.
        decision: the frozen rule.
        rung: the rung, or its name; its ``max_promoted`` limits how many climb.
        is_last: adopt or not, instead of promote or not.
        allow_mixed_environments: compare across hardware, versions and threads.

    Returns:
        One verdict a variant, in the order of the frame.

    Raises:
        SweepkitError: fingerprints that matter differ between the runs compared.
    """
    rung = RungConfig(name=rung) if isinstance(rung, str) else rung
    if decision.metric not in frame:
        known = [str(name) for name in frame.columns if name == "val_bpb" or str(name).startswith("bpb_")]
        raise errors.invalid(
            "decision.metric",
            decision.metric,
            "be measured by the runs",
            errors.did_you_mean(decision.metric, known),
        )
    rows = frame[frame["rung"] == rung.name]
    complete, rows = _complete_only(rows, decision.metric)
    comparable.check(complete, decision.metric, allow_mixed_environments)
    cases = _cases(rows, decision, is_last)
    base = replicates.sort_runs(rows[rows["variant"] == REFERENCE], decision.metric)
    if not base.complete:
        judge: Callable[[Case], Finding] = lambda case: (  # noqa: E731
            Outcome.inconclusive,
            False,
            [wording.no_reference(rung.name, base)],
        )
    elif is_last:
        judge = lambda case: _adopt(case, decision)  # noqa: E731
    else:
        judge = lambda case: _screen(case, decision)  # noqa: E731
    findings = {case.variant: judge(case) for case in cases}
    _limit(cases, findings, rung.max_promoted)
    return [
        Verdict(
            variant=case.variant,
            rung=rung.name,
            outcome=findings[case.variant][0],
            climbs=findings[case.variant][1],
            reasons=findings[case.variant][2],
            notes=wording.notes(case.effect, case.axes, case.runs, base),
            evidence=_evidence(case, base),
        )
        for case in cases
    ]


def _complete_only(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The complete runs; and all rows, with measurements of the others blanked (a diverged run has some)."""
    complete = (rows["state"] == RunState.complete) & rows[metric].notna()
    blanked = rows.copy()
    for column in (metric, "median_step_time_s"):
        if column in blanked:
            blanked[column] = blanked[column].where(complete)
    return rows[complete], blanked


def _cases(rows: pd.DataFrame, decision: DecisionRule, is_last: bool) -> list[Case]:
    found = effects.effects(rows, decision.metric, decision.alpha)
    runs = {name: replicates.sort_runs(group, decision.metric) for name, group in rows.groupby("variant")}
    by_axis = _axes(rows, found, decision)
    axes_of = [{axis: result[item.variant] for axis, result in by_axis.items()} for item in found]
    p_values = [_p(per_axis, is_last) for per_axis in axes_of]
    corrected = effects.holm(p_values)
    of_the_metric = effects.holm([_p({"steps": per_axis["steps"]}, True) for per_axis in axes_of])
    columns = zip(found, axes_of, p_values, corrected, of_the_metric, strict=True)
    return [
        Case(item.variant, runs[item.variant], item, per_axis, p, p_holm, metric_p_holm, len(found))
        for item, per_axis, p, p_holm, metric_p_holm in columns
    ]


def _axes(rows: pd.DataFrame, found: list[Effect], decision: DecisionRule) -> dict[str, dict[str, Axis]]:
    margin = decision.margins
    base = rows.loc[rows["variant"] == REFERENCE, decision.metric]
    mean = float(base.mean()) if base.notna().any() else None
    demand = {axis: decision.axes.get(axis, NOT_WORSE) for axis in ("steps", "wall_clock", "flops")}
    return {
        "steps": axes.steps(found, demand["steps"], margin.get("steps", 0.0), decision.alpha, mean),
        "wall_clock": axes.wall_clock(
            rows, demand["wall_clock"], margin.get("wall_clock", 0.0), decision.alpha
        ),
        "flops": axes.flops(rows, demand["flops"], margin.get("flops", 0.0)),
    }


def _p(found: dict[str, Axis], is_last: bool) -> float:
    """The largest p over the axes that count: all on the last rung, those with superiority below it."""
    counted = [axis for axis in found.values() if is_last or axis.demand == SUPERIOR]
    p_values = [1.0 if axis.p is None else axis.p for axis in counted]
    return max(p_values, default=1.0)


def _against(case: Case) -> list[str]:
    """Sentences that reject a variant on any rung, whatever its loss."""
    reasons = [wording.counts_against(case.runs)] if case.runs.against else []
    reasons += [
        axis.sentence for name, axis in case.axes.items() if name != "steps" and axis.status is Status.failed
    ]
    return reasons


def _too_small(case: Case, decision: DecisionRule) -> list[str]:
    """A sentence when even the good end of the interval is worse than wanted."""
    steps = case.axes.get("steps")
    if case.effect.low is None or steps is None:
        return []
    if steps.demand != SUPERIOR:
        return [steps.sentence] if steps.status is Status.failed else []
    if case.effect.low > 0.0:
        return [wording.shown_worse(case.effect, decision)]
    return [wording.shown_small(case.effect, decision)] if case.effect.low > -decision.min_effect else []


def _screen(case: Case, decision: DecisionRule) -> Finding:
    against = _against(case) or _too_small(case, decision)
    if against:
        return Outcome.reject, False, against
    if _shown(case, decision):
        return Outcome.promote, True, [wording.shown_better(case, decision)]
    climbs = _worth_having(case, decision) and bool(case.runs.complete)
    return Outcome.inconclusive, climbs, wording.screened(case, decision, climbs, MIN_PAIRS)


def _adopt(case: Case, decision: DecisionRule) -> Finding:
    against = _against(case) or _too_small(case, decision)
    if against:
        return Outcome.reject, False, against
    if _shown(case, decision):
        return Outcome.adopt, False, [wording.shown_better(case, decision)]
    return Outcome.inconclusive, False, wording.undecided(case, decision, MIN_PAIRS)


def _shown(case: Case, decision: DecisionRule) -> bool:
    return case.effect.n >= MIN_PAIRS and case.p_holm <= decision.alpha and _worth_having(case, decision)


def _worth_having(case: Case, decision: DecisionRule) -> bool:
    """The estimate reaches min_effect, where the metric has to improve at all."""
    steps = case.axes.get("steps")
    return case.gain >= decision.min_effect if steps is None or steps.demand == SUPERIOR else True


def _limit(cases: list[Case], findings: dict[str, Finding], max_promoted: int | None) -> None:
    """Keep the ``max_promoted`` best climbers: promoted before inconclusive, then by p, then by estimate."""
    climbers = [case for case in cases if findings[case.variant][1]]
    if max_promoted is None or len(climbers) <= max_promoted:
        return
    climbers.sort(
        key=lambda case: (findings[case.variant][0] is not Outcome.promote, case.p, -case.gain, case.variant)
    )
    for place, case in enumerate(climbers[max_promoted:], start=max_promoted + 1):
        _, _, reasons = findings[case.variant]
        sentence = wording.over_the_limit(place, len(climbers), max_promoted)
        findings[case.variant] = (Outcome.inconclusive, False, [sentence, *reasons])


def _evidence(case: Case, base: Replicates) -> dict[str, Any]:
    return {
        "run_ids": case.runs.complete,
        "reference_run_ids": base.complete,
        "against": case.runs.against,
        "missing": case.runs.missing,
        "n": case.effect.n,
        "num_variants": case.num_variants,
        "effect": case.effect.to_json(),
        "p": case.p,
        "p_holm": case.p_holm,
        "metric_p_holm": case.metric_p_holm,
        **{name: axis.to_json() for name, axis in case.axes.items()},
    }
