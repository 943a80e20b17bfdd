"""What train, sweep and promote share: running cells, their summary and the exit status."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from sweepkit.cli import watching
from sweepkit.config import own_conf, paths
from sweepkit.config.choices import LauncherKind, WandbMode
from sweepkit.config.dtype_override import dtype_override
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import invalid
from sweepkit.launch import code_levels, execute
from sweepkit.launch.hopeless import Stopper, Watch
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.other_sources import OtherSources
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.plan.command_plan import Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.plan.run_spec import RunSpec
from sweepkit.printable import counted
from sweepkit.results import answer, asked
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep import (
    expand,
    file,
    frozen,
    frozen_head,
    limits,
    relative,
    sealed_text,
    set_fields,
    tuning,
)
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen
from sweepkit.training import wandb_log

if TYPE_CHECKING:
    import pandas as pd

    from sweepkit.launch.slurm.submit import Submitted

DONE, RUNS_FAILED = 0, 1
_SWEEP = "sweep="
#: Options for finished runs that other code made: what is done with them, and how to say it.
OTHER_SOURCES = {
    "--rerun": ("rerun", "run again what other code finished or lacks its weights; records are kept aside"),
    "--accept-code": ("accept", "take what other code finished; its records say so"),
}
Result = TypeVar("Result")


@dataclass(frozen=True)
class How:
    """How a command carries out its runs.

    Attributes:
        overrides: the launcher's, as they were written; a gate goes on with them.
        wait: with Slurm, stay until the runs have ended.
        other_sources: what is done with finished runs that other code made: refuse, rerun or accept.
        goes_on: the command that a gate goes on with; empty: the sweep's own resume.
    """

    results_dir: Path
    launcher: LauncherConfig
    overrides: tuple[str, ...] = ()
    retry_failed: bool = False
    wait: bool = False
    other_sources: str = "refuse"
    goes_on: tuple[str, ...] = ()

    @property
    def is_slurm(self) -> bool:
        return self.launcher.kind is LauncherKind.slurm


def add_launch_arguments(parser: argparse.ArgumentParser, retry: str = "--retry-failed") -> None:
    """The options that every command with runs of a sweep has."""
    parser.add_argument(retry, action="store_true", dest="retry_failed", help="start failed runs again")
    parser.add_argument(
        "--wait", action="store_true", help="with launcher=slurm, stay until the runs have ended"
    )
    add_other_sources(parser)


def add_other_sources(parser: argparse._ActionsContainer) -> None:
    """The options for finished runs that other code made."""
    other = parser.add_mutually_exclusive_group()
    for option, (chosen, words) in OTHER_SOURCES.items():
        other.add_argument(
            option, action="store_const", const=chosen, default="refuse", dest="other_sources", help=words
        )


def add_reuse_argument(parser: argparse.ArgumentParser) -> None:
    """The option of the commands that freeze a sweep file."""
    parser.add_argument(
        "--reuse-runs",
        action="store_true",
        help="keep the listed seeds although runs with them were seen; such verdicts adopt nothing",
    )


def place(sweep: str) -> tuple[str, Path]:
    """A sweep's name and its results folder, of a name or of the path of its folder, as a published one's."""
    if "/" not in sweep or not Path(sweep).is_dir():
        return sweep, paths.results_dir()
    folder = Path(sweep).resolve()
    return folder.name, folder.parent


def how(args: argparse.Namespace, results_dir: Path, plan: RunSpec) -> How:
    """From a command's arguments; the launcher is the one that ``plan`` was made with."""
    return How(
        results_dir,
        plan.launcher,
        tuple(item for item in args.overrides if set_fields.block(item) == "launcher"),
        args.retry_failed,
        args.wait,
        args.other_sources,
    )


def run_cells(sweep: Frozen, cells: Sequence[Cell], how: How, title: str) -> Submitted | None:
    """Have cells of a sweep run; a finished run is never run again, whoever asked for it.

    Where the sweep judges time, Slurm gets each seed's runs as one task, on one host.

    Returns:
        What Slurm still has to do, where it is the launcher and this process does not wait for it.
    """
    note_limits(sweep, cells, how)
    labels = {cell.plan.run_id: cell.label for cell in cells}
    is_timed = "wall_clock" in sweep.decision.axes.judged
    together = {cell.plan.run_id: f"{cell.rung} {cell.plan.seed}" for cell in cells if is_timed}
    return run_plans(
        [cell.plan for cell in cells], how, title, labels, together, watching.watch(sweep, cells)
    )


def note_limits(sweep: Frozen, cells: Sequence[Cell], how: How) -> None:
    """Keep with the sweep, and say, that runs are now started with other limits than it was frozen with."""
    if not (found := limits.changed(sweep.sweep_dir, how.launcher, cells[0].plan)):
        return

    def is_started(cell: Cell) -> bool:
        record = RunDir.of(how.results_dir, cell.plan.run_id).read_record()
        if record is None or not answer.is_answer(record.state, record.failure_class):
            return True
        return how.retry_failed and record.state is not RunState.complete

    for rung in dict.fromkeys(cell.rung for cell in cells if is_started(cell)):
        limits.note(sweep.sweep_dir, rung, found)
        print(f"{rung}: {limits.said(sweep.sweep_dir, rung)[-1]}; its verdicts say so")


def run_plans(
    plans: Sequence[Plan],
    how: How,
    title: str,
    labels: Mapping[str, str],
    together: Mapping[str, str] = MappingProxyType({}),
    watch: Watch | None = None,
) -> Submitted | None:
    """``run_cells`` for plans."""
    other_sources = OtherSources(how.other_sources)
    dtype_override()  # a slip there must not end every run as failed
    _say_of_wandb(plans, how.is_slurm)
    if not how.is_slurm:
        execute.execute(
            plans, how.launcher, results_dir=how.results_dir, title=title, labels=labels, watch=watch,
            retry_failed=how.retry_failed, other_sources=other_sources,
        )  # fmt: skip
        return None
    from sweepkit.launch.slurm import retries, wait
    from sweepkit.launch.slurm.submit import submit

    asking = functools.partial(
        submit, plans, how.launcher, results_dir=how.results_dir, title=title, together=together, watch=watch
    )
    automatic = retries.IS_JOB in os.environ
    submitted = asking(retry_failed=how.retry_failed, automatic=automatic, other_sources=other_sources)
    print(f"{title}: {submitted}")
    if not how.wait or not submitted.is_pending:
        return submitted if submitted.is_pending else None
    again = functools.partial(asking, automatic=True)
    ledger = Ledger(plans, how.results_dir, Stopper(watch, how.results_dir).pruner)
    wait.wait(ledger, again, title=title, labels=labels)
    return None


def _say_of_wandb(plans: Sequence[RunSpec], is_slurm: bool) -> None:
    """Say where runs ask for wandb online, and will fall back to offline; a node may have a way out."""
    is_asked = any(plan.config and plan.config.logging.wandb is WandbMode.online for plan in plans)
    if is_asked and not (is_slurm and wandb_log.has_key()) and (reason := wandb_log.why_offline()):
        print(f"wandb is offline: {reason}; sweepkit wandb push SWEEP (or RUN) sends what has ended")


def check_sealed(plans: Sequence[RunPlan], results_dir: Path, is_started: bool = True) -> None:
    """Raises ConfigError for a run on text that is held back for last rungs, unless it is of one.

    Args:
        is_started: the runs are asked for and not only planned; a refusal is kept.
    """

    def may_reach(plan: RunPlan) -> bool:
        run_dir = RunDir.of(results_dir, plan.run_id)
        if sealed_text.streams(plan) or not run_dir.plan_path.exists():
            return bool(sealed_text.streams(plan))
        record = asked.read(run_dir, plan.evaluation_key)
        return record is None or record.state is not RunState.complete  # else nothing is measured

    wanted = [plan for plan in plans if may_reach(plan)]
    names = frozen.frozen_names(results_dir) if wanted else []  # reading a sweep's cells takes its time
    sweeps = [frozen.load_frozen(results_dir, name).cells for name in names]
    sealed_text.check_runs(wanted, sweeps, results_dir if is_started else None)


def split_sweep(overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """The sweep that ``sweep=NAME`` names, if there is one, and the other overrides.

    Raises:
        ConfigError: two are named.
    """
    names = [item.removeprefix(_SWEEP) for item in overrides if item.startswith(_SWEEP)]
    if len(names) > 1:
        raise invalid("sweep", names, "be one sweep", "name them one after the other")
    others = [item for item in overrides if not item.startswith(_SWEEP)]
    return (names[0] if names else None), others


def named_sweep(name: str, results_dir: Path) -> SweepFile:
    """A sweep file by its name or path; what has none, as a multirun, as it was frozen."""
    head = None if name in file.available() else frozen_head.found(results_dir / name)
    if head is not None:
        return replace(head.sweep, replaced_seeds={})
    return code_levels.resolved(file.load(name), results_dir)


def load_sweep(name: str, overrides: Sequence[str], results_dir: Path) -> SweepFile:
    """A sweep file by name, its multiples and its seeds worked out.

    Raises:
        ConfigError: it builds on other rounds of a campaign.
    """
    sweep = named_sweep(name, results_dir)
    if sweep.after or sweep.moved:
        contract = f"stand alone, and builds on {', '.join(sweep.after)}"
        raise invalid("sweep", name, contract, "run its campaign: sweepkit campaign FOLDER")
    sweep = tuning.with_selected(relative.resolved(sweep, overrides), results_dir)
    if sweep.seeds:
        return sweep
    from sweepkit.promotion import expected  # heavy, and needed for auto alone

    return expected.with_seeds(sweep, overrides, results_dir)


def check_power(sweep: SweepFile, overrides: Sequence[str], results_dir: Path, is_accepted: bool) -> None:
    """Refuse a sweep that is not frozen yet and is known to have little power.

    Raises:
        ConfigError: says how many seeds it would take.
    """
    from sweepkit.analysis import calibration_file
    from sweepkit.promotion import expected

    if is_accepted or sweep.search or sweep.name in frozen.frozen_names(results_dir):
        return
    known = calibration_file.read(results_dir)
    if not known:
        return
    cells = expand.expand_all(sweep, overrides)
    rungs = expand.rungs_of(expand.ladder_of(sweep, overrides))
    found = expected.of(cells, rungs, sweep.decision, known)
    if not found.is_enough:
        needed = found.seeds_needed or f"more than {expected.MAX_SEEDS}"
        raise invalid(
            f"sweep {sweep.name}: seeds",
            found.seeds,
            f"be about {needed} on rung {found.rung} to show an effect of min_effect with 80% chance, and "
            f"has {found.shown:.0%}",
            "give it more seeds or decision.looks, raise min_effect, or accept it with --underpowered",
        )


def leave(sweep: Frozen, how: How, submitted: Submitted, command: Sequence[str]) -> int:
    """Submit the gate that goes on from here, and say how to follow it; returns the exit status."""
    from sweepkit.launch.slurm import submit

    folders = [word for folder in own_conf.given() for word in ("--config-dir", str(folder))]
    begun = [*how.goes_on] or ["resume", sweep.name, *command]
    line = [*begun, *folders, *(() if how.goes_on else how.overrides)]
    try:
        job_id = submit.submit_gate(sweep.name, line, submitted.jobs, how.launcher.slurm, how.results_dir)
    except ClusterError as error:
        print(f"no gate: {error}\nwhen the jobs have ended, run: sweepkit {shlex.join(line)}")
        return RUNS_FAILED
    waiting = f"job {job_id}" if job_id else "one is waiting already"
    print(f"gate: {waiting}; it goes on when the jobs have ended")
    print(f"follow: sweepkit status {sweep.name}; stop: sweepkit cancel {sweep.name}")
    return DONE


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
    from sweepkit.analysis import comparable, replicates
    from sweepkit.report import tables, terminal

    frame = load(frozen, results_dir)
    frame = frame[frame["run_id"].isin([cell.plan.run_id for cell in cells])]
    console = terminal.console()
    console.print(tables.summary(frame, frozen.decision.metric))
    if taken := comparable.accepted(frame):
        console.print(taken)
    others = frame[~frame["state"].isin([RunState.complete.value, RunState.diverged.value])]
    if len(others):
        console.print(tables.runs(others, frozen.decision.metric))
    console.print(tables.files(near({"sweep": frozen.sweep_dir, "runs": results_dir / "runs"})))
    if waiting := replicates.unanswered(frame):
        runs = f"{counted(len(waiting), 'run')} without an answer ({replicates.in_words(waiting)})"
        print(f"{runs}; sweepkit resume {frozen.name} runs them (again)")
    return RUNS_FAILED if (others["state"] != RunState.futile).any() else DONE
