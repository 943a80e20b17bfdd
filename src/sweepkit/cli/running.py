"""What train, sweep and promote share: running cells, their summary and the exit status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepkit.results.record import RunState

if TYPE_CHECKING:
    import pandas as pd

    from sweepkit.config.schema import LauncherConfig
    from sweepkit.plan.run_plan import RunPlan
    from sweepkit.sweep.expand import Cell
    from sweepkit.sweep.frozen import Frozen

DONE, RUNS_FAILED = 0, 1


def launcher_of(plan: RunPlan) -> LauncherConfig:
    """The launcher settings that a plan was made with."""
    from sweepkit.config import codec

    return codec.from_json(plan.config).launcher


def run_cells(cells: Sequence[Cell], results_dir: Path, title: str, retry_failed: bool = False) -> None:
    """Have the cells run; a finished run is never run again, whoever asked for it."""
    from sweepkit.launch.execute import execute

    labels = {cell.plan.run_id: f"{cell.rung} {cell.variant} seed {cell.plan.seed}" for cell in cells}
    execute(
        [cell.plan for cell in cells],
        launcher_of(cells[0].plan),
        results_dir=results_dir,
        title=title,
        labels=labels,
        retry_failed=retry_failed,
    )


def introduce(frozen: Frozen) -> None:
    """One line on what is asked, one on how much it is and where it is frozen."""
    if frozen.question:
        print(frozen.question)
    print(
        f"{frozen.name}: {describe(frozen.cells)}; frozen in {shown(frozen.sweep_dir)} ({frozen.sha256[:12]})"
    )
    if levels := frozen.cells[0].levels:
        print(f"reference: {', '.join(f'{axis}={level}' for axis, level in levels.items())}")


def describe(cells: Sequence[Cell]) -> str:
    """``6 variants, 3 rungs, 54 runs``, the reference among the variants."""
    numbers = [
        (len({cell.variant for cell in cells}), "variant"),
        (len({cell.rung for cell in cells}), "rung"),
        (len({cell.plan.run_id for cell in cells}), "run"),
    ]
    return ", ".join(count(number, noun) for number, noun in numbers)


def count(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(path: Path) -> Path:
    """A path as short as it can be from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def near(paths: Mapping[str, Path]) -> dict[str, Path]:
    """``shown`` for a table of files."""
    return {what: shown(path) for what, path in paths.items()}


def load(frozen: Frozen, results_dir: Path) -> pd.DataFrame:
    """The runs table of a frozen sweep."""
    from sweepkit.results import store

    return store.load(frozen.name, results_dir)


def conclude(frozen: Frozen, results_dir: Path, cells: Sequence[Cell]) -> int:
    """Print the summary of the cells that were to run and where files are; returns the exit status."""
    from sweepkit.report import tables

    frame = load(frozen, results_dir)
    frame = frame[frame["run_id"].isin([cell.plan.run_id for cell in cells])]
    console = tables.console()
    console.print(tables.summary(frame, frozen.decision.metric))
    failed = frame[~frame["state"].isin([RunState.complete.value, RunState.diverged.value])]
    if len(failed):
        console.print(tables.runs(failed))
    console.print(tables.files(near({"sweep": frozen.sweep_dir, "runs": results_dir / "runs"})))
    return RUNS_FAILED if len(failed) else DONE
