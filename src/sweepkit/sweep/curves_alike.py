"""Which variants' curves compare with the reference's before their ends.

At equal fractions of a schedule losses compare where data order and schedule are the same: a run that decays
its learning rate early is ahead until it is not, and one with another batch has seen other text. What
changes warm-up, warm-down, batch or horizon is judged at its end alone; so is what acts late, and a change of
the code, of which nobody knows when it acts.
"""

from __future__ import annotations

from collections.abc import Iterable

from sweepkit.code.planner import FIELD as CODE
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import tested
from sweepkit.sweep.cell import REFERENCE, VARIANT, Cell

_SCHEDULES = ("schedule.", "horizon.")
#: Read in the warm-down, at the end alone, or nobody knows when.
_LATE = frozenset({"optimizer.matrix.momentum_end", "optimizer.ema_decay", CODE})


def comparable(cells: Iterable[Cell]) -> set[str]:
    """The variants of one rung whose curves compare.

    Args:
        cells: the rung's; of runs of a command none compares, for what its parameters change is not known.
    """
    here = [cell for cell in cells if isinstance(cell.plan, RunPlan)]
    orders = {_order(cell) for cell in here if cell.role == REFERENCE}
    other = {
        item.variant
        for item in tested.changes(here)
        if item.field.startswith(_SCHEDULES) or item.field in _LATE
    }
    other |= {cell.variant for cell in here if _order(cell) not in orders}
    return {cell.variant for cell in here if cell.role == VARIANT} - other


def _order(cell: Cell) -> tuple[object, ...]:
    """What a run sees and when, and what it is measured on."""
    plan = cell.own
    steps = (plan.num_steps, plan.warmup_steps, plan.warmdown_steps, plan.total_batch_size)
    return (plan.seed, plan.pair_key, plan.evaluation_key, *steps)
