"""What a ladder says beyond each variant: how effects travel from rung to rung, and where axes have cliffs.

Both are pure functions of what the rungs decided and of the frozen plan.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from sweepkit.analysis.cliffs import Cliff, cliffs
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.retention import Climber, Retention, retention
from sweepkit.promotion.verdict_record import RungResult
from sweepkit.sweep.cell import REFERENCE, VARIANT, Cell
from sweepkit.sweep.decision import DecisionRule

__all__ = ["Cliff", "Retention", "find_cliffs", "numeric_axes", "retentions"]


def retentions(rungs: Sequence[RungResult], rule: DecisionRule) -> list[Retention]:
    """One for every pair of neighbouring rungs that were decided."""
    planned = [result for result in rungs if not result.amendment]
    chances = _chances(planned)
    return [_retention(lower, upper, chances, rule) for lower, upper in itertools.pairwise(planned)]


def find_cliffs(
    cells: Sequence[Cell], effects: Mapping[str, Effect], diverged: Container[str], rule: DecisionRule
) -> list[Cliff]:
    """Cliffs of the axes of one rung whose levels are numbers, from its runs alone: no verdict is needed.

    Args:
        cells: the rung's.
        effects: variant → effect, as of a loss.
        diverged: variants with a diverged run.
    """
    found = []
    for axis, levels in numeric_axes(cells).items():
        names = {level: name for level, (name, _) in levels.items()}
        known = {level: effects[name] for level, name in names.items() if name in effects}
        blown = [level for level, name in names.items() if name in diverged]
        there = [
            (level, value)
            for level, (name, value) in levels.items()
            if name == REFERENCE or level in known or level in blown
        ]
        found += cliffs(axis, there, known, blown, rule.alpha, rule.min_effect)
    return found


def numeric_axes(cells: Sequence[Cell]) -> dict[str, dict[str, tuple[str, float]]]:
    """Axis → level → variant and number, of axes that change one number; the reference's level among them.

    Args:
        cells: of one rung.
    """
    reference = next((cell for cell in cells if cell.role == REFERENCE), None)
    if reference is None:
        return {}
    base = reference.plan.settings
    found: dict[str, dict[str, tuple[str, float, str]]] = {}
    for cell in cells:
        axis, _, level = cell.variant.partition("=")
        if cell.role != VARIANT or "," in cell.variant or axis not in cell.levels:
            continue
        mine = cell.plan.settings
        changed = [
            name for name in mine if name not in ("seed", "init_seed") and mine[name] != base.get(name)
        ]
        if len(changed) == 1 and _is_number(mine[changed[0]]) and _is_number(base.get(changed[0])):
            found.setdefault(axis, {})[level] = (cell.variant, float(mine[changed[0]]), changed[0])
        else:
            found.setdefault(axis, {})[level] = (cell.variant, math.nan, "")
    axes = {}
    for axis, levels in found.items():
        fields = {field for _, _, field in levels.values()}
        if len(fields) == 1 and "" not in fields:
            own = reference.levels.get(axis, REFERENCE)
            start = {own: (REFERENCE, float(base[fields.pop()]))}
            axes[axis] = start | {level: (name, value) for level, (name, value, _) in levels.items()}
    return axes


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _retention(
    lower: RungResult, upper: RungResult, chances: dict[str, float], rule: DecisionRule
) -> Retention:
    below, above = _measured(lower, rule), _measured(upper, rule)
    everybody = {
        name: (effect.effect, _own_error(effect))
        for name, effect in below.items()
        if effect.effect is not None
    }
    climbers = [
        Climber(
            name,
            below[name].effect or 0.0,
            above[name].effect or 0.0,
            _own_error(below[name]),
            chances.get(name, 1.0),
            _flips(below[name], above[name]),
        )
        for name in below
        if name in above
    ]
    found = retention(lower.rung, upper.rung, climbers, everybody, lower.survivors, rule.alpha)
    means = (found.measured_below, found.expected, found.measured_above)
    below_, expected, above_ = (None if mean is None else rule.sign * mean for mean in means)
    return replace(found, measured_below=below_, expected=expected, measured_above=above_)


def _measured(result: RungResult, rule: DecisionRule) -> dict[str, Effect]:
    """Variant → effect as of a loss, of those whose effect and noise are known."""
    effects = {verdict.variant: verdict.followed.turned(rule.sign) for verdict in result.verdicts}
    return {
        name: effect
        for name, effect in effects.items()
        if effect.effect is not None and effect.noise_sd is not None and effect.n > 0
    }


def _own_error(effect: Effect) -> float:
    """Standard error of the variant's own mean."""
    return (effect.noise_sd or 0.0) / math.sqrt(effect.n)


def _flips(below: Effect, above: Effect) -> bool:
    def side(effect: Effect) -> int:
        if effect.low is None or effect.high is None:
            return 0
        return (effect.low > 0) - (effect.high < 0)

    return side(below) * side(above) < 0


def _chances(rungs: Sequence[RungResult]) -> dict[str, float]:
    """Variant → its chance of having climbed, for those drawn at random among the ones that lost."""
    chances: dict[str, float] = {}
    for result in rungs:
        fresh = [item for item in result.verdicts if item.variant not in chances]
        lost = [item for item in fresh if not item.climbs and not item.evidence.against]
        drawn = [item.variant for item in lost if item.unselected]
        chances |= {name: len(drawn) / len(lost) for name in drawn}
    return chances
