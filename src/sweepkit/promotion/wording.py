"""Reasons in plain sentences that carry their numbers."""

from __future__ import annotations

from typing import Protocol

from sweepkit.analysis import calibration, effects, power
from sweepkit.analysis.axes import Axis, Status
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.replicates import Replicates
from sweepkit.analysis.scores import Score
from sweepkit.analysis.stability import Divergence
from sweepkit.printable import counted, degrees
from sweepkit.promotion import doubts
from sweepkit.promotion.doubts import Doubts
from sweepkit.sweep import amendments
from sweepkit.sweep.amendments import Amendment
from sweepkit.sweep.decision import SUPERIOR, DecisionRule

_METHODS = {
    "pooled": "pooled residual of variant + seed",
    "own": "its own paired differences, because it is noisier than the pool, or mostly equal to the "
    "reference to the last bit",
    "moderated": "its own and the reference's, drawn towards what all have in common, because no two are "
    "equally noisy",
    "one-way": "pooled over groups that share no seeds: nothing is paired",
    "Welch": "its own spread and the reference's, because they share no seeds and groups differ in noise",
}
_SOURCES = {
    calibration.SHRUNK: ", shrunk towards the calibration",
    calibration.CALIBRATED: ", of the calibration alone",
}
#: What measures the noise. A plan is frozen and its runs are seen, so that its last rung gets fresh seeds.
MORE_SEEDS = (
    "fresh seeds do (of a last rung that is decided: sweepkit promote NAME --amend-to SEEDS, which says how "
    "many it takes; fewer where sweepkit calibrate sweep=NAME has measured the noise by then)"
)
#: The same of a command's sweep, whose noise nothing calibrates.
MORE_SEEDS_OF_A_COMMAND = MORE_SEEDS.partition("; fewer")[0] + ")"
#: The same of a table: no plan was frozen, and nothing here runs it.
MORE_RUNS = "runs of more seeds do"


class Judged(Protocol):
    """What the sentences need to know of a variant."""

    @property
    def effect(self) -> Effect: ...
    @property
    def axes(self) -> dict[str, Axis]: ...
    @property
    def runs(self) -> Replicates: ...
    @property
    def p(self) -> float: ...
    @property
    def p_corrected(self) -> float: ...
    @property
    def metric_p_corrected(self) -> float: ...
    @property
    def correction(self) -> str: ...
    @property
    def is_measured(self) -> bool: ...
    @property
    def is_reference_seen(self) -> bool: ...
    @property
    def doubts(self) -> Doubts: ...
    @property
    def num_variants(self) -> int: ...
    @property
    def scores(self) -> list[Score]: ...
    @property
    def divergence(self) -> Divergence: ...


def number(value: float) -> str:
    """A signed difference in the metric's unit."""
    return ("−" if value < 0.0 else "+") + size(abs(value))


def size(value: float) -> str:
    """A size in the metric's unit: five decimals, as bits per byte need them; others by their digits."""
    return f"{value:.5f}" if value == 0.0 or 1e-4 <= value < 1e3 else f"{value:.3g}"


def estimate(effect: Effect) -> str:
    """``−0.01230 (80% interval −0.01540 to −0.00920, n=3)``."""
    if effect.effect is None:
        return "no estimate"
    if effect.low is None or effect.high is None:
        return f"{number(effect.effect)} (no interval, n={effect.n})"
    interval = f"{number(effect.low)} to {number(effect.high)}"
    return f"{number(effect.effect)} ({effect.confidence:.0%} interval {interval}, n={effect.n})"


def measured(case: Judged, decision: DecisionRule) -> str:
    """The metric and what it changed by, in its own direction; judging has it as a loss."""
    steps = case.axes.get("steps")
    unlike = f" {steps.sentence}" if steps and steps.demand == SUPERIOR and steps.sentence else ""
    return f"{decision.metric} {estimate(case.effect.turned(decision.sign))}{unlike}"


def shown_better(case: Judged, decision: DecisionRule) -> str:
    if case.axes["steps"].demand != SUPERIOR:
        better = [axis.sentence for axis in case.axes.values() if axis.demand == SUPERIOR]
        shown = f"{_corrected(case)} ≤ α = {decision.alpha:g}"
        return "; ".join([*better, shown, measured(case, decision)])
    return (
        f"{measured(case, decision)}: {_corrected(case)} ≤ α = {decision.alpha:g}, and "
        f"{_shrunk(case.effect, decision)} is at least min_effect {decision.min_effect:g}"
    )


def shown_worse(case: Judged, decision: DecisionRule) -> str:
    return f"{measured(case, decision)}: worse than the reference"


def changed_nothing(case: Judged, decision: DecisionRule) -> str:
    how_far = "to the last bit" if case.effect.effect == 0.0 else "to nine digits; is it a copy?"
    return (
        f"changed nothing: {decision.metric} of each of its {counted(case.effect.n, 'run')} equals the "
        f"reference's of the same seed {how_far}"
    )


def shown_small(case: Judged, decision: DecisionRule) -> str:
    return (
        f"{measured(case, decision)}: even the good end of the interval is short of min_effect "
        f"{decision.min_effect:g}"
    )


def _corrected(case: Judged, which: str = "") -> str:
    """``p(step-down Dunnett over 8) = 0.012``; of one variant alone nothing is corrected."""
    over = f"{case.correction} over {case.num_variants}" if case.num_variants > 1 else ""
    how = ", ".join(filter(None, (over, which)))
    return f"p{f'({how})' if how else ''} = {case.p_corrected:.2g}"


def _shrunk(effect: Effect, decision: DecisionRule) -> str:
    shrunk = effect.turned(decision.sign).shrunk
    return "nothing" if shrunk is None else f"its shrunken estimate {number(shrunk)}"


def ranked(case: Judged, decision: DecisionRule, max_promoted: int) -> str:
    return (
        f"{measured(case, decision)}: a single run only ranks it among the "
        f"{case.num_variants}; the best {max_promoted} climb and are judged on fresh seeds"
    )


def whether_climbs(decision: DecisionRule, climbs: bool) -> str:
    """What follows from a screen that is inconclusive."""
    return (
        f"climbs: its estimate reaches min_effect {decision.min_effect:g} and nothing is shown against it"
        if climbs
        else f"does not climb: its estimate does not reach min_effect {decision.min_effect:g}"
    )


def undecided(case: Judged, decision: DecisionRule, min_pairs: int) -> list[str]:
    """Why nothing is shown either way, and what this comparison could have seen."""
    effect = case.effect
    unstable = [less_stable(case.divergence, decision.alpha)] if case.divergence.is_more else []
    if effect.effect is None:
        return unstable or [
            f"no complete run to compare ({_missing(case.runs)})" if case.runs.missing else "no pair of runs"
        ]
    start = f"{measured(case, decision)}: "
    if effect.method == effects.SAME:
        return [changed_nothing(case, decision)]
    if effect.standard_error is None:
        return [
            start
            + "no verdict, because the noise cannot be measured from these runs (no degrees of freedom, or "
            f"no difference between seeds); {MORE_SEEDS}"
        ]
    if not case.is_measured:
        return [
            start + f"no verdict, because {degrees(effect.df)} {'does' if effect.df == 1 else 'do'} not "
            f"measure the noise (at least {calibration.MIN_DF}); {MORE_SEEDS}"
        ]
    if effect.n < min_pairs:
        return [start + f"fewer than {min_pairs} complete pairs; run the missing seeds again"]
    if case.p_corrected <= decision.alpha and not case.is_reference_seen:
        return [
            start + f"no verdict, because {counted(effect.seeds, 'seed')} cannot tell whether a run of "
            f"the reference is off, or it is noisier than its variants (at least {doubts.MIN_SEEDS}); "
            f"{MORE_SEEDS}"
        ]
    if case.doubts.lost_more and case.p_corrected <= decision.alpha:
        return [*unstable, doubts.lost_more(case.doubts), start.removesuffix(": ")]
    reasons = [*unstable]
    reasons += [doubts.lost_runs(case.doubts)] if case.doubts.lost else []
    if case.p_corrected > decision.alpha:
        steps = case.axes["steps"].p
        which = "" if steps is None or steps >= case.p else "largest over the axes"
        reasons.append(start + f"{_corrected(case, which)} > α = {decision.alpha:g}")
    elif not unstable:
        reasons.append(start + f"{_shrunk(effect, decision)} is short of min_effect {decision.min_effect:g}")
    reasons += [
        axis.sentence
        for name, axis in case.axes.items()
        if name != "steps" and axis.status is Status.unresolved
    ]
    if unstable and case.p_corrected <= decision.alpha:  # no seed more or less takes a divergence back
        return reasons
    is_shown = case.metric_p_corrected <= decision.alpha < case.p_corrected
    what_helps = _other_axes(case) if is_shown else _power(case, decision)
    return [*reasons, *doubts.leaning(case.doubts, False, case.effect.seeds), what_helps]


def _other_axes(case: Judged) -> str:
    """Of a metric that is shown to be better: what holds the verdict up, which more seeds do not change."""
    open_axes = [
        name for name, axis in case.axes.items() if name != "steps" and axis.status is not Status.met
    ]
    held_by = " and ".join(name.replace("_", " ") for name in open_axes) or "the correction over all axes"
    return (
        f"the metric alone is shown to be better (p = {case.metric_p_corrected:.2g}): what holds the verdict "
        f"up is {held_by}, not a lack of seeds; measure costs on one kind of machine with one "
        "launcher.num_workers, or switch an axis off in a new sweep (decision.axes.wall_clock: ignore)"
    )


def _power(case: Judged, decision: DecisionRule) -> str:
    """What this comparison could have seen, and what seeing min_effect would take."""
    effect = case.effect
    assert effect.standard_error is not None and effect.noise_sd is not None
    visible = power.minimum_detectable_effect(
        effect.standard_error, effect.df, decision.alpha / case.num_variants
    )
    sentence = f"could have shown an effect of {visible:.4g} or more with {power.POWER:.0%} chance"
    if decision.min_effect > 0.0:
        needed = power.seeds_needed(
            effect.noise_sd,
            decision.min_effect,
            case.num_variants,
            decision.alpha,
            variance_ratio=effect.n * (effect.standard_error / effect.noise_sd) ** 2,
        )
        many = f"about {counted(needed, 'seed')}" if needed else f"more than {power.MAX_SEEDS} seeds"
        sentence += f"; {decision.min_effect:g} would take {many}"
    return sentence


def notes(case: Judged, reference: Replicates, decision: DecisionRule) -> list[str]:
    """What else a reader wants to know: the noise, the cost axes, scores, runs that are missing."""
    effect, runs = case.effect, case.runs
    reasons = []
    if effect.noise_sd is not None:
        reasons.append(
            f"noise {size(effect.noise_sd)} {decision.unit_in_words}".rstrip()
            + f" a run with {degrees(effect.df)} "
            f"({_METHODS.get(effect.method, effect.method)}{_SOURCES.get(effect.noise_source, '')})"
        )
    if effect.reference_sd is not None:
        reasons.append(
            f"the reference's own noise is {size(effect.reference_sd)} a run, unlike its variants': what is "
            "compared with it carries that, with the degrees of freedom it has"
        )
    reasons += [
        axis.sentence for name, axis in case.axes.items() if name != "steps" and axis.status is Status.met
    ]
    reasons += [score.sentence for score in case.scores if score.status is not Status.failed]
    if runs.missing and effect.effect is not None:
        reasons.append(f"missing, not counted: {_missing(runs)}")
    if case.doubts.lost:
        reasons.append(doubts.lost_runs(case.doubts))
    lost = reference.against | reference.missing
    if lost and reference.complete:
        reasons.append(f"the reference lost runs: {', '.join(f'{run} {why}' for run, why in lost.items())}")
    return reasons


def followed(effect: Effect, metric: str, decision: DecisionRule) -> list[str]:
    """The effect on the text of the rungs below, where a rung is decided by another."""
    shown = estimate(effect.turned(decision.sign))
    return [f"{metric}, the text of the rungs below, decides nothing here: {shown}"]


def amended(amendment: Amendment, alpha: float) -> str:
    """What an amendment is, and what it costs."""
    number, seeds = amendment.number, len(amendment.seeds)
    many = counted(number, "amendment")
    return (
        f"amendment {number} to rung {amendment.amends}: decided on {counted(seeds, 'fresh seed')} alone, at "
        f"α = {amendments.level(alpha, number):g}; the plan and {many} together are wrong at most "
        f"{amendments.total(alpha, number):.3g} of the time"
    )


def less_stable(rate: Divergence, alpha: float) -> str:
    """That more of a variant's runs diverged, and whether that shows it to be less stable."""
    low, high = rate.interval(0.9)
    return (
        f"{rate.diverged} of {counted(rate.runs, 'run')} diverged, a rate of "
        f"{rate.diverged / rate.runs:.0%} (90% interval {low:.0%} to {high:.0%}); the reference "
        f"{rate.reference_diverged} of {rate.reference_runs}; "
        + (
            f"less stable: p(Boschloo) = {rate.p:.2g} ≤ α = {alpha:g}"
            if rate.p <= alpha
            else f"not shown to be less stable (p(Boschloo) = {rate.p:.2g} > α = {alpha:g}), but not "
            "promoted while more of its runs diverge than of the reference's"
        )
    )


def does_not_fit(runs: Replicates) -> str:
    failures = ", ".join(f"{run_id} {what}" for run_id, what in runs.does_not_fit.items())
    return f"{counted(len(runs.does_not_fit), 'run')} did not fit: {failures}"


def stopped(runs: Replicates) -> str:
    """That a variant was stopped half way, and at what."""
    said = next(iter(runs.stopped.values()))
    many = f"{len(runs.stopped)} of its {runs.total} runs" if runs.total > 1 else "its run"
    return f"{said} ({many}; non-binding, and counted among the comparisons)"


def no_reference(rung: str, base: Replicates) -> str:
    happened = ", ".join(f"{run_id} {what}" for run_id, what in (base.against | base.missing).items())
    return (
        f"the reference has no complete run on rung {rung} ({happened or 'none was planned'}), so nothing "
        "can be compared; run it again (a sweep's with sweepkit promote NAME --retry-failed)"
    )


def over_the_limit(place: int, climbers: int, max_promoted: int) -> str:
    return (
        f"place {place} of {climbers} that could climb, but this rung sends up {max_promoted} (max_promoted)"
    )


def drawn() -> str:
    return "drawn at random among those that did not climb, to measure transfer; it is never adopted"


def _missing(runs: Replicates) -> str:
    return ", ".join(f"{run_id} {what}" for run_id, what in runs.missing.items())
