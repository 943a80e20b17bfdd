"""A trainer whose loss is a formula, searches for it, and what they left behind."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.sweep import frozen
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

LR, BETA = "optimizer.matrix.lr", "optimizer.x0.beta1"
BASE = ["experiment=mini", "model=d2", "horizon.num_steps=20", "horizon.total_batch_size=8192"]


def loss_of(plan: RunPlan) -> float:
    """What the fake trainer ends with: a bowl over both parameters, best at lr 0.03 and beta1 0.9."""
    optimizer = plan.config.optimizer
    lr, beta = optimizer.matrix.lr, optimizer.x0.beta1
    return 1.0 + math.log(lr / 0.03) ** 2 + (beta - 0.9) ** 2 + 1e-3 * plan.seed


class FormulaSession:
    """Ends every run with ``loss_of``, after ``num_steps`` steps of ``step_s`` seconds.

    Args:
        diverges, memory: of a plan.

    ``results_dir/ran.jsonl`` gets a line at every start and end, so that a test sees whether two processes
    ever had one run.
    """

    def __init__(
        self,
        step_s: float = 0.0,
        diverges: Callable[[RunPlan], bool] = lambda plan: False,
        memory: Callable[[RunPlan], float | None] = lambda plan: None,
        num_steps: int | None = None,
    ) -> None:
        self.step_s, self.diverges, self.memory, self.num_steps = step_s, diverges, memory, num_steps

    def run(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        ran = run_dir.path.parents[1] / "ran.jsonl"
        said = {"run_id": plan.run_id, "pid": os.getpid()}
        fsio.append_line(ran, {"event": "start"} | said)
        record = RunRecord(
            plan.run_id, plan.variant_id, plan.seed, RunState.running, attempt=attempt,
            started_at="2026-01-01T00:00:00+00:00", num_steps=plan.num_steps,
            evaluation_key=plan.evaluation_key,
        )  # fmt: skip
        _write(run_dir.record_path, typed.dump(record))
        checkpoint = run_dir.path / "step"
        step = int(checkpoint.read_text()) if checkpoint.exists() else 0
        end = loss_of(plan)
        while step < plan.num_steps and not should_stop():
            step += 1
            loss = end + 3.0 * (1 - step / plan.num_steps)
            fsio.append_line(run_dir.metrics_path, {"step": step, "attempt": attempt, "loss": loss})
            if self.step_s:
                time.sleep(self.step_s)
                checkpoint.with_suffix(".tmp").write_text(str(step))
                checkpoint.with_suffix(".tmp").replace(checkpoint)
        record.step, record.state = step, RunState.complete
        if step < plan.num_steps:
            record.state = RunState.preempted
        elif self.diverges(plan):
            record.state, record.failure_class = RunState.diverged, FailureClass.diverged
            record.failure_message = "the loss is nan"
        else:
            record.results = {"val_bpb": end, "train_time_s": 1.0, "peak_memory_gib": self.memory(plan)}
            record.results |= {f"bpb_{name}": end for name in plan.config.evaluation.streams}
        _write(run_dir.record_path, typed.dump(record))
        fsio.append_line(ran, {"event": "end", "state": record.state} | said)
        return record


def _write(path: Path, value: Any) -> None:
    """Atomic, and without fsync quick: these tests kill processes, not machines."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(sealed.dumps(value))
    temporary.replace(path)


def freeze(results_dir: Path, name: str = "s", seeds: tuple[int, ...] = (1,), **search: Any) -> Frozen:
    """A frozen sweep that searches the learning rate, and what ``search`` says."""
    given = {"space": {LR: {"low": 0.005, "high": 0.2, "log": True}}, "n_trials": 6} | search
    sweep = SweepFile.from_json({"name": name, "base": BASE, "seeds": list(seeds), "search": given})
    return frozen.freeze(sweep, results_dir, reuse_runs=True)


def ran(results_dir: Path, event: str = "start") -> list[str]:
    """Run ids in the order in which they were started, or ended."""
    rows = fsio.read_lines(results_dir / "ran.jsonl")
    return [row["run_id"] for row in rows if row["event"] == event]
