"""What whoever reads a sweep's verdicts does next: a sentence each, with its command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sweepkit.analysis import power
from sweepkit.plan.command_plan import CODE, CommandPlan
from sweepkit.printable import counted
from sweepkit.promotion import amend
from sweepkit.promotion.verdict_record import Final, Promotion, Verdict
from sweepkit.sweep import amendments, tested
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen

_MANY = 6  # overrides in a sentence


def of(frozen: Frozen, promotion: Promotion | None) -> list[str]:
    """What to do now; without a promotion, or while one waits, that is to go on.

    Args:
        promotion: None where nothing has been decided.
    """
    name = frozen.name
    if promotion is None or not promotion.finished:
        command = ["promote", name, *frozen.overrides] if promotion is None else ["resume", name, "--climb"]
        return [f"sweepkit {shlex.join(command)} runs what is missing and decides"]
    steps = _adopted(frozen, promotion)
    last = frozen.rungs[-1].name
    is_open = [final for final in promotion.finals if final.outcome is Final.inconclusive]
    of_last = [final.variant for final in is_open if final.rung in (last, *_amended(frozen))]
    if of_last:
        steps.append(_amendment(frozen, promotion, of_last))
    if len(of_last) < len(is_open):
        names = ", ".join(final.variant for final in is_open if final.variant not in of_last)
        steps.append(
            f"{names}: left open below {last}; a sweep of these alone, with more seeds and under a new name, "
            "asks again"
        )
    return steps or ["nothing to change: the reference stands, and what was rejected need not be run again"]


def _amended(frozen: Frozen) -> list[str]:
    return [amendment.rung for amendment in frozen.amendments]


def _adopted(frozen: Frozen, promotion: Promotion) -> list[str]:
    """What was adopted, as overrides; and what is not known of several together."""
    adopted = promotion.of(Final.adopted)
    cells = [cell for cell in frozen.cells if cell.rung == frozen.rungs[-1].name]
    changed = {name: [item for item in tested.changes(cells) if item.variant == name] for name in adopted}
    steps = []
    for name, items in changed.items():
        of_command = any(isinstance(cell.plan, CommandPlan) for cell in cells)
        steps.append(f"{name}: " + (_into_program(items) if of_command else _into_base(items)))
    fields = [item.field for items in changed.values() for item in items]
    if len(set(fields)) < len(fields):
        steps.append(
            "some of these set the same field, so take one of them: they were not held against each other"
        )
    elif len(adopted) > 1:
        steps.append(
            "each was held against the reference alone: a new sweep with combine: 2 tells whether they add up"
        )
    return steps


def _into_base(items: Sequence[tested.Change]) -> str:
    is_short = 0 < len(items) <= _MANY
    what = " ".join(f"{item.field}={item.new}" for item in items) if is_short else "its level's overrides"
    return f"put {what} into the base of your next runs"


def _into_program(items: Sequence[tested.Change]) -> str:
    """A command has no base: parameters stand in params, and code is what its folder holds."""
    values = " ".join(f"{item.field}={item.new}" for item in items if item.field != CODE)
    codes = [item.new for item in items if item.field == CODE]
    what = [f"take {' and '.join(codes)} into the program"] if codes else []
    what += [f"put {values} into params of your next sweeps"] if values else []
    return ", and ".join(what)


def _amendment(frozen: Frozen, promotion: Promotion, variants: Sequence[str]) -> str:
    rule = frozen.rule_on(frozen.rungs[-1].name)
    level = amendments.level(rule.alpha, len(frozen.amendments) + 1)
    last = {item.variant: item for rung in promotion.rungs for item in rung.verdicts}
    needed = [_seeds(last[variant], rule, level, len(variants)) for variant in variants]
    there, who = amend.seeds_so_far(frozen), ", ".join(variants)
    if any(count is None for count in needed):
        return (
            f"{who}: more than {power.MAX_SEEDS} seeds would show min_effect {rule.min_effect:g}; ask about "
            "a larger effect in a new sweep, or leave it"
        )
    most = max([amendments.MIN_SEEDS, *(count for count in needed if count is not None)])
    return (
        f"{who}: sweepkit promote {frozen.name} --amend-to {there + most} adds "
        f"{counted(most, 'fresh seed')} and decides on those alone, at α = {level:g}"
    )


def _seeds(verdict: Verdict, rule: DecisionRule, alpha: float, num_variants: int) -> int | None:
    """Fresh seeds that show ``min_effect`` with 80% chance; as many again where that is not known."""
    effect = verdict.effect
    if rule.min_effect == 0.0 or not effect.noise_sd or effect.standard_error is None:
        return max(effect.n, amendments.MIN_SEEDS)
    ratio = effect.n * (effect.standard_error / effect.noise_sd) ** 2
    return power.seeds_needed(effect.noise_sd, rule.min_effect, num_variants, alpha, variance_ratio=ratio)
