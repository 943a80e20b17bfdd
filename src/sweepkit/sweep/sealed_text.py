"""The seal on text that is held back: it is evaluated for runs of a last rung alone, and who tries is noted.

What decides the last rung has to be text that nothing was chosen by (``last_rung.py``). Whoever could measure
any run on it would choose by it. So asking for a holdout stream anywhere else is refused, and the refusal is
kept in ``results/holdout_refused.jsonl``, a line each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sweepkit import errors, fsio
from sweepkit.config import holdout
from sweepkit.config.schema import RungConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep.cell import Cell

FILE = "holdout_refused.jsonl"


def streams(plan: RunPlan) -> list[str]:
    """The holdout streams that a plan asks for."""
    return [stream for stream in plan.config.evaluation.streams if holdout.base(stream) is not None]


def check_cells(cells: Iterable[Cell], rungs: Sequence[RungConfig], results_dir: Path) -> None:
    """Of a sweep that is to be frozen. Raises ConfigError where a rung below the last asks for a holdout."""
    _refuse([cell.plan for cell in cells if cell.rung != rungs[-1].name and streams(cell.plan)], results_dir)


def check_runs(plans: Sequence[RunPlan], frozen_cells: Iterable[Cell], results_dir: Path) -> None:
    """Of single runs: each has to be one that a frozen sweep evaluates on that text, so on its last rung.

    Args:
        frozen_cells: of all sweeps; looked at where a holdout is asked for.

    Raises:
        ConfigError: one is not; that it was asked for is kept.
    """
    if asked := [plan for plan in plans if streams(plan)]:
        known: dict[str, set[str]] = {}
        for cell in frozen_cells:
            known.setdefault(cell.plan.run_id, set()).update(streams(cell.plan))
        _refuse(
            [plan for plan in asked if not known.get(plan.run_id, set()) >= {*streams(plan)}], results_dir
        )


def _refuse(plans: Sequence[RunPlan], results_dir: Path) -> None:
    if not plans:
        return
    asked = list(dict.fromkeys(stream for plan in plans for stream in streams(plan)))
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    fsio.make_folder(results_dir)
    fsio.append_line(
        results_dir / FILE, {"at": now, "streams": asked, "runs": [plan.run_id for plan in plans]}
    )
    some = f"{plans[0].run_id} and {len(plans) - 1} more are" if len(plans) > 1 else f"{plans[0].run_id} is"
    raise errors.invalid(
        "evaluation.streams",
        asked,
        f"be asked of runs of a last rung alone ({some} none), for no choice may rest "
        "on the text that decides there",
        f"leave it out; that it was asked for is kept in {results_dir / FILE}",
    )
