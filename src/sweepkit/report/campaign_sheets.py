"""A campaign as tables: what its rounds adopted, and whether that held together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweepkit.campaign.course import Course
from sweepkit.campaign.walk import Step
from sweepkit.promotion.verdict_record import Final, Outcome, Verdict
from sweepkit.report import forecast_record, numbers
from sweepkit.report.sheet import Mark, Sheet


def sheets(course: Course, steps: Sequence[Step]) -> list[Sheet]:
    """All that there is to tell by now."""
    found = [
        rounds(course, steps),
        against_the_first(course, steps),
        ablation(course, steps),
        foretold(steps),
    ]
    return [sheet for sheet in found if sheet.rows]


def foretold(steps: Sequence[Step]) -> Sheet:
    """How what the rounds' rungs were expected to show has come out."""
    folders = [step.standing.folder for step in steps if step.standing]
    sheet = forecast_record.score_sheet(forecast_record.of_all(folders)[0])
    sheet.notes[:0] = ["forecasts that were written down before each rung was run"] if sheet.rows else []
    return sheet


def rounds(course: Course, steps: Sequence[Step]) -> Sheet:
    """A line a round: what it tried, and what it adopted."""
    there = {step.name: step for step in steps}
    sheet = Sheet(("round", ">variants", ">climbed", "state", "adopted", ">effect", ">α"))
    for name in course.campaign.order:
        step, alpha = there.get(name), f"{course.campaign.alpha_of(name):.2g}"
        if step is None or step.sweep is None:
            after = ", ".join(course.campaign.rounds[name].after)
            state = f"waits for {after}" if step is None else "nothing to try: too little moved"
            sheet.add(name, "", "", Mark(state, "planned"), "", "", alpha)
        elif step.standing is None:
            sheet.add(name, "", "", Mark("under way, or next", "running"), "", "", alpha)
        else:
            promotion, change = step.standing.promotion, course.adopted(name)
            climbed = {item.variant for item in promotion.rungs[-1].verdicts if not _is_only_measured(item)}
            sheet.add(
                name,
                str(len(promotion.finals)),
                str(len(climbed) if len(promotion.rungs) > 1 else 0),
                Mark("decided", "complete"),
                Mark(change.variant, "adopted") if change else "nothing",
                numbers.change(-change.gain) if change else "",
                alpha,
            )
            others = [item for item in promotion.of(Final.adopted) if change and item != change.variant]
            if others:
                sheet.notes.append(f"{name} also adopted {', '.join(others)}, which were not tested on top")
    if sheet.rows:
        sheet.notes.append("effect: of what was adopted, shrunken, on the last rung")
    return sheet


@dataclass(frozen=True)
class Closed:
    """The last reference against the first on one rung, and the sum of the rounds' effects there."""

    rung: str
    summed: float | None
    verdict: Verdict


def closed(course: Course, steps: Sequence[Step]) -> list[Closed]:
    """Of every rung where that was decided."""
    changes, start = course.reference(course.campaign.order), course.sweep_name("final-")
    found = []
    for step in steps:
        if step.standing is None or not step.name.startswith(start):
            continue
        rung = step.name.removeprefix(start)
        parts = [change.effects.get(rung) for change in changes]
        summed = None if None in parts else sum(part for part in parts if part is not None)
        found.append(Closed(rung, summed, step.standing.promotion.rungs[-1].verdicts[0]))
    return found


def against_the_first(course: Course, steps: Sequence[Step]) -> Sheet:
    """A line a rung: the sum of the rounds' effects, and the last reference against the first."""
    sheet = Sheet(("rung", ">sum of rounds", ">last − first", ">interval", "metric", ">seeds", "verdict"))
    for item in closed(course, steps):
        effect = item.verdict.effect
        sheet.add(
            item.rung,
            numbers.change(item.summed),
            numbers.change(effect.effect),
            _interval(item.verdict),
            str(item.verdict.evidence.metric),
            str(effect.n),
            Mark(_WORDS[item.verdict.outcome], item.verdict.outcome.value),
        )
    if sheet.rows:
        sheet.notes.append("each round's effect was measured against another reference, on the usual text")
    return sheet


def ablation(course: Course, steps: Sequence[Step]) -> Sheet:
    """A line an adopted change: what the last reference loses without it."""
    sheet = Sheet(("left out", ">effect", ">interval", "verdict"))
    for step in steps:
        if step.standing is None or step.name != course.sweep_name("ablate"):
            continue
        for verdict in step.standing.promotion.rungs[-1].verdicts:
            effect = verdict.effect
            missed = effect.low is not None and effect.low > 0
            word = (
                "missed" if missed else "better without" if verdict.outcome is Outcome.adopt else "not shown"
            )
            sheet.add(
                verdict.variant.partition("=")[2], numbers.change(effect.effect), _interval(verdict), word
            )
    return sheet


_WORDS = {
    Outcome.adopt: "better",
    Outcome.reject: "no gain",
    Outcome.inconclusive: "not shown",
}


def _interval(verdict: Verdict) -> str:
    effect = verdict.effect
    if effect.low is None or effect.high is None:
        return "–"
    return f"{numbers.change(effect.low)} to {numbers.change(effect.high)} ({effect.confidence:.0%})"


def _is_only_measured(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.unselected
