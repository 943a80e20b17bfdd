"""A trainer that takes no time, in this process or in workers: ``python fake_trainer.py LISTFILE``."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

from sweepkit.launch import worker
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.conditions import Environment, Resolved
from sweepkit.results.record import RunDir, RunRecord, RunState


def loss(plan: RunPlan) -> float:
    """A higher matrix LR is better, 0.002 much worse, seeds add noise."""
    rate = plan.config.optimizer.matrix.lr
    noise = 1e-3 * random.Random(plan.run_id).random()
    return float(3.0 / plan.depth + (0.5 if rate < 0.005 else -2.0 * rate) + noise)


class FakeTrainer:
    """Completes every run at once, always with the same numbers."""

    def run(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        bpb = loss(plan)
        record = RunRecord(
            plan.run_id,
            plan.variant_id,
            plan.seed,
            RunState.complete,
            evaluation_key=plan.evaluation_key,
            started_at="2026-01-01T00:00:00+00:00",
            attempt=attempt,
            step=plan.num_steps,
            num_steps=plan.num_steps,
            environment_fingerprint="e" * 12,
            evaluation_fingerprints={"validation": "f" * 12},
            resolved=Resolved(dtype="bf16"),
            environment=Environment(hardware="cpu", host="here"),
            results={
                "val_bpb": bpb,
                **{f"bpb_{name}": bpb for name in plan.config.evaluation.streams},
                "train_time_s": 10.0,
                "median_step_time_s": 0.1,
                "total_flops": plan.total_flops,
            },
        )
        run_dir.write_record(record)
        return record


if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], session_factory=FakeTrainer))
