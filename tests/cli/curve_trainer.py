"""A trainer that takes no time and logs curves: ``python curve_trainer.py LISTFILE`` is a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fake_trainer import FakeTrainer, loss

from sweepkit import fsio
from sweepkit.launch import worker
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir, RunRecord, RunState


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


class CurveTrainer(FakeTrainer):
    """Losses fall in a line to what ``fake_trainer.loss`` gives; asked to stop it stops after the step.

    Args:
        dies: id of a run in which this process is as good as killed, once, at the ninth step.
    """

    def __init__(self, dies: str = "") -> None:
        self.dies = dies

    def run(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        run_dir.say(f"attempt {attempt}")
        kept = run_dir.path / "step"
        step, every = int(kept.read_text()) if kept.exists() else 0, plan.config.evaluation.every_steps
        while step < plan.num_steps and not should_stop():
            step += 1
            now = loss(plan) + 3.0 * (1 - step / plan.num_steps)
            fsio.append_line(run_dir.metrics_path, {"step": step, "attempt": attempt, "loss": now})
            if self.dies == plan.run_id and step == 9:
                self.dies = ""
                raise Killed
            if step % every == 0:
                fsio.append_line(run_dir.metrics_path, {"step": step, "attempt": attempt, "val_bpb": now})
            kept.write_text(str(step))
        record = super().run(plan, run_dir, attempt)
        if step < plan.num_steps:
            record.state, record.step, record.results = RunState.preempted, step, {}
            run_dir.write_record(record)
        return record


if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], session_factory=CurveTrainer))
