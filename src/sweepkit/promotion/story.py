"""What a ladder says beyond each variant: how effects travel from rung to rung, and where axes have cliffs.

Both are pure functions of what the rungs decided and of the frozen plan.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from sweepkit.analysis.cliffs import Cliff, cliffs
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.retention import Climber, Retention, retention
from sweepkit.promotion.verdict import RungResult
from sweepkit.sweep import conflicts
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.expand import REFERENCE, VARIANT, Cell

__all__ = ["Cliff", "Retention", "find_cliffs", "numeric_axes", "retentions"]


def retentions(rungs: Sequence[RungResult], alpha: float) -> list[Retention]:
    """One for every pair of neighbouring rungs that were decided."""
    planned = [result for result in rungs if not result.amendment]
    chances = _chances(planned)
    return [_retention(lower, upper, chances, alpha) for lower, upper in itertools.pairwise(planned)]


def find_cliffs(
    rungs: Sequence[RungResult], cells: Sequence[Cell], rule: DecisionRule
) -> dict[str, list[Cliff]]:
    """Rung → cliffs of its axes whose levels are numbers."""
    found: dict[str, list[Cliff]] = {}
    for result in rungs:
        judged = {verdict.variant: verdict for verdict in result.verdicts}
        here = [cell for cell in cells if cell.rung == result.rung]
        for axis, levels in numeric_axes(here).items():
            variants = {level: judged[name] for level, (name, _) in levels.items() if name in judged}
            effects = {level: verdict.effect for level, verdict in variants.items()}
            diverged = [
                level
                for level, verdict in variants.items()
                if "diverged" in (verdict.evidence.get("against") or {}).values()
            ]
            known = [
                (level, value)
                for level, (name, value) in levels.items()
                if name == REFERENCE or name in judged
            ]
            found.setdefault(result.rung, []).extend(
                cliffs(axis, known, effects, diverged, rule.alpha, rule.min_effect)
            )
    return {rung: items for rung, items in found.items() if items}


def numeric_axes(cells: Sequence[Cell]) -> dict[str, dict[str, tuple[str, float]]]:
    """Axis → level → variant and number, of axes that change one number; the reference's level among them.

    Args:
        cells: of one rung.
    """
    reference = next((cell for cell in cells if cell.role == REFERENCE), None)
    if reference is None:
        return {}
    base = conflicts.flatten(reference.plan.config)
    found: dict[str, dict[str, tuple[str, float, str]]] = {}
    for cell in cells:
        axis, _, level = cell.variant.partition("=")
        if cell.role != VARIANT or "," in cell.variant or axis not in cell.levels:
            continue
        mine = conflicts.flatten(cell.plan.config)
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


def _retention(lower: RungResult, upper: RungResult, chances: dict[str, float], alpha: float) -> Retention:
    below, above = _measured(lower), _measured(upper)
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
    return retention(lower.rung, upper.rung, climbers, everybody, lower.survivors, alpha)


def _measured(result: RungResult) -> dict[str, Effect]:
    """Variant → effect, of those whose effect and noise are known."""
    effects = {verdict.variant: verdict.followed for verdict in result.verdicts}
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
        lost = [item for item in fresh if not item.climbs and not item.evidence.get("against")]
        drawn = [item.variant for item in lost if item.unselected]
        chances |= {name: len(drawn) / len(lost) for name in drawn}
    return chances
