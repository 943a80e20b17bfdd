"""What has become of a sweep's runs, when, and how long the rest may take. Imports no torch.

All of it is read from the run folders (record, claim, progress), so it holds whoever runs them and wherever.
A run that is recorded as running but whose process is gone is ``lost``: the next launch takes it over.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import SweepkitError
from sweepkit.launch.drivers import LiveDriver, live_drivers
from sweepkit.launch.ledger import Run
from sweepkit.launch.pace import Pace, seconds_since, seconds_spent
from sweepkit.launch.slurm import cluster, submissions
from sweepkit.launch.slurm.cluster import QueuedTask
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.launch.slurm.submissions import Place, Submission
from sweepkit.plan import epochs
from sweepkit.plan.run_plan import RunPlan
from sweepkit.plan.run_spec import RunSpec
from sweepkit.results.columns import DELETED, LOST, PLANNED
from sweepkit.results.progress import Progress
from sweepkit.results.pruned import Pruner
from sweepkit.results.record import FINAL_STATES, STOPPED, RunDir, RunState
from sweepkit.sweep import frozen, seen, trials
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.frozen import Frozen

QUEUED = "queued"  # waits in Slurm's queue
#: In the order in which they are shown.
STATES = (
    *(RunState.running.value, LOST, QUEUED, RunState.preempted.value, PLANNED, DELETED),
    *(RunState.trained.value, RunState.complete.value),
    *(RunState.pruned.value, RunState.futile.value),
    *(RunState.diverged.value, RunState.failed.value, RunState.cancelled.value),
)
_ENDED = frozenset(state.value for state in (*FINAL_STATES, *STOPPED))
ALL = "all"
#: Of ``resume``: to go on up the ladder.
CLIMB = "--climb"
#: What ``status`` calls the runs that no sweep in the folder asked for.
NO_SWEEP = "(no sweep)"


@dataclass(frozen=True)
class RunStatus:
    """One run of a sweep. None: not known, or not the case."""

    run_id: str
    variant: str
    rung: str
    seed: int
    state: str
    phase: str | None  # of a running one: starting, preparing data, compiling, training, evaluating
    step: int
    num_steps: int | None
    age_s: float | None  # since it ended, was claimed (running), or was last heard of (lost)
    eta_s: float | None
    tokens_per_s: float | None
    loss: float | None
    holder: str | None  # the living process that works on it
    message: str | None
    failure_class: str | None = None
    log_path: str | None = None  # of a run that failed
    job: str | None = None  # Slurm's, as squeue writes it
    waits_for: str | None = None  # why Slurm has not started it
    epochs: float | None = None  # of the whole run


@dataclass(frozen=True)
class SweepStatus:
    """A sweep: its runs, each once, and the launches that work on it."""

    name: str
    counts: dict[str, int]
    eta_s: float | None  # until the living launches have done what they were asked for
    drivers: list[str]
    device_hours_spent: float = 0.0  # as runs measured them; without queueing and lost work
    device_hours_to_come: float | None = None  # for runs that were asked for; None: nothing to judge by
    notes: list[str] = field(default_factory=list)  # what could not be known
    go_on: str | None = None  # what to run, where Slurm was asked and no gate waits
    runs: list[RunStatus] = field(default_factory=list)


def status(results_dir: Path, sweep: str = ALL) -> list[SweepStatus]:
    """The sweep of that name, or every sweep of the folder and the runs that belong to none.

    Raises:
        SweepkitError: there is no such sweep, or its frozen plan was edited; where all are asked for, it is
            a note instead.
    """
    asked = _Asked.look(results_dir)
    if sweep != ALL:
        return [_frozen(frozen.load_frozen(results_dir, sweep), results_dir, asked)]
    known: set[str] = set()
    statuses = []
    for name in frozen.frozen_names(results_dir):
        try:
            item = frozen.load_frozen(results_dir, name)
        except SweepkitError as error:  # the others are no worse for it
            statuses.append(SweepStatus(name, {}, None, [], notes=[str(error)]))
            continue
        known |= {cell.plan.run_id for cell in item.cells}
        statuses.append(_frozen(item, results_dir, asked))
    others, unreadable = _cells_outside(results_dir, known)
    if others or unreadable:
        found = _sweep(NO_SWEEP, others, results_dir, asked)
        if unreadable:
            found.notes.append(f"left out, for this version cannot read plan.json: {', '.join(unreadable)}")
        statuses.append(found)
    return statuses


@dataclass(frozen=True)
class _Asked:
    """Who was asked for runs: living launches, and Slurm."""

    drivers: list[LiveDriver]
    queued: dict[str, Place]  # run id → its task in the queue
    notes: list[str]
    submitted: list[Submission] = field(default_factory=list)
    queue: list[QueuedTask] = field(default_factory=list)

    @classmethod
    def look(cls, results_dir: Path) -> _Asked:
        drivers = live_drivers(results_dir)
        try:
            submitted = submissions.read_all(results_dir)
            queue = cluster.queue([item.name for item in submitted])
        except ClusterError as error:
            return cls(drivers, {}, [f"Slurm's queue is not known: {error}"])
        placed = submissions.places(submitted, queue)
        queued = {
            run_id: item for run_id, places in placed.items() for item in places if item.queued is not None
        }
        notes = []
        if placed and not cluster.has_accounting():
            notes.append("no accounting (sacct): how jobs ended is known for some minutes only")
        return cls(drivers, queued, notes, submitted, queue)


def _frozen(sweep: Frozen, results_dir: Path, asked: _Asked) -> SweepStatus:
    found = _sweep(sweep.name, sweep.cells, results_dir, asked, Pruner.of(sweep))
    if sweep.search:
        said = trials.said(sweep.sweep_dir, sweep.search.n_trials, sweep.num_reopened)
        found.notes.extend([f"search ({sweep.search.sampler}): {said}", *map(str, sweep.more_trials)])
    return found


def _cells_outside(results_dir: Path, known: Collection[str]) -> tuple[list[Cell], list[str]]:
    """The runs of no sweep, and the names of those whose plan cannot be read."""
    cells, unreadable = [], []
    for run_id in sorted(set(fsio.folders(results_dir / "runs")) - set(known)):
        run_dir = RunDir.of(results_dir, run_id)
        if run_dir.plan_path.exists():
            try:
                cells.append(Cell("-", "", "variant", "-", run_dir.read_plan()))
            except (ValueError, KeyError, TypeError):
                unreadable.append(run_id)
    return cells, unreadable


def _sweep(
    name: str, cells: Sequence[Cell], results_dir: Path, asked: _Asked, pruner: Pruner | None = None
) -> SweepStatus:
    first = {cell.plan.run_id: cell for cell in reversed(cells)}
    runs = {}
    for cell in cells:
        run = Run(cell.plan, RunDir.of(results_dir, cell.plan.run_id), pruner=pruner)
        run.refresh()
        runs[run.run_id] = run
    pace = Pace(list(runs.values()))
    now = time.time()
    rows = [_run(runs[run_id], first[run_id], pace, now, asked.queued.get(run_id)) for run_id in runs]
    judged = seen.judged_runs(results_dir / name)
    rows = [
        replace(row, state=DELETED) if row.state == PLANNED and row.run_id in judged else row for row in rows
    ]
    mine = [driver for driver in asked.drivers if driver.run_ids & runs.keys()]
    wanted = asked.queued.keys() | {run_id for driver in mine for run_id in driver.run_ids}
    left = _seconds_left(rows, {run_id: run.plan for run_id, run in runs.items()}, pace, wanted)
    counts = Counter(row.state for row in rows)
    return SweepStatus(
        name=name,
        counts={state: counts[state] for state in STATES if counts[state]},
        eta_s=_eta(rows, left),
        drivers=[f"{driver.info.process.host} pid {driver.info.process.pid}" for driver in mine],
        device_hours_spent=sum(seconds_spent(run) for run in runs.values()) / 3600,
        device_hours_to_come=None if left is None else sum(left) / 3600,
        notes=list(asked.notes),
        go_on=None if mine else _unattended(name, asked.submitted, asked.queue),
        runs=rows,
    )


def _unattended(name: str, submitted: Sequence[Submission], queue: Sequence[QueuedTask]) -> str | None:
    """The command that goes on with sweep ``name``; None where a gate waits, or Slurm has no part in it.

    Args:
        submitted: everything, oldest first.
        queue: the jobs that have not ended.
    """
    gates = [item for item in submitted if item.is_gate and item.title == name]
    rungs = [item for item in submitted if not item.is_gate and item.title.startswith(f"{name} ")]
    mine = [item for item in submitted if item.title == name or item in rungs]
    live = {task.name for task in queue}
    if not mine or any(item.name in live for item in gates):
        return None
    line = gates[-1].command if gates else ["resume", name, *([CLIMB] if rungs else [])]
    return f"sweepkit {shlex.join(line)}"


def _run(run: Run, cell: Cell, pace: Pace, now: float, place: Place | None) -> RunStatus:
    progress = run.progress() if run.record is not None else Progress()
    step = progress.step
    if step is None:
        step = run.record.step if run.record is not None else 0
    holder = phase = None
    if run.is_held and run.holder is not None:
        holder = f"{run.holder.info.process.host} pid {run.holder.info.process.pid}"
        phase = progress.phase
    record, queued = run.record, place.queued if place is not None else None
    eta = progress.eta_s
    if eta is None and run.is_held:
        eta = pace.seconds_left(run.plan, step)
    return RunStatus(
        run_id=run.run_id,
        variant=cell.variant,
        rung=cell.rung,
        seed=run.plan.seed,
        state=QUEUED if place is not None and not (run.is_final or run.is_held) else run.state,
        phase=phase,
        step=step,
        num_steps=run.plan.num_steps or progress.num_steps or (record.num_steps if record else None),
        age_s=_age(run, now),
        eta_s=eta,
        tokens_per_s=progress.tokens_per_s,
        loss=progress.loss,
        holder=holder,
        message=record.failure_message if record is not None else None,
        failure_class=record.failure_class.value if record is not None and record.failure_class else None,
        log_path=_log_of_failure(run),
        job=queued.full_id if queued is not None else None,
        waits_for=queued.reason if queued is not None else None,
        epochs=_epochs(run),
    )


def _epochs(run: Run) -> float | None:
    """As planned; None where the text is not known, or not here any more."""
    with contextlib.suppress(SweepkitError):
        found = epochs.of(run.plan) if isinstance(run.plan, RunPlan) else None
        return None if found is None else found.number
    return None


def _log_of_failure(run: Run) -> str | None:
    """None where there was none: what was cancelled before it began has written nothing."""
    has_failed = run.record is not None and run.record.failure_class is not None
    return str(run.run_dir.log_path) if has_failed and run.run_dir.log_path.exists() else None


def _age(run: Run, now: float) -> float | None:
    if run.is_held and run.holder is not None:
        return seconds_since(run.holder.info.claimed_at, now)
    if run.record is None:
        return None
    if run.state == LOST and run.holder is not None:
        return max(0.0, now - run.holder.heartbeat_at)
    return seconds_since(run.record.ended_at or run.record.started_at, now)


def _seconds_left(
    rows: Sequence[RunStatus], plans: Mapping[str, RunSpec], pace: Pace, wanted: Collection[str]
) -> list[float] | None:
    """Of every run that somebody was asked for and that has not ended; None where one cannot be told."""
    left: list[float] = []
    for row in rows:
        if row.run_id in wanted and row.state not in _ENDED:
            seconds = row.eta_s if row.eta_s is not None else pace.seconds_left(plans[row.run_id], row.step)
            if seconds is None:
                return None
            left.append(seconds)
    return left


def _eta(rows: Sequence[RunStatus], left: Sequence[float] | None) -> float | None:
    """Until all of it is done, if as many runs stay side by side as are now."""
    if not left:
        return None
    num_live = sum(row.holder is not None for row in rows)
    return max(sum(left) / max(1, num_live), *(row.eta_s or 0.0 for row in rows), 0.0)
