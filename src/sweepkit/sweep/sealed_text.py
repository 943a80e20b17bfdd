"""The seal on text that is held back: it is evaluated for runs of a last rung alone, and who tries is noted.

What decides the last rung has to be text that nothing was chosen by (``last_rung.py``). Whoever could measure
any run on it would choose by it. So asking for a holdout stream anywhere else is refused, and so is asking a
run of a lower rung for more bytes of the text whose next bytes are held back: the difference would be the
holdout's loss. The refusal is kept in ``results/holdout_refused.jsonl``, a line each; of what is only planned
it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sweepkit import errors, fsio
from sweepkit.config import holdout
from sweepkit.config.schema import RungConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.plan.run_spec import RunSpec
from sweepkit.sweep import last_rung
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile

FILE = "holdout_refused.jsonl"


def streams(plan: RunSpec) -> list[str]:
    """The holdout streams that a plan asks for; a command is given none."""
    asked = plan.config.evaluation.streams if plan.config else ()
    return [stream for stream in asked if holdout.base(stream) is not None]


def check_cells(
    cells: Iterable[Cell], rungs: Sequence[RungConfig], sweep: SweepFile, note_in: Path | None
) -> None:
    """Of a sweep that is to be frozen: the last rung of a ladder alone may ask for a holdout.

    Of one rung it is a sweep that is decided by it (``decision.last_metric``) and searches nothing.

    Args:
        note_in: the results folder, where a refusal is kept; None: it is only planned.

    Raises:
        ConfigError: another run does.
    """
    rule, may = sweep.decision, len(rungs) > 1
    decided = last_rung.holdout_of(rule, rungs) if rule.last_metric and not sweep.search else None
    _refuse(
        [
            cell.own
            for cell in cells
            if (asked := streams(cell.plan))
            and (cell.rung != rungs[-1].name or not (may or asked == [decided]))
        ],
        note_in,
    )


def check_runs(plans: Sequence[RunPlan], sweeps: Iterable[Sequence[Cell]], note_in: Path | None) -> None:
    """Of single runs: what is held back is evaluated for runs that a frozen sweep evaluates on it.

    Args:
        sweeps: the cells of every frozen sweep.
        note_in: as for ``check_cells``.

    Raises:
        ConfigError: a run asks for it that is on no last rung; that it was asked for is kept.
    """
    allowed: dict[str, set[str]] = {}
    limits: dict[tuple[str, str], int] = {}  # run and stream → its bytes that nothing holds back
    for cells in sweeps:
        held = {
            of: min(cell.own.config.evaluation.max_bytes for cell in cells if of in streams(cell.plan))
            for of in {stream for cell in cells for stream in streams(cell.plan)}
        }
        for cell in cells:
            run_id = cell.plan.run_id
            allowed.setdefault(run_id, set()).update(streams(cell.plan))
            for stream, limit in held.items():
                limits[run_id, stream] = min(limit, limits.get((run_id, stream), limit))

    def reached(plan: RunPlan) -> set[str]:
        """The holdout streams whose text is asked for, in its own name or as more bytes of the usual one."""
        asked, more = plan.config.evaluation, set()
        for stream in map(holdout.of, asked.streams):
            if asked.max_bytes > limits.get((plan.run_id, stream), asked.max_bytes):
                more.add(stream)
        return {*streams(plan)} | more

    _refuse([plan for plan in plans if not reached(plan) <= allowed.get(plan.run_id, set())], note_in)


def _refuse(plans: Sequence[RunPlan], note_in: Path | None) -> None:
    if not plans:
        return
    asked = list(dict.fromkeys(stream for plan in plans for stream in plan.config.evaluation.streams))
    max_bytes = max(plan.config.evaluation.max_bytes for plan in plans)
    noted = ""
    if note_in is not None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": now, "streams": asked, "max_bytes": max_bytes, "runs": [plan.run_id for plan in plans]}
        fsio.make_folder(note_in)
        fsio.append_line(note_in / FILE, line)
        noted = f"; this was noted in {note_in / FILE}"
    some = f"{plans[0].run_id} and {len(plans) - 1} more are" if len(plans) > 1 else f"{plans[0].run_id} is"
    raise errors.invalid(
        "evaluation.streams",
        f"{asked} with evaluation.max_bytes={max_bytes}",
        f"reach text that is held back for runs of a last rung alone ({some} none), for no choice may rest "
        "on the text that decides there",
        f"leave the holdout out, and max_bytes as the sweep has it{noted}",
    )
