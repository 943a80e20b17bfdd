"""Runs that take no time: a stand-in for the launcher that writes records with made-up losses."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweepkit.launch import execute
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.conditions import Environment, Resolved
from sweepkit.results.record import FINAL_STATES, FailureClass, RunDir, RunRecord, RunState

Loss = Callable[[RunPlan], float | None]


class FakeLauncher:
    """Completes every run with the loss that ``loss`` gives; None makes it diverge."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.started: list[str] = []
        self.launchers: list[Any] = []

    def __call__(
        self,
        plans: Sequence[RunPlan],
        launcher: Any,
        *,
        results_dir: Path,
        retry_failed: bool = False,
        **_: Any,
    ) -> None:
        self.launchers.append(launcher)
        for plan in plans:
            run_dir = RunDir.of(results_dir, plan.run_id)
            record = run_dir.read_record()
            again = retry_failed and record is not None and record.state is RunState.failed
            if record is None or record.state not in FINAL_STATES or again:
                self.started.append(plan.run_id)
                run_dir.write_plan(plan)
                run_dir.write_record(self._record(plan))

    def _record(self, plan: RunPlan) -> RunRecord:
        bpb = self.loss(plan)
        record = RunRecord(
            plan.run_id,
            plan.variant_id,
            plan.seed,
            RunState.complete,
            evaluation_key=plan.evaluation_key,
            step=plan.num_steps,
            num_steps=plan.num_steps,
            environment_fingerprint="e" * 12,
            evaluation_fingerprints={"validation": "f" * 12},
            resolved=Resolved(dtype="bf16"),
            environment=Environment(hardware="cpu"),
        )
        if bpb is None:
            record.state, record.failure_class = RunState.diverged, FailureClass.diverged
            record.failure_message = "the loss is NaN at step 3"
        else:
            record.results = {
                "val_bpb": bpb,
                **{f"bpb_{name}": bpb for name in plan.config.evaluation.streams},
                "train_time_s": 10.0,
                "median_step_time_s": 0.1,
                "tokens_per_s": 1e4,
                "mfu": 0.3,
                "total_flops": plan.total_flops,
            }
        return record


def higher_rate_is_better(plan: RunPlan) -> float:
    """A matrix LR of 0.002 is much worse, seeds add noise."""
    rate = plan.config.optimizer.matrix.lr
    noise = 1e-3 * random.Random(plan.run_id).random()
    return float(3.0 / plan.depth + (0.5 if rate < 0.005 else -2.0 * rate) + noise)


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> FakeLauncher:
    """Replaces ``launch.execute``; a higher matrix LR is better, 0.002 much worse, seeds add noise."""
    fake = FakeLauncher(higher_rate_is_better)
    monkeypatch.setattr(execute, "execute", fake)
    return fake
