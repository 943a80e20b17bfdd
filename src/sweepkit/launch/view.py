"""What a launch looks like at one moment, for whoever shows it: counts, live runs, time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweepkit.launch import pace
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.launch.pace import Pace
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results.duration import duration
from sweepkit.results.progress import Progress
from sweepkit.results.record import RunState

_MAX_LINE = 160  # characters
_MIN_WORK_FRAC = 0.01  # no estimate before that much of the work is done


@dataclass(frozen=True)
class LiveRun:
    """A run that a living process holds. None: not said yet."""

    run_id: str
    label: str
    phase: str
    step: int
    num_steps: int | None
    tokens_per_s: float | None
    loss: float | None
    eta_s: float | None
    elsewhere: str | None  # the process of another launch that holds it


@dataclass(frozen=True)
class View:
    total: int
    done: int
    skipped: int  # done before this launch
    counts: dict[str, int]
    live: list[LiveRun]
    finished: list[Run]  # since the last view
    work_frac: float  # of this launch's FLOPs
    elapsed_s: float
    eta_s: float | None


@dataclass
class Viewer:
    """Makes views of a ledger and remembers what it has shown."""

    ledger: Ledger
    driver: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        runs = self.ledger.runs.values()
        self._before = {run.run_id for run in runs if run.is_final}
        self._shown = set(self._before)
        self.skipped = len(self._shown)
        self._work_before: float | None = None

    def look(self) -> View:
        """The launch as the ledger last saw it."""
        runs = list(self.ledger.runs.values())
        finished = [run for run in runs if run.is_final and run.run_id not in self._shown]
        self._shown.update(run.run_id for run in finished)
        held = {run.run_id: run.progress() for run in self.ledger.held()}
        # runs to come are taken to be like those there are
        left = self.ledger.to_come * sum(pace.work(run.plan) for run in runs) / max(1, len(runs))
        work = left + sum(pace.work(run.plan) for run in runs if run.run_id not in self._before)
        for run in runs:
            if not run.is_final:
                left += pace.work(run.plan) * (1 - _frac(run, held))
        work_frac = 1 - left / work if work else 1.0
        if self._work_before is None:
            self._work_before = work_frac  # checkpoints of an earlier launch took it this far
        elapsed = time.monotonic() - self._started
        gained = work_frac - self._work_before
        eta = self._measured_eta(runs, held)
        if eta is None and gained > _MIN_WORK_FRAC:
            eta = elapsed / gained * (1 - work_frac)
        if eta is not None:  # a run that evaluates has no work left, but some time
            eta = max(eta, *(progress.eta_s or 0.0 for progress in held.values()), 0.0)
        return View(
            total=len(runs) + self.ledger.runs_to_come,
            done=len(self._shown),
            skipped=self.skipped,
            counts=self.ledger.counts(),
            live=[self._live(self.ledger.runs[run_id], progress) for run_id, progress in held.items()],
            finished=finished,
            work_frac=work_frac,
            elapsed_s=elapsed,
            eta_s=eta,
        )

    def _measured_eta(self, runs: Sequence[Run], held: Mapping[str, Progress]) -> float | None:
        """Seconds by what runs that are done have taken, for those to come and the rest of those at work."""
        pace = Pace(runs)
        if not pace.is_known:
            return None
        open_runs = [run for run in runs if not run.is_final]
        left = sum(pace.seconds_left(run.plan, _step(run, held)) or 0.0 for run in open_runs)
        whole = sum(pace.seconds_left(run.plan, 0) or 0.0 for run in runs) / max(1, len(runs))
        compiling = pace.compile_seconds(run.plan for run in open_runs if not _step(run, held))
        return (left + self.ledger.to_come * whole + compiling) / max(1, len(held))

    def label(self, run: Run) -> str:
        """What to call a run: its variant and seed, where the launch knows them, else its id."""
        return self.labels.get(run.run_id, run.run_id)

    def _live(self, run: Run, progress: Progress) -> LiveRun:
        elsewhere = None
        if run.holder is not None and run.holder.info.driver != self.driver:
            elsewhere = f"{run.holder.info.process.host} pid {run.holder.info.process.pid}"
        return LiveRun(
            run_id=run.run_id,
            label=self.label(run),
            phase=progress.phase,
            step=progress.step or 0,
            num_steps=run.plan.num_steps or progress.num_steps,
            tokens_per_s=progress.tokens_per_s,
            loss=progress.loss,
            eta_s=progress.eta_s,
            elsewhere=elsewhere,
        )


def _step(run: Run, held: Mapping[str, Progress]) -> int:
    step = held.get(run.run_id, Progress()).step
    return run.record.step if step is None and run.record is not None else step or 0


def _frac(run: Run, held: Mapping[str, Progress]) -> float:
    """How much of a run that is not done is done."""
    num_steps = run.plan.num_steps or held.get(run.run_id, Progress()).num_steps
    return pace.frac_done(num_steps, _step(run, held))


def outcome(run: Run) -> str:
    """How a run ended, in a few words."""
    record = run.record
    if record is None:
        return run.state
    words = [record.state.value]
    if record.state is RunState.complete:
        name = run.plan.program.metric.name if isinstance(run.plan, CommandPlan) else "val_bpb"
        value, is_timed = record.results.get(name), record.results.get("train_time_s") is not None
        words += [f"{name} {value:.4f}"] if value is not None else []
        words += [duration(pace.seconds_spent(run))] if is_timed else []  # compiling and evaluating too
    elif record.failure_message:
        line = record.failure_message.splitlines()[0]
        words.append(line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…")
    return ", ".join(words)
