"""What follows from a fit, as lines to paste: overrides of a sweep's base or of a rung, or the schema's rule.

A line that begins with ``base:`` is one of a sweep file; its list fits among a rung's overrides too. A column
that is no field of a run is only said. What the schema scales by a rule of its own stays so while the runs do
not contradict that rule.
"""

from __future__ import annotations

import math
import re

from sweepkit.analysis.laws.fitting import Fit
from sweepkit.analysis.laws.optima import Optimum
from sweepkit.analysis.laws.power_law import Law
from sweepkit.config import schema
from sweepkit.plan.roles import ROLES
from sweepkit.report.sheets_laws import between, exponent, short
from sweepkit.results.columns import LEVEL

_BATCH, _BATCH_COLUMN = "horizon.total_batch_size", "total_batch_size"
_SCALED = re.compile(rf"(learning_rates|weight_decays)_({'|'.join(ROLES)})")


def lines(found: Fit) -> list[str]:
    """The override or the transfer rule that follows from the optima.

    An axis is a field of whoever trains; a column of optima may be none, and its lines are comments then.
    """
    column = found.question.optimum
    is_field = column is None or column == _BATCH_COLUMN or schema.field_at(column) is not None
    return [line if is_field or line.startswith("#") else f"# {line}" for line in _lines(found)]


def _lines(found: Fit) -> list[str]:
    question, law = found.question, found.law
    column = (question.axis or question.optimum or question.batch or "FIELD").removeprefix(LEVEL)
    field = _BATCH if column == _BATCH_COLUMN else column
    edges = [
        f"{item.group} to {short(item.extend_to)}" for item in found.optima if item.extend_to is not None
    ]
    first = [f"# first extend the grid: {', '.join(edges)}"] if edges else []
    if match := _SCALED.fullmatch(column):
        source = f"optimizer.{match[2]}.{'lr' if match[1] == 'learning_rates' else 'weight_decay'}"
        return [*first, f"# {column} is what the schema makes of {source}: fit that one for an override"]
    by = f"{question.by or question.scale} " if question.by or question.scale else ""
    if law is None:
        return [*first, *(_alone(field, item, by) for item in found.optima if item.has_value)]
    told = f"exponent {law.exponent:.3f}, {exponent(law.interval)}"
    head = f"# {column} = {law.prefactor:.4g} × {law.scale_name}^{law.exponent:.3f} ({told})"
    return [*first, head, *_of_law(law, field, by if question.batch is None else "", question.rule is None)]


def _of_law(law: Law, field: str, by: str, is_schemas: bool) -> list[str]:
    """What the exponent says: the schema's rule may stay, one value for all, or one for each size."""
    scale, rule = law.scale_name, law.rule
    each = [_base(field, law.at(point.scale), f"{by}{point.name}") for point in law.points]
    if rule and law.interval.holds(rule) and (is_schemas or field == _BATCH):
        stays = f"# the rule {scale}^{rule:g} is not contradicted: it may stay"
        return [stays, *(["base: [horizon.total_batch_size=auto]"] if field == _BATCH else []), *each]
    if law.interval.holds(0.0):
        scales = sorted(point.scale for point in law.points)
        said = "# an exponent of 0 is not contradicted: one value for all"
        return [said, _base(field, law.at(scales[len(scales) // 2]))]
    said = f"# an exponent of 0 is contradicted: a value for each size, or this rule in {scale}"
    moved = []
    if field == _BATCH and "token" in scale.lower() and 0 <= law.exponent <= 1:
        moved = [
            f"base: [{_BATCH}=auto, horizon.batch_exponent={law.exponent:.3f}]  # from the reference's on"
        ]
    return [said, *moved, *each]


def _alone(field: str, item: Optimum, by: str) -> str:
    """One optimum, with its interval; where that has no end at all, runs have shown no optimum to propose."""
    group, interval = f"{by}{item.group}" if by else "", between(item.interval)
    if item.interval.low is None and item.interval.high is None:
        start = f"# {group}: nothing" if group else "# nothing"
        return f"{start} is proposed, for the optimum's interval is {interval}: add runs or levels"
    confidence = f"{item.interval.confidence:.0%} interval {interval}"
    return _base(field, item.value, f"{group}, {confidence}" if group else confidence)


def _base(field: str, value: float | None, where: str = "") -> str:
    assert value is not None
    # a batch is a power of two, as the schema's own
    shown = f"{2 ** max(0, round(math.log2(value)))}" if field == _BATCH else f"{value:.6g}"
    return f"base: [{field}={shown}]" + (f"  # {where}" if where else "")
