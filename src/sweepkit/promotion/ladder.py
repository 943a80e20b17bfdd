"""The ladder: run a rung, decide it once, climb with what survives.

A state machine whose whole state lies in files, so that it can be killed anywhere and run again. Rung by
rung: run what is missing of the reference and the surviving variants, check that plan and rule are still
what was frozen, decide, and store the decision in ``verdicts.json`` with a digest of the runs it was based
on, before anything of the next rung starts. On a rerun a stored decision is used as it stands while its
inputs are the same; otherwise it is made again, which gives the same from the same runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from sweepkit.analysis import replicates
from sweepkit.config.schema import RungConfig
from sweepkit.errors import FrozenPlanError
from sweepkit.promotion import gate, ledger, outcome
from sweepkit.promotion.verdict import Promotion, RungResult
from sweepkit.results.columns import REFERENCE
from sweepkit.results.record import RunState
from sweepkit.sweep.expand import Cell
from sweepkit.sweep.frozen import Frozen, load_frozen

RunCells = Callable[[str, list[Cell]], object]
Load = Callable[[], pd.DataFrame]


def promote(
    frozen: Frozen,
    run_cells: RunCells,
    load: Load,
    *,
    allow_mixed_environments: bool = False,
    retry_failed: bool = False,
    on_decision: Callable[[RungResult], None] = lambda result: None,
) -> Promotion:
    """Climb a frozen sweep's ladder as far as its runs carry it.

    Args:
        frozen: plan and rule, from ``sweep.frozen``.
        run_cells: runs the cells of the named rung, skipping finished ones; may return before all are done.
        load: gives the sweep's runs table.
        allow_mixed_environments: compare runs across hardware, versions and threads.
        retry_failed: ask ``run_cells`` again also where runs have ended, but not all of them well.
        on_decision: called with every rung's result, stored or new, as soon as it is known.

    Returns:
        The end of the ladder, or with ``finished`` False where runs are still missing. Either way
        ``promotion.json``, ``verdicts.json``, ``effects.csv``, ``costs.csv`` and ``runs.csv`` in the sweep's
        folder say the same.

    Raises:
        FrozenPlanError: the plan or rule was edited since it was frozen.
        SweepkitError: runs that must be compared have fingerprints that differ.
    """
    rungs = [rung for rung in frozen.rungs if any(cell.rung == rung.name for cell in frozen.cells)]
    surviving = [name for name in dict.fromkeys(cell.variant for cell in frozen.cells) if name != REFERENCE]
    decided: list[RungResult] = []
    waiting: list[str] = []
    _verify(frozen)
    stored = ledger.read(frozen)
    for rung in rungs:
        cells = _cells(frozen, rung, surviving)
        rows = _rows(load(), rung, surviving)
        if unfinished(rows, cells) or (retry_failed and not (rows["state"] == RunState.complete).all()):
            run_cells(rung.name, cells)
            rows = _rows(load(), rung, surviving)
        waiting = unfinished(rows, cells)
        if waiting:
            break
        _verify(frozen)
        result = _decide(frozen, rung, rung is rungs[-1], rows, cells, stored, allow_mixed_environments)
        decided.append(result)
        ledger.write(frozen, decided)
        on_decision(result)
        surviving = result.survivors
        if not surviving:
            break
    promotion = outcome.conclude(frozen, rungs, decided, waiting)
    outcome.write(frozen.sweep_dir, promotion, load())
    return promotion


def unfinished(rows: pd.DataFrame, cells: Sequence[Cell]) -> list[str]:
    """Run ids of cells that have not ended yet, in the order of the plan."""
    ended = set(rows.loc[~rows["state"].isin(replicates.UNFINISHED), "run_id"])
    return [cell.plan.run_id for cell in cells if cell.plan.run_id not in ended]


def _cells(frozen: Frozen, rung: RungConfig, surviving: Sequence[str]) -> list[Cell]:
    wanted = {REFERENCE, *surviving}
    return [cell for cell in frozen.cells if cell.rung == rung.name and cell.variant in wanted]


def _rows(frame: pd.DataFrame, rung: RungConfig, surviving: Sequence[str]) -> pd.DataFrame:
    return frame[(frame["rung"] == rung.name) & frame["variant"].isin([REFERENCE, *surviving])]


def _decide(
    frozen: Frozen,
    rung: RungConfig,
    is_last: bool,
    rows: pd.DataFrame,
    cells: Sequence[Cell],
    stored: dict[str, RungResult],
    allow_mixed_environments: bool,
) -> RungResult:
    inputs = ledger.inputs_sha256(frozen, rung, is_last, rows)
    before = stored.get(rung.name)
    if before is not None and before.inputs_sha256 == inputs:
        return before
    verdicts = gate.decide(rows, frozen.decision, rung, is_last, allow_mixed_environments)
    return RungResult(rung.name, cells[0].plan.depth if cells else None, verdicts, inputs)


def _verify(frozen: Frozen) -> None:
    """Refuse to decide by a plan or rule that is not the frozen one."""
    on_disk = load_frozen(frozen.sweep_dir.parent, frozen.name)
    if on_disk.sha256 != frozen.sha256:
        raise FrozenPlanError(
            f"{frozen.sweep_dir} has hash {on_disk.sha256[:12]}, but must have {frozen.sha256[:12]}, with "
            "which this promotion began; restore it, or start again under a new name"
        )
