"""What ``sweepkit plan`` says of a command's sweep: how many runs, what each is started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweepkit.cli import running
from sweepkit.code.levels import Code
from sweepkit.plan import command_files, command_words
from sweepkit.plan.command_plan import CommandPlan, Program
from sweepkit.printable import counted
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.sweep import expand
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.command_keys import SHARED
from sweepkit.sweep.file import SweepFile

#: Files named of those that no run is named by.
_SHOWN = 5


def show(sweep: SweepFile, cells: Sequence[Cell], others: Sequence[str]) -> None:
    """A line a rung, the command of the first run, and what decides a number besides."""
    console = terminal.console()
    sheet = Sheet(("rung", ">variants", ">seeds", ">runs", "sets"))
    for rung in dict.fromkeys(cell.rung for cell in cells):
        here = [cell for cell in cells if cell.rung == rung]
        num_seeds = len({cell.plan.seed for cell in here})
        values = (sweep.ladder or {}).get(rung, {}) if not isinstance(sweep.ladder, str) else {}
        sets = ", ".join(f"{name}={value}" for name, value in values.items())
        sheet.add(rung, str(len({cell.variant for cell in here})), str(num_seeds), str(len(here)), sets)
    console.print(drawing.draw(sheet))
    plan = cells[0].plan
    assert isinstance(plan, CommandPlan)
    program = plan.program
    started = command_words.shown(command_words.words(plan, Path("RUN_DIR")))
    several = f"{counted(len(cells), 'run')} in all, if every variant climbs to the top"
    for line in (
        several if len({cell.rung for cell in cells}) > 1 else f"{counted(len(cells), 'run')} in all",
        f"the first: {started}",
        f"in {running.shown(Path(program.folder))}; program {program.code}{_inputs(program)}",
        *frozen_of(cells, sweep.trees.code if sweep.trees else None),
        f"{program.metric.name} from {_where(program)}; {_goes_on(program)}; seeds are {sweep.seeds_mean}",
        "nobody knows before what a command takes: no hours, memory or disk are estimated",
        *_foreseen(sweep, cells, others),
    ):
        console.print(line)


def _foreseen(sweep: SweepFile, cells: Sequence[Cell], others: Sequence[str]) -> list[str]:
    """Whether the last rung could decide nothing, whatever came out."""
    from sweepkit.promotion import expected, foresight

    if sweep.seeds_mean != SHARED:  # groups that share nothing leave more to measure the noise by
        return []
    rungs = expand.rungs_of(expand.ladder_of(sweep, others))
    found = expected.of(cells, rungs, sweep.decision, known=[])
    sentence = foresight.foreseen(found, sweep.decision, None, len(rungs) > 1)
    return [sentence] if sentence else []


def frozen_of(cells: Sequence[Cell], code: Code | None) -> list[str]:
    """What the program of a command's cells was frozen of, and what of it may still change under a run."""
    programs = [cell.plan.program for cell in cells if isinstance(cell.plan, CommandPlan)]
    program = programs[0]
    live = [*(code.reference.live if code else ()), *command_words.outside(program)]
    of = [f"a frozen copy of {code.reference.text}: edits there change no run"] if code else []
    if program.path:
        first = ", ".join(program.path)
        of.append(f"its packages are installed here too; {first} of the copy is put first on PYTHONPATH")
    remedy = "what decides a number belongs under inputs, where an edit is refused"
    said = [f"live, not frozen: {', '.join(live)} ({remedy})"] if live else []
    if read := command_files.named_live(programs):
        said += [
            f"to be read only: {', '.join(read)} (its content names the runs; they write into {{run_dir}})"
        ]
    if others := command_files.unnamed(programs):
        shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if others[_SHOWN:] else "")
        said += [f"in no run's name: {shown} (under inputs an edit makes other runs; else it returns these)"]
    return [*of, *said]


def _inputs(program: Program) -> str:
    named = {
        name: digest for name, digest in program.named.items() if not command_files.is_source(Path(name))
    }
    found = "".join(f", {name} {digest}" for name, digest in (named | program.inputs).items())
    return found or ", no inputs"


def _where(program: Program) -> str:
    how = program.metric
    return f"what {how.regex!r} matches last in the log" if how.regex else str(how.read)


def _goes_on(program: Program) -> str:
    return "stopped, it goes on where it was" if program.resume else "stopped, it starts from the beginning"
