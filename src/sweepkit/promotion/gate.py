"""The gate: all verdicts of one rung, from its runs and the frozen decision rule alone.

Below the last rung the gate screens. A variant is *promoted* when its improvement is shown (corrected
over the rung's variants), its shrunken estimate is min_effect or more, and no cost axis is shown to fail.
It is *rejected* when it diverges more often than the reference or does not fit, when a cost axis is shown
to fail, or when even the good end of its interval stays short of min_effect. Everything else is
*inconclusive*; it still climbs when its estimate reaches min_effect, because a screen that errs that way
costs compute only. Single runs only rank: the best ``max_promoted`` climb, whatever the reference's one
run was.

On the last rung the gate adopts. All axes must be met there: a variant's p is the largest over its axes
(intersection-union), corrected over the variants that got so far (Dunnett; Holm where noise is unequal),
and at most alpha. Nothing climbs.

Same runs, same verdicts: nothing here is random or depends on time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import axes, calibration, comparable, effects, matched, multiplicity, replicates
from sweepkit.analysis.axes import Axis, Status
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.frontier import without_horizons
from sweepkit.analysis.replicates import Replicates
from sweepkit.analysis.stability import Divergence
from sweepkit.config.schema import RungConfig
from sweepkit.promotion import looks, wording
from sweepkit.promotion.verdict import Outcome, Verdict
from sweepkit.results.columns import REFERENCE
from sweepkit.results.record import RunState
from sweepkit.sweep.decision import NOT_WORSE, SUPERIOR, DecisionRule

#: Raised by hand when the same runs may be judged differently, or evidence changes shape; older stored
#: decisions are then made anew.
RULE_VERSION = 4
#: Fewer complete pairs than this decide nothing in a variant's favour.
MIN_PAIRS = 2


@dataclass(frozen=True)
class Case:
    """All that is known of one variant on one rung when it is judged."""

    variant: str
    runs: Replicates
    effect: Effect
    axes: dict[str, Axis]
    divergence: Divergence
    p: float  # what is corrected; 1 where there is none
    p_corrected: float
    metric_p_corrected: float  # the same of the metric alone, with no clock in it
    correction: str  # Dunnett or Holm
    num_variants: int

    @property
    def gain(self) -> float:
        """Estimated improvement, positive is better; minus infinity where there is none."""
        return -self.effect.effect if self.effect.effect is not None else float("-inf")

    @property
    def shrunken_gain(self) -> float:
        """The improvement with its luck taken out."""
        return -self.effect.shrunk if self.effect.shrunk is not None else float("-inf")

    @property
    def is_measured(self) -> bool:
        """Whether the noise is known well enough to judge by."""
        known = self.effect.noise_source != calibration.OWN or self.effect.method != effects.POOLED
        return known or self.effect.df >= calibration.MIN_DF


Finding = tuple[Outcome, bool, list[str]]  # outcome, whether it climbs, decisive reasons


def decide(
    frame: pd.DataFrame,
    decision: DecisionRule,
    rung: RungConfig | str,
    is_last: bool,
    allow_mixed_environments: bool = False,
    known: Sequence[Calibration] = (),
    apart: Sequence[str] = (),
) -> list[Verdict]:
    """Judge every variant of one rung against the reference.

    Args:
        frame: the rung's rows of the runs table, the reference's among them; variants that are not to be
            judged must be left out. Rows of other rungs are ignored.
        decision: the frozen rule.
        rung: the rung, or its name; its ``max_promoted`` limits how many climb.
        is_last: adopt or not, instead of promote or not.
        allow_mixed_environments: compare across hardware, versions and threads.
        apart: variants that are no candidates: their runs help to measure the noise, and their effects are
            corrected and shrunken among themselves.
        known: noise that was measured beforehand; what does not fit the rung's reference is left alone.

    Returns:
        One verdict a variant, in the order of the frame.

    Raises:
        SweepkitError: fingerprints that matter differ between the runs compared.
    """
    rung = RungConfig(name=rung) if isinstance(rung, str) else rung
    if decision.metric not in frame:
        measured = [str(n) for n in frame.columns if n == "val_bpb" or str(n).startswith("bpb_")]
        raise errors.invalid(
            "decision.metric",
            decision.metric,
            "be measured by the runs",
            errors.did_you_mean(decision.metric, measured),
        )
    rows = frame[frame["rung"] == rung.name]
    complete, rows = _complete_only(rows, decision.metric)
    comparable.check(complete, decision.metric, allow_mixed_environments)
    noise = calibration.fitting(known, complete[complete["variant"] == REFERENCE], decision.metric)
    rows = without_horizons(rows)
    cases = _cases(rows, complete, decision, is_last, noise, apart)
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
        judge = lambda case: _screen(case, decision, rung.max_promoted)  # noqa: E731
    findings = {case.variant: judge(case) for case in cases}
    _limit([case for case in cases if case.variant not in apart], findings, rung.max_promoted)
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


def _cases(
    rows: pd.DataFrame,
    complete: pd.DataFrame,
    decision: DecisionRule,
    is_last: bool,
    known: Calibration | None,
    apart: Sequence[str],
) -> list[Case]:
    found = effects.effects(rows, decision.metric, decision.alpha, known=known, apart=apart)
    hosts = _num_hosts(rows)
    runs = {
        name: replicates.sort_runs(group, decision.metric, hosts) for name, group in rows.groupby("variant")
    }
    base = runs.get(REFERENCE, Replicates([], {}, {}, []))
    by_axis = _axes(rows, complete, found, decision, known)
    p_of = _p_values(found, by_axis, is_last)
    if is_last and decision.looks:

        def p_at(part: pd.DataFrame) -> dict[str, float]:
            there = effects.effects(part, decision.metric, decision.alpha, known=known, apart=apart)
            done = complete[complete["seed"].isin(part["seed"])]
            return _p_values(there, _axes(part, done, there, decision, known), is_last)

        p_of |= looks.sequential(rows, decision.looks, p_at)
    cases: dict[str, Case] = {}
    for are_apart in (False, True):
        family = [item for item in found if (item.variant in apart) is are_apart]
        axes_of = [{axis: result[item.variant] for axis, result in by_axis.items()} for item in family]
        p_values = [p_of[item.variant] for item in family]
        corrected, method = multiplicity.correct(family, p_values)
        of_the_metric, _ = multiplicity.correct(
            family, [_p({"steps": item["steps"]}, True) for item in axes_of]
        )
        for index, item in enumerate(family):
            cases[item.variant] = Case(
                variant=item.variant,
                runs=runs[item.variant],
                effect=item,
                axes=axes_of[index],
                divergence=Divergence(*runs[item.variant].divergence, *base.divergence),
                p=p_values[index],
                p_corrected=corrected[index],
                metric_p_corrected=of_the_metric[index],
                correction=method,
                num_variants=len(family),
            )
    return [cases[item.variant] for item in found]


def _num_hosts(rows: pd.DataFrame) -> int:
    return max(1, int(rows["host"].nunique())) if "host" in rows else 1


def _axes(
    rows: pd.DataFrame,
    complete: pd.DataFrame,
    found: list[Effect],
    decision: DecisionRule,
    known: Calibration | None,
) -> dict[str, dict[str, Axis]]:
    """Axis → variant → how it did; on the frontier where ``complete`` has the reference's other horizons."""
    margin = decision.margins
    base = rows.loc[rows["variant"] == REFERENCE, decision.metric]
    mean = float(base.mean()) if base.notna().any() else None
    demand = decision.axes
    judged = {
        "steps": axes.steps(
            found, demand.get("steps", NOT_WORSE), margin.get("steps", 0.0), decision.alpha, mean
        )
    }
    if "wall_clock" in demand:
        judged["wall_clock"] = axes.wall_clock(
            complete, demand["wall_clock"], margin.get("wall_clock", 0.0), decision.alpha,
            names=[item.variant for item in found],
        )  # fmt: skip
    if "flops" in demand:
        judged["flops"] = axes.flops(rows, demand["flops"], margin.get("flops", 0.0))
    held = matched.matched(complete, decision.metric, decision.alpha, margin, known=known)
    return axes.at_equal_cost(judged, held, decision.alpha)


def _p_values(found: list[Effect], by_axis: dict[str, dict[str, Axis]], is_last: bool) -> dict[str, float]:
    return {
        item.variant: _p({axis: result[item.variant] for axis, result in by_axis.items()}, is_last)
        for item in found
    }


def _p(found: dict[str, Axis], is_last: bool) -> float:
    """The largest p over the axes that count: all on the last rung, those with superiority below it."""
    counted = [axis for axis in found.values() if is_last or axis.demand == SUPERIOR]
    p_values = [1.0 if axis.p is None else axis.p for axis in counted]
    return max(p_values, default=1.0)


def _against(case: Case) -> list[str]:
    """Sentences that reject a variant on any rung, whatever its loss."""
    reasons = [wording.less_stable(case.divergence)] if case.divergence.is_less_stable else []
    reasons += [wording.does_not_fit(case.runs)] if case.runs.does_not_fit else []
    reasons += [
        axis.sentence for name, axis in case.axes.items() if name != "steps" and axis.status is Status.failed
    ]
    return reasons


def _too_small(case: Case, decision: DecisionRule) -> list[str]:
    """A sentence when even the good end of the interval is worse than wanted."""
    steps = case.axes.get("steps")
    if case.effect.low is None or steps is None or not case.is_measured:
        return []
    if steps.demand != SUPERIOR:
        return [steps.sentence] if steps.status is Status.failed else []
    if case.effect.low > 0.0:
        return [wording.shown_worse(case.effect, decision)]
    return [wording.shown_small(case.effect, decision)] if case.effect.low > -decision.min_effect else []


def _screen(case: Case, decision: DecisionRule, max_promoted: int | None) -> Finding:
    against = _against(case) or _too_small(case, decision)
    if against:
        return Outcome.reject, False, against
    if _shown(case, decision):
        return Outcome.promote, True, [wording.shown_better(case, decision)]
    if max_promoted is not None and case.effect.n < MIN_PAIRS and case.effect.effect is not None:
        return Outcome.inconclusive, True, [wording.ranked(case, decision, max_promoted)]
    climbs = _is_large(case.gain, case, decision) and bool(case.runs.complete)
    return Outcome.inconclusive, climbs, wording.screened(case, decision, climbs, MIN_PAIRS)


def _adopt(case: Case, decision: DecisionRule) -> Finding:
    against = _against(case) or _too_small(case, decision)
    if against:
        return Outcome.reject, False, against
    if _shown(case, decision):
        return Outcome.adopt, False, [wording.shown_better(case, decision)]
    return Outcome.inconclusive, False, wording.undecided(case, decision, MIN_PAIRS)


def _shown(case: Case, decision: DecisionRule) -> bool:
    enough = case.effect.n >= MIN_PAIRS and case.is_measured
    return enough and case.p_corrected <= decision.alpha and _is_large(case.shrunken_gain, case, decision)


def _is_large(gain: float, case: Case, decision: DecisionRule) -> bool:
    """Whether a gain reaches min_effect: at equal steps, or at the equal cost where it has to be better."""
    steps = case.axes.get("steps")
    if steps is None or steps.demand == SUPERIOR:
        return gain >= decision.min_effect
    held = [axis.matched for axis in case.axes.values() if axis.demand == SUPERIOR and axis.matched]
    return all(item.effect is None or -item.effect >= decision.min_effect for item in held)


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
        "divergence": case.divergence.to_json(),
        "missing": case.runs.missing,
        "n": case.effect.n,
        "num_variants": case.num_variants,
        "effect": case.effect.to_json(),
        "p": case.p,
        "p_corrected": case.p_corrected,
        "metric_p_corrected": case.metric_p_corrected,
        "correction": case.correction,
        **{name: axis.to_json() for name, axis in case.axes.items()},
    }
