"""What has become of a sweep's runs, when, and how long the rest may take. Imports no torch.

All of it is read from the run folders (record, claim, progress), so it holds whoever runs them and wherever.
A run that is recorded as running but whose process is gone is ``lost``: the next launch takes it over.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from sweepkit.launch.drivers import LiveDriver, live_drivers
from sweepkit.launch.ledger import LOST, PLANNED, Run
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep import frozen
from sweepkit.sweep.expand import Cell

#: In the order in which they are shown.
STATES = (
    *(RunState.running.value, LOST, RunState.preempted.value, PLANNED, RunState.complete.value),
    *(RunState.diverged.value, RunState.failed.value, RunState.cancelled.value),
)
ALL = "all"
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
    phase: str | None  # of a running one: starting, compiling, training, evaluating
    step: int
    num_steps: int
    age_s: float | None  # since it ended, was claimed (running), or was last heard of (lost)
    eta_s: float | None
    tokens_per_s: float | None
    loss: float | None
    holder: str | None  # the living process that works on it
    message: str | None


@dataclass(frozen=True)
class SweepStatus:
    """A sweep: its runs, each once, and the launches that work on it."""

    name: str
    counts: dict[str, int]
    eta_s: float | None  # until the living launches have done what they were asked for
    drivers: list[str]
    runs: list[RunStatus] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def status(results_dir: Path, sweep: str = ALL) -> list[SweepStatus]:
    """The sweep of that name, or every sweep of the folder and the runs that belong to none.

    Raises:
        SweepkitError: there is no such sweep, or its frozen plan was edited.
    """
    drivers = live_drivers(results_dir)
    if sweep != ALL:
        return [_sweep(sweep, frozen.load_frozen(results_dir, sweep).cells, results_dir, drivers)]
    names = frozen.frozen_names(results_dir)
    sweeps = {name: frozen.load_frozen(results_dir, name).cells for name in names}
    known = {cell.plan.run_id for cells in sweeps.values() for cell in cells}
    statuses = [_sweep(name, cells, results_dir, drivers) for name, cells in sweeps.items()]
    others = _cells_outside(results_dir, known)
    return [*statuses, _sweep(NO_SWEEP, others, results_dir, drivers)] if others else statuses


def _cells_outside(results_dir: Path, known: Iterable[str]) -> list[Cell]:
    skip = set(known)
    folder = results_dir / "runs"
    cells = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in skip and (path / "plan.json").exists():
            cells.append(Cell("-", "", "variant", "-", RunDir(path).read_plan()))
    return cells


def _sweep(name: str, cells: Sequence[Cell], results_dir: Path, drivers: Sequence[LiveDriver]) -> SweepStatus:
    first = {cell.plan.run_id: cell for cell in reversed(cells)}
    runs = {}
    for cell in cells:
        runs[cell.plan.run_id] = run = Run(cell.plan, RunDir.of(results_dir, cell.plan.run_id))
        run.refresh()
    pace = _Pace(list(runs.values()))
    now = time.time()
    rows = [_run(runs[run_id], first[run_id], pace, now) for run_id in runs]
    mine = [driver for driver in drivers if driver.run_ids & runs.keys()]
    counts = Counter(row.state for row in rows)
    return SweepStatus(
        name=name,
        counts={state: counts[state] for state in STATES if counts[state]},
        eta_s=_eta(rows, {run_id: run.plan for run_id, run in runs.items()}, pace, mine),
        drivers=[f"{driver.info.process.host} pid {driver.info.process.pid}" for driver in mine],
        runs=rows,
    )


def _run(run: Run, cell: Cell, pace: _Pace, now: float) -> RunStatus:
    progress = run.progress() if run.is_held and run.record is not None else {}
    step = progress.get("step")
    if step is None:
        step = run.record.step if run.record is not None else 0
    holder = phase = None
    if run.is_held and run.holder is not None:
        holder = f"{run.holder.info.process.host} pid {run.holder.info.process.pid}"
        phase = str(progress.get("phase") or "starting")
    eta = progress.get("eta_s")
    if eta is None and run.is_held:
        eta = pace.seconds_left(run.plan, step)
    return RunStatus(
        run_id=run.run_id,
        variant=cell.variant,
        rung=cell.rung,
        seed=run.plan.seed,
        state=run.state,
        phase=phase,
        step=int(step),
        num_steps=run.plan.num_steps,
        age_s=_age(run, now),
        eta_s=eta,
        tokens_per_s=progress.get("tokens_per_s"),
        loss=progress.get("loss"),
        holder=holder,
        message=run.record.failure_message if run.record is not None else None,
    )


def _age(run: Run, now: float) -> float | None:
    if run.is_held and run.holder is not None:
        return _since(run.holder.info.claimed_at, now)
    if run.record is None:
        return None
    if run.state == LOST and run.holder is not None:
        return max(0.0, now - run.holder.heartbeat_at)
    return _since(run.record.ended_at or run.record.started_at, now)


def _since(moment: str | None, now: float) -> float | None:
    try:
        return max(0.0, now - datetime.fromisoformat(moment).timestamp()) if moment else None
    except ValueError:
        return None


class _Pace:
    """How long runs take: the median time per FLOP of those done in one go, else of those going on."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._all: list[float] = []
        self._of_depth: dict[int, list[float]] = {}
        known = [(run, seconds) for run in runs if (seconds := _seconds_taken(run))]
        known = known or [(run, seconds) for run in runs if (seconds := _seconds_expected(run))]
        for run, seconds in known:
            self._all.append(seconds / run.plan.total_flops)
            self._of_depth.setdefault(run.plan.depth, []).append(seconds / run.plan.total_flops)

    def seconds_left(self, plan: RunPlan, step: int) -> float | None:
        """For a run at ``step``; None while no run is done to judge by."""
        known = self._of_depth.get(plan.depth) or self._all
        if not known:
            return None
        return median(known) * plan.total_flops * (1 - min(1.0, step / max(1, plan.num_steps)))


def _seconds_taken(run: Run) -> float | None:
    record = run.record
    if record is None or record.state is not RunState.complete or record.attempt != 1:
        return None
    return _since(record.started_at, _moment(record.ended_at))


def _seconds_expected(run: Run) -> float | None:
    """Of a run going on, by its own estimate, from its first step to its last."""
    progress = run.progress() if run.is_held else {}
    eta, left = progress.get("eta_s"), run.plan.num_steps - (progress.get("step") or 0)
    return eta / left * run.plan.num_steps if eta and left > 0 else None


def _moment(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _eta(
    rows: Sequence[RunStatus], plans: Mapping[str, RunPlan], pace: _Pace, drivers: Sequence[LiveDriver]
) -> float | None:
    asked = {run_id for driver in drivers for run_id in driver.run_ids}
    final = {
        state.value for state in (RunState.complete, RunState.diverged, RunState.failed, RunState.cancelled)
    }
    left: list[float] = []
    for row in rows:
        if row.run_id in asked and row.state not in final:
            seconds = row.eta_s if row.eta_s is not None else pace.seconds_left(plans[row.run_id], row.step)
            if seconds is None:
                return None
            left.append(seconds)
    if not left:
        return None
    num_live = sum(row.holder is not None for row in rows)
    return max(sum(left) / max(1, num_live), *(row.eta_s or 0.0 for row in rows), 0.0)
