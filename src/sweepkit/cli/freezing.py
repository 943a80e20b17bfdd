"""Freezing a sweep, and what is said of it before anything of it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sweepkit.cli import no_effect, plan_command, running
from sweepkit.code.levels import Code
from sweepkit.config.choices import DatasetKind, LauncherKind
from sweepkit.launch import budget, named
from sweepkit.plan import epochs, text
from sweepkit.plan.command_plan import CommandPlan, Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted, printable
from sweepkit.sweep import frozen, frozen_head, sealed_text, tested
from sweepkit.sweep.cell import REFERENCE, Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.tested import Place

_MOST_CHANGES = 40  # lines of a table in the terminal; the report has all


def freeze(
    sweep: SweepFile, overrides: Sequence[str], results_dir: Path, reuse_runs: bool, climbs: bool = False
) -> Frozen:
    """Freeze a sweep, or check that it still is what was frozen; one of which nothing was run may change.

    Args:
        climbs: whether further rungs than the first are to run.
    """
    before = frozen_head.found(results_dir / sweep.name)
    check_first = check_start(results_dir, climbs)

    def check(cells: Sequence[Cell]) -> None:
        check_first(cells)  # what this machine will not run needs no hub
        if climbs:
            _check_last_text(cells[-1].plan)

    made = frozen.freeze(
        sweep, results_dir, overrides, reuse_runs, lambda: named.is_asked(results_dir, sweep.name), check
    )
    no_effect.say(overrides, (cell.plan for cell in made.cells if isinstance(cell.plan, RunPlan)))
    if before is not None and before.identity != made.identity:
        print(f"{sweep.name} is frozen anew: nothing of what was frozen before had been run or asked for")
    return made


def check_start(results_dir: Path, climbs: bool = True) -> Callable[[Sequence[Cell]], None]:
    """What refuses a sweep before it is frozen: too many epochs, or more than this machine may be given.

    Of further rungs the reference alone is certain to run; whatever climbs is estimated again when it does.

    Args:
        climbs: whether further rungs than the first are to run at all.
    """

    def check(cells: Sequence[Cell]) -> None:
        first = cells[0].rung
        here = [cell for cell in cells if climbs or cell.rung == first]
        for plan in {cell.plan.variant_id: cell.plan for cell in here}.values():
            if isinstance(plan, RunPlan):
                epochs.check(plan)
        certain = [cell.plan for cell in here if cell.rung == first or cell.role == REFERENCE]
        if certain[0].launcher.kind is not LauncherKind.slurm:
            budget.check(certain, certain[0].launcher, results_dir)

    return check


def _check_last_text(plan: Plan) -> None:
    """Before anything is frozen: that there is text left for the last rung, which only the text can tell.

    Args:
        plan: of the last rung.

    Raises:
        DataError: too little is held back behind what the rungs below are evaluated on.
    """
    if not isinstance(plan, RunPlan):
        return
    top = text.known(plan).config
    is_known = top.dataset.kind is DatasetKind.embedded
    if is_known or top.launcher.kind is LauncherKind.slurm:  # whose nodes may have data that is not here
        return
    if sealed_text.streams(plan):
        from sweepkit.data.prepare import prepare  # heavy, and ``plan`` does without

        prepare(top)


def introduce(frozen: Frozen) -> None:
    """One line on what is asked, one on how much it is and where it is frozen."""
    if frozen.question:
        print(printable(frozen.question))
    where = f"{running.shown(frozen.sweep_dir)} ({frozen.sha256[:12]})"
    at_most = ", if every variant climbs" if len(frozen.rungs) > 1 else ""
    print(f"{frozen.name}: {describe(frozen.cells)}{at_most}; frozen in {where}")
    for sentence in frozen.seen.sentences:
        print(sentence)
    if isinstance(frozen.cells[0].plan, CommandPlan):
        for line in plan_command.frozen_of(frozen.cells, frozen.code):
            print(printable(line))
    if levels := frozen.cells[0].levels:
        print(f"reference: {', '.join(f'{axis}={level}' for axis, level in levels.items())}")
    base = [*frozen.ladder_base, *frozen.base, *frozen.overrides]
    said = (frozen.question or "").split()  # of a multirun it is the command line
    show_tested(frozen.fixed, frozen.search, [item for item in base if item not in said], frozen.code)


def show_tested(
    cells: Iterable[Place], search: SearchSpec | None, base: Sequence[str], code: Code | None = None
) -> None:
    """What all runs share, and every variant's fields beside the reference's."""
    from sweepkit.report import drawing, sheets, terminal

    console = terminal.console()
    searched = search.space if search else {}
    if shared := dict.fromkeys(item for item in base if item.partition("=")[0] not in searched):
        console.print(f"base: {' '.join(shared)}")
    if found := tested.changes(cells, search, code):  # seeds alone change no field
        console.print(drawing.draw(sheets.tested(found, _MOST_CHANGES)))
    for level in code.levels if code else ():
        console.print(printable(f"code: {level}"))


def describe(cells: Sequence[Cell]) -> str:
    """``6 variants, 3 rungs, 54 runs``, the reference among the variants."""
    numbers = [
        (len({cell.variant for cell in cells}), "variant"),
        (len({cell.rung for cell in cells}), "rung"),
        (len({cell.plan.run_id for cell in cells}), "run"),
    ]
    return ", ".join(counted(number, noun) for number, noun in numbers)
