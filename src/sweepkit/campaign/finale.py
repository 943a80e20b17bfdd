"""What a campaign ends with: its last reference against its first, and without each change that it adopted.

The effects of rounds do not simply add up: each was measured against another reference, and the best of many
looks better than it is. So the last reference runs against the first on every rung, on seeds that no round
has used and on text behind all that the rounds were evaluated on; and on the top rung each adopted change is
left out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweepkit.campaign.course import Change, Course
from sweepkit.config import holdout
from sweepkit.config.schema import RunConfig
from sweepkit.sweep import expand, last_rung
from sweepkit.sweep import metric as metrics
from sweepkit.sweep.decision import STEPS_ALONE, DecisionRule
from sweepkit.sweep.file import SweepFile

#: Axes and levels of the closing sweeps.
LAST, LEFT_OUT, NONE_LEFT_OUT = "last_reference", "left_out", "none"


@dataclass(frozen=True)
class Closing:
    """A sweep without a ladder, and the command line's overrides for it."""

    sweep: SweepFile
    extra: tuple[str, ...]


def closing(course: Course) -> list[Closing]:
    """The last reference against the first on every rung, then the ablation; none where they are the same."""
    campaign = course.campaign
    changes = course.reference(campaign.order)
    if not changes:
        return []
    first = next(iter(campaign.rounds.values()))
    stacks = expand.stacks(first, course.extra)
    whole = tuple(item for change in changes for item in change.overrides)
    axes = {LAST: {"new": whole}}
    seed = course.seed_after(campaign.order)
    found = []
    for stack in stacks:
        name = course.sweep_name(f"final-{stack.rung}")
        question = f"Is the last reference better than the first at {stack.rung}, on fresh seeds and text?"
        found.append(_closing(course, stack.below, name, question, axes, {}, seed))
        seed += campaign.final_seeds
    if len(changes) > 1:
        name, question = course.sweep_name("ablate"), "What does the last reference lose without each change?"
        levels = {NONE_LEFT_OUT: whole} | {change.round: _without(changes, change) for change in changes}
        reference = {LEFT_OUT: NONE_LEFT_OUT}
        found.append(_closing(course, stacks[-1].below, name, question, {LEFT_OUT: levels}, reference, seed))
    return found


def _without(changes: Sequence[Change], left_out: Change) -> tuple[str, ...]:
    return tuple(item for change in changes if change is not left_out for item in change.overrides)


def _closing(
    course: Course,
    below: tuple[str, ...],
    name: str,
    question: str,
    axes: dict[str, dict[str, tuple[str, ...]]],
    reference: dict[str, str],
    seed: int,
) -> Closing:
    campaign = course.campaign
    written = next(iter(campaign.rounds.values())).decision
    sweep = SweepFile(
        name=name,
        question=question,
        base=below,
        axes=axes,
        reference=reference,
        seeds=tuple(range(seed + 1, seed + 1 + campaign.final_seeds)),
        decision=DecisionRule(
            metric=written.metric, alpha=campaign.alpha, min_effect=written.min_effect, axes=STEPS_ALONE
        ),
    )
    extra = tuple(expand.above(course.extra))
    config = expand.stacks(sweep, extra)[0].config(extra)
    if (num_bytes := fresh_bytes(config, written.metric)) is None:
        return Closing(sweep, extra)
    rule = replace(sweep.decision, last_metric=last_rung.holdout_column(written.metric))
    return Closing(replace(sweep, decision=rule), (*extra, f"evaluation.max_bytes={num_bytes}"))


def fresh_bytes(config: RunConfig, metric: str) -> int | None:
    """``evaluation.max_bytes`` behind which lies text that no round has read: what they scored and held back.

    None where the metric is no loss on text, or it is known that there is no such text.
    """
    if not metrics.is_stream(metric):
        return None
    num_bytes = 2 * config.evaluation.max_bytes
    behind = replace(config, evaluation=replace(config.evaluation, max_bytes=num_bytes))
    return None if holdout.is_known_to_be_empty(behind, last_rung.stream_of(metric)) else num_bytes
