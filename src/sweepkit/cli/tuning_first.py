"""Equal tuning before a sweep is frozen: the selection runs, and what they selected."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from sweepkit.analysis import replicates
from sweepkit.cli import freezing, hub_texts, running
from sweepkit.printable import counted
from sweepkit.promotion import selected
from sweepkit.report import drawing, sheets, terminal
from sweepkit.sweep import file, frozen, tuning
from sweepkit.sweep.file import SweepFile

#: Options of sweep and promote with which a gate goes on.
_OPTIONS = ("reuse_runs", "underpowered", "allow_mixed_environments")


def tuned(asked: SweepFile, args: argparse.Namespace, results_dir: Path) -> SweepFile | int:
    """The sweep with what every variant takes; the exit status where selection runs are still missing.

    Raises:
        SweepkitError: what freezing raises.
    """
    if not asked.tune or asked.name in frozen.frozen_names(results_dir):
        return asked
    check = freezing.check_start(results_dir)
    made = hub_texts.knowing(lambda: tuning.freeze(asked, results_dir, args.overrides, check))
    seeds = ", ".join(map(str, dict.fromkeys(cell.plan.seed for cell in made.cells)))
    console = terminal.console()
    console.rule(f"{made.name}: every variant takes its best {', '.join(asked.tune)}", align="left")
    runs = freezing.describe(made.cells)
    print(f"{runs} on {made.rungs[0].name}, with seeds {seeds}, which decide nothing else")
    options = [f"--{name.replace('_', '-')}" for name in _OPTIONS if getattr(args, name, False)]
    goes_on = (args.command, str(file.find(args.name)), *args.overrides, *options)
    how = dataclasses.replace(running.how(args, results_dir, made.cells[0].plan), goes_on=goes_on)
    if submitted := running.run_cells(made, made.cells, how, made.name):
        return running.leave(made, how, submitted, [])
    frame = running.load(made, results_dir)
    if waiting := replicates.unanswered(frame):
        said = f"{counted(len(waiting), 'run')} without an answer ({replicates.in_words(waiting)})"
        print(f"{said}, so nothing is selected; run the same command again to go on")
        return running.RUNS_FAILED
    found = selected.tried(asked, frame, args.overrides)
    console.print(drawing.draw(sheets.tuned(found, asked.decision.metric)))
    return dataclasses.replace(asked, tuned=selected.taken(found))
