"""``execute``: have a list of plans run, each once, and say what became of them.

A run is named by its content, so a list may hold runs that are done, runs somebody else is doing and
runs that were cut short; only what is missing is started. All state is in the run folders: a launch that
is killed at any moment is resumed by launching the same list again. Data is prepared first, so that a
missing folder is reported before anything expensive starts; where only some runs lack theirs, those fail and
do not hold up the others. With everything done already this returns
at once, without importing torch.

A run that was cancelled, or that failed by what was around it (``reopen.py``), is started again by the next
launch; one that failed otherwise only with ``retry_failed``.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit import exit_status
from sweepkit.code import tree
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig, RunConfig
from sweepkit.errors import ConfigError, DataError, SweepkitError, invalid
from sweepkit.launch import budget, inline, job, machine, worker
from sweepkit.launch.display import display
from sweepkit.launch.drivers import DriverDir, driver_dir
from sweepkit.launch.hopeless import Stopper, Watch
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.launch.local import WORKER_COMMAND, Pool
from sweepkit.launch.other_sources import OtherSources, settle
from sweepkit.launch.reopen import reopen
from sweepkit.launch.stopping import Stopping, on_signals
from sweepkit.launch.view import Viewer
from sweepkit.launch.worker import SessionFactory, Work
from sweepkit.plan import command_files, epochs, text, world
from sweepkit.plan.command_plan import CommandPlan, Plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.results.record import FailureClass, RunState

Prepare = Callable[[RunConfig], object]
#: Plans that cannot be started, and why.
Problems = Sequence[tuple[Sequence[Plan], SweepkitError]]


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result to use."""

    run_id: str
    failure_class: FailureClass | None
    message: str
    log_path: Path


@dataclass(frozen=True)
class LaunchSummary:
    """What became of the runs of a launch; ``skipped`` were done before it."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0


class LaunchCancelledError(SweepkitError):
    """Some runs were cancelled while they were launched; the others are done."""

    def __init__(self, message: str, summary: LaunchSummary) -> None:
        super().__init__(message)
        self.summary = summary


def execute(
    plans: Sequence[Plan],
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    title: str = "",
    labels: Mapping[str, str] | None = None,
    retry_failed: bool = False,
    session_factory: SessionFactory | None = None,
    worker_command: Sequence[str] = WORKER_COMMAND,
    prepare: Prepare | None = None,
    unattended: bool = False,
    other_sources: OtherSources = OtherSources.refuse,
    watch: Watch | None = None,
) -> LaunchSummary:
    """Run every plan that has no final record yet.

    Args:
        plans: the runs wanted; equal run_ids count once.
        launcher: how they are carried out.
        results_dir: holds ``runs/``.
        title: shown with the progress.
        labels: run_id -> what to call the run in the progress, instead of its id.
        retry_failed: start failed runs again too.
        session_factory: makes the Session of the inline launcher; by default ``worker.real_session``.
        worker_command: starts a worker of the local launcher.
        prepare: builds the data of a configuration; by default ``data.prepare.prepare``.
        unattended: nobody is there to correct anything: runs that have ended stay so.
        other_sources: what is done with finished runs that other code made.
        watch: which of them a sweep may stop for futility.

    Returns:
        Counts by state and failures of all runs of the list.

    Raises:
        KeyboardInterrupt: stopped by a signal, after checkpoints.
        LaunchCancelledError: runs were cancelled meanwhile.
        SweepkitError: the data of no run can be prepared, workers cannot start, or other code has finished
            runs.
    """
    results_dir = results_dir.absolute()
    stopper = Stopper(watch, results_dir)
    return look_after(
        lambda: Ledger(plans, results_dir, stopper.pruner),
        launcher,
        work=functools.partial(worker.work, pruning=stopper.pruning),
        watch=watch,
        title=title,
        labels=labels,
        retry_failed=retry_failed,
        session_factory=session_factory,
        worker_command=worker_command,
        prepare=prepare,
        unattended=unattended,
        other_sources=other_sources,
    )


def look_after(
    make_ledger: Callable[[], Ledger],
    launcher: LauncherConfig,
    *,
    title: str = "",
    labels: Mapping[str, str] | None = None,
    retry_failed: bool = False,
    work: Work = worker.work,
    session_factory: SessionFactory | None = None,
    worker_command: Sequence[str] = WORKER_COMMAND,
    prepare: Prepare | None = None,
    unattended: bool = False,
    other_sources: OtherSources = OtherSources.refuse,
    watch: Watch | None = None,
) -> LaunchSummary:
    """``execute`` for runs that a ledger knows, which may be more by and by.

    Args:
        make_ledger: a fresh view of the runs; asked for more than once.
        work: how the inline launcher takes runs from it.

    Returns, raises: as ``execute`` does.
    """
    started = time.monotonic()
    is_inline = launcher.kind is LauncherKind.inline and not _are_of_trees(make_ledger())
    with on_signals(interrupt_on_second=is_inline, status=exit_status.INTERRUPTED) as stop:
        with stop.at_once():
            ledger = make_ledger() if unattended else _reopened(make_ledger, retry_failed, other_sources)
            skipped = len(ledger.runs) - len(ledger.open())
            if not (ledger.open() or ledger.to_come):
                return _summary(ledger, skipped, started)
            problems = _checked(ledger, launcher, prepare or _real_prepare, unattended)
        num_ranks = world.num_ranks(launcher)
        plans = [run.plan for run in ledger.runs.values()]
        gpus = [] if is_inline else machine.gpus(plans[0].device)
        is_one = launcher.kind is LauncherKind.inline
        size = 1 if is_one else machine.num_workers(launcher, plans, gpus, ledger.to_come)
        concurrency = machine.side_by_side(size)
        make_session = session_factory or (lambda: worker.real_session(plans, num_ranks, concurrency))
        with driver_dir(
            ledger.results_dir, plans, launcher.max_attempts, num_ranks, concurrency, watch
        ) as folder:
            shown = make_ledger() if is_inline else ledger  # looked at from another thread
            screen = _Screen(shown, folder, title, labels or {}, stop, is_inline)
            for broken, error in problems:
                for plan in broken:
                    job.refuse(plan, ledger.results_dir, error)
                screen.note(f"{len(broken)} of {len(ledger.runs)} runs are not started: {error}")
            try:
                if is_inline:
                    inline.run(
                        ledger,
                        make_session,
                        stop,
                        screen.show,
                        driver=folder.driver,
                        max_attempts=launcher.max_attempts,
                        work=work,
                    )
                else:
                    pool = Pool(ledger, folder, size, gpus, screen.note, worker_command, num_ranks)
                    pool.run(stop, screen.show)
                screen.show()
            finally:
                screen.close()
            ledger.refresh(everything=True)
            summary = _summary(ledger, skipped, started)
            folder.trouble = folder.trouble or bool(summary.failures)
            if stop() and (ledger.open() or ledger.to_come):
                raise KeyboardInterrupt(stop.reason)
    if cancelled := summary.counts.get(RunState.cancelled.value):
        raise LaunchCancelledError(f"cancelled: {counted(cancelled, 'run')}; launch again to go on", summary)
    return summary


class _Screen:
    """What the user sees of a launch."""

    def __init__(
        self,
        ledger: Ledger,
        folder: DriverDir,
        title: str,
        labels: Mapping[str, str],
        stop: Stopping,
        is_inline: bool,
    ) -> None:
        self._ledger, self._stop, self._is_inline = ledger, stop, is_inline
        self._screen = display(title)
        self._viewer = Viewer(ledger, folder.driver, labels)
        self.note, self.close = self._screen.note, self._screen.close
        self._said = False
        if self._viewer.skipped:
            self.note(f"{self._viewer.skipped} of {len(ledger.runs)} runs are done already")

    def show(self) -> None:
        """Bring the display up to date."""
        if self._is_inline:
            self._ledger.refresh()
            if self._stop() and not self._said:
                self._said = True
                self.note("stopping after the step at hand, or in a few seconds (again to stop at once)")
        self._screen.show(self._viewer.look(), self._viewer)


def _summary(ledger: Ledger, skipped: int, started: float) -> LaunchSummary:
    failures = [
        Failure(
            run.run_id,
            run.record.failure_class,
            run.record.failure_message or "",
            run.run_dir.log_path,
        )
        for run in ledger.runs.values()
        if run.record is not None and run.record.state in (RunState.failed, RunState.diverged)
    ]
    return LaunchSummary(ledger.counts(), failures, skipped, time.monotonic() - started)


def _reopened(make_ledger: Callable[[], Ledger], retry_failed: bool, other_sources: OtherSources) -> Ledger:
    """All runs, with those among them that are to be run again."""
    ledger = make_ledger()
    is_reopened = bool(reopen(ledger, retry_failed))
    is_settled = settle(ledger.runs.values(), other_sources)
    return make_ledger() if is_reopened or is_settled else ledger


def _checked(ledger: Ledger, launcher: LauncherConfig, prepare: Prepare, unattended: bool) -> Problems:
    """Refuse what cannot be run here or takes too much; gives the runs whose data is not to be had."""
    _check_ranks(ledger, launcher, unattended)
    known = list(ledger.runs.values())
    estimate = budget.of(ledger.open(), known, launcher, ledger.results_dir, ledger.runs_to_come)
    print(f"estimate: {estimate}", file=sys.stderr)
    budget.refuse(estimate, launcher)
    problems = list(_data_problems(ledger.open(), prepare))
    is_all = sum(len(lost) for lost, _ in problems) == len(ledger.open())
    if problems and is_all and not unattended:
        raise problems[0][1]  # nothing is left to go on with
    return problems


def _are_of_trees(ledger: Ledger) -> bool:
    """Whether a run is of frozen code that this process is not of, and needs one that is."""
    return any(run.plan.tree not in (None, tree.here()) for run in ledger.runs.values())


def _check_ranks(ledger: Ledger, launcher: LauncherConfig, unattended: bool) -> None:
    """Raises ConfigError where runs cannot be shared among their ranks, while somebody can correct it."""
    if world.is_started() and _are_of_trees(ledger):
        raise invalid(
            "code", "frozen", "be left out for ranks that are started already (WORLD_SIZE)",
            "start sweepkit alone with launcher.processes_per_run, or with launcher=slurm",
        )  # fmt: skip
    if world.is_started() and launcher.kind is not LauncherKind.inline:
        raise invalid(
            "launcher", launcher.kind.name, "be inline for ranks that are started already (WORLD_SIZE)",
            "leave it out, or start sweepkit alone with launcher.processes_per_run",
        )  # fmt: skip
    for run in () if unattended else ledger.open():
        if isinstance(run.plan, RunPlan):
            world.check(run.plan, world.num_ranks(launcher))


def _data_problems(runs: Sequence[Run], prepare: Prepare) -> Iterator[tuple[list[Plan], SweepkitError]]:
    """Call ``prepare`` once per distinct recipe; gives the plans of each recipe that cannot be prepared, and
    those that would see their text too often: how much there is of it is known then. Of commands, those whose
    files are not those that they were planned with.
    """
    to_train = {run.run_id for run in runs if run.state != RunState.trained}
    programs: dict[tuple[str, ...], list[CommandPlan]] = {}
    recipes: dict[str, list[RunPlan]] = {}
    for plan in (run.plan for run in runs):
        if isinstance(plan, CommandPlan):
            programs.setdefault((plan.program.folder, *plan.program.named.values()), []).append(plan)
        else:
            recipes.setdefault(f"{text.recipe(plan)} {plan.tree}", []).append(plan)
    for same in programs.values():
        try:
            command_files.check(same[0].program)
        except (ConfigError, DataError) as error:
            yield [*same], error
    for alike in recipes.values():
        try:
            if alike[0].texts:
                text.check(alike[0])
            if alike[0].tree in (None, tree.here()):  # else its own code prepares it
                prepare(alike[0].config)
        except (ConfigError, DataError) as error:
            yield [*alike], error
            continue
        for planned in alike:
            try:
                if planned.run_id in to_train:
                    epochs.check(planned)
            except ConfigError as error:
                yield [planned], error


def _real_prepare(config: RunConfig) -> object:
    from sweepkit.data.prepare import prepare

    return prepare(config).packing(config.horizon.sequence_len)
