"""Freezing a sweep, and what is said of it before anything of it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sweepkit.cli import running
from sweepkit.launch import named
from sweepkit.printable import counted
from sweepkit.sweep import frozen, frozen_head, tested
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.tested import Place

_MOST_CHANGES = 40  # lines of a table in the terminal; the report has all


def freeze(sweep: SweepFile, overrides: Sequence[str], results_dir: Path, reuse_runs: bool) -> Frozen:
    """Freeze a sweep, or check that it still is what was frozen; one of which nothing was run may change."""
    before = frozen_head.found(results_dir / sweep.name)
    made = frozen.freeze(
        sweep, results_dir, overrides, reuse_runs, lambda: named.is_asked(results_dir, sweep.name)
    )
    if before is not None and before.identity != made.identity:
        print(f"{sweep.name} is frozen anew: nothing of what was frozen before had been run or asked for")
    return made


def introduce(frozen: Frozen) -> None:
    """One line on what is asked, one on how much it is and where it is frozen."""
    if frozen.question:
        print(frozen.question)
    where = f"{running.shown(frozen.sweep_dir)} ({frozen.sha256[:12]})"
    print(f"{frozen.name}: {describe(frozen.cells)}; frozen in {where}")
    for sentence in frozen.seen.sentences:
        print(sentence)
    if levels := frozen.cells[0].levels:
        print(f"reference: {', '.join(f'{axis}={level}' for axis, level in levels.items())}")
    show_tested(frozen.fixed, frozen.search, [*frozen.ladder_base, *frozen.base, *frozen.overrides])


def show_tested(cells: Iterable[Place], search: SearchSpec | None, base: Sequence[str]) -> None:
    """What all runs share, and every variant's fields beside the reference's."""
    from sweepkit.report import drawing, sheets, terminal

    console = terminal.console()
    if base:
        console.print(f"base: {' '.join(base)}", markup=False)
    console.print(drawing.draw(sheets.tested(tested.changes(cells, search), _MOST_CHANGES)))


def describe(cells: Sequence[Cell]) -> str:
    """``6 variants, 3 rungs, 54 runs``, the reference among the variants."""
    numbers = [
        (len({cell.variant for cell in cells}), "variant"),
        (len({cell.rung for cell in cells}), "rung"),
        (len({cell.plan.run_id for cell in cells}), "run"),
    ]
    return ", ".join(counted(number, noun) for number, noun in numbers)
