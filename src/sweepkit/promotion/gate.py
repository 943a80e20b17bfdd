"""The gate: all verdicts of one rung, from its runs and the frozen decision rule alone.

Below the last rung the gate screens. A variant is *promoted* when its improvement is shown (corrected
over the rung's variants), its shrunken estimate is min_effect or more, and no cost axis is shown to fail.
It is *rejected* when it diverges more often than the reference or does not fit, when a cost axis is shown
to fail, or when even the good end of its interval stays short of min_effect. Everything else is
*inconclusive*; it still climbs when its estimate reaches min_effect, because a screen that errs that way
costs compute only. Single runs only rank: the best ``max_promoted`` climb, whatever the reference's one
run was. A search has as many points as its budget allows, so that some would always climb: there they have to
beat the reference.

On the last rung the gate adopts. All axes must be met there: a variant's p is the largest over its axes
(intersection-union), corrected over the variants that got so far (step-down Dunnett; Holm where noise is
unequal), and at most alpha. Nothing climbs.

Same runs, same verdicts: nothing here is random or depends on time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import calibration, comparable, effects, replicates
from sweepkit.analysis.calibration import Calibration
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.frontier import without_horizons
from sweepkit.analysis.replicates import Replicates
from sweepkit.config.schema import RungConfig
from sweepkit.promotion import judging, wording
from sweepkit.promotion.case import Case, cases
from sweepkit.promotion.judging import Finding
from sweepkit.promotion.verdict_record import Evidence, Outcome, Verdict
from sweepkit.results.columns import REFERENCE
from sweepkit.results.record import RunState
from sweepkit.sweep import metric as metrics
from sweepkit.sweep.decision import DecisionRule

#: Raised by hand when the same runs may be judged differently, or evidence changes shape; older stored
#: decisions are then made anew.
RULE_VERSION = 10


def decide(
    frame: pd.DataFrame,
    decision: DecisionRule,
    rung: RungConfig | str,
    is_last: bool,
    allow_mixed_environments: bool = False,
    known: Sequence[Calibration] = (),
    apart: Sequence[str] = (),
    usual: str | None = None,
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
        usual: the metric of the rungs below, where this one goes by another: its effects are evidence by
            which a variant is followed from rung to rung, and decide nothing.

    Returns:
        One verdict a variant, in the order of the frame.

    Raises:
        SweepkitError: fingerprints that matter differ between the runs compared.
    """
    rung = RungConfig(name=rung) if isinstance(rung, str) else rung
    rows = _measured(frame[frame["rung"] == rung.name], decision.metric)
    complete, rows = _complete_only(rows, decision.metric)
    mixed = comparable.check(complete, decision.metric, allow_mixed_environments)
    complete, rows = (as_losses(part, decision, usual) for part in (complete, rows))
    noise = calibration.fitting(known, complete[complete["variant"] == REFERENCE], decision.metric)
    rows = without_horizons(rows)
    followed = _followed(rows, complete, decision, usual, known, apart)
    here = cases(rows, complete, decision, is_last, noise, apart)
    base = replicates.sort_runs(rows[rows["variant"] == REFERENCE], decision.metric)
    if not base.complete:
        judge: Callable[[Case], Finding] = lambda case: (  # noqa: E731
            Outcome.inconclusive,
            False,
            [wording.no_reference(rung.name, base)],
        )
    elif is_last:
        judge = lambda case: judging.adopt(case, decision)  # noqa: E731
    else:
        judge = lambda case: judging.screen(case, decision, rung.max_promoted)  # noqa: E731
    findings = {case.variant: judge(case) for case in here}
    _limit([case for case in here if case.variant not in apart], findings, rung.max_promoted)
    return [
        Verdict(
            variant=case.variant,
            rung=rung.name,
            outcome=findings[case.variant][0],
            climbs=findings[case.variant][1],
            reasons=findings[case.variant][2],
            notes=[
                *([mixed] if mixed else ()),
                *wording.notes(case, base, decision),
                *(wording.followed(followed[case.variant], usual, decision) if usual and followed else ()),
            ],
            evidence=_evidence(case, base, decision, mixed, usual, followed.get(case.variant)),
        )
        for case in here
    ]


def as_losses(rows: pd.DataFrame, decision: DecisionRule, usual: str | None = None) -> pd.DataFrame:
    """The runs with the rule's metrics as losses: a metric that is better when higher is negated."""
    if not decision.is_higher_better:
        return rows
    return rows.assign(
        **{name: -rows[name] for name in {decision.metric, usual or decision.metric} if name in rows}
    )


def _measured(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows, with a column of the metric where no run is complete, so that none can have it.

    Raises:
        ConfigError: runs are complete, and none of them measured it.
    """
    complete = rows[rows["state"] == RunState.complete]
    if metric in rows and (complete.empty or complete[metric].notna().any()):
        return rows
    if complete.empty:
        return rows.assign(**{metric: pd.Series(pd.NA, rows.index, dtype="Float64")})
    known = [str(name) for name in rows.columns if metrics.known(str(name))]
    measured = [name for name in known if complete[name].notna().any()]
    remedy = errors.did_you_mean(metric, measured) if measured else "see what their logs say of evaluation"
    raise errors.invalid("decision.metric", metric, "be measured by the runs", remedy)


def _complete_only(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The complete runs; and all rows, with measurements of the others blanked (a diverged run has some)."""
    complete = (rows["state"] == RunState.complete) & rows[metric].notna()
    blanked = rows.copy()
    for column in (metric, "median_step_time_s"):
        if column in blanked:
            blanked[column] = blanked[column].where(complete)
    return rows[complete], blanked


def _followed(
    rows: pd.DataFrame,
    complete: pd.DataFrame,
    decision: DecisionRule,
    usual: str | None,
    known: Sequence[Calibration],
    apart: Sequence[str],
) -> dict[str, Effect]:
    """Variant → its effect on the usual metric, where that is another one."""
    if usual is None or usual == decision.metric or usual not in complete:
        return {}
    rows = rows.assign(**{usual: rows[usual].where(rows["run_id"].isin(complete["run_id"]))})
    noise = calibration.fitting(known, complete[complete["variant"] == REFERENCE], usual)
    found = effects.effects(rows, usual, decision.alpha, known=noise, apart=apart)
    return {item.variant: item for item in found}


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


def _evidence(
    case: Case,
    base: Replicates,
    decision: DecisionRule,
    mixed: str | None,
    usual: str | None,
    followed: Effect | None,
) -> Evidence:
    sign = decision.sign
    return Evidence(
        metric=decision.metric,
        run_ids=case.runs.complete,
        reference_run_ids=base.complete,
        against=case.runs.against,
        missing=case.runs.missing,
        stopped=case.runs.stopped or None,
        divergence=case.divergence,
        divergence_p=case.divergence.p,
        num_variants=case.num_variants,
        effect=case.effect.turned(sign),
        p=case.p,
        p_corrected=case.p_corrected,
        metric_p_corrected=case.metric_p_corrected,
        correction=case.correction,
        axes=case.axes,
        doubts=case.doubts.turned(sign),
        scores=case.scores,
        mixed_environments=mixed or None,
        usual_metric=usual if followed else None,
        usual_effect=followed and followed.turned(sign),
    )


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
