"""What a search costs beyond the training itself: trials a second of an objective that takes no time.

    python scripts/bench_search.py                # 2,000 trials of TPE with 1 and with 8 workers
    python scripts/bench_search.py 500 random

Every trial is asked for, written down, claimed, run, recorded and told as a real one is; only the training is
a formula. The time includes starting the workers.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.search import drive, trial_worker
from sweepkit.sweep import frozen
from sweepkit.sweep.file import SweepFile

NUM_TRIALS, NUM_WORKERS = 2000, (1, 8)
LR, BETA = "optimizer.matrix.lr", "optimizer.x0.beta1"
SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


class InstantSession:
    """Ends a run at once, with a bowl over both parameters."""

    def run(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        optimizer = plan.config.optimizer
        loss = math.log(optimizer.matrix.lr / 0.03) ** 2 + (optimizer.x0.beta1 - 0.9) ** 2
        record = RunRecord(plan.run_id, plan.variant_id, plan.seed, RunState.complete, step=plan.num_steps)
        record.num_steps, record.results = plan.num_steps, {"val_bpb": loss}
        run_dir.write_record(record)
        return record


def trials_per_s(num_trials: int, num_workers: int, sampler: str) -> float:
    """Of one search in a folder of its own."""
    search = {"space": SPACE, "n_trials": num_trials, "sampler": sampler}
    sweep = SweepFile.from_json({"name": "bench", "base": ["experiment=mini", "model=d2"], "search": search})
    with tempfile.TemporaryDirectory() as folder:
        frozen_sweep = frozen.freeze(sweep, Path(folder))
        started = time.monotonic()
        drive.search(
            frozen_sweep,
            LauncherConfig(kind=LauncherKind.local, num_workers=num_workers),
            results_dir=Path(folder),
            worker_command=(sys.executable, __file__, "--worker"),
            prepare=lambda config: None,
        )
        return num_trials / (time.monotonic() - started)


def main() -> None:
    num_trials = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_TRIALS
    sampler = sys.argv[2] if len(sys.argv) > 2 else "tpe"
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - a line a run
    for num_workers in NUM_WORKERS:
        rate = trials_per_s(num_trials, num_workers, sampler)
        print(f"{num_trials} trials, {sampler}, {num_workers} workers: {rate:.1f} trials/s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        sys.exit(trial_worker.main(sys.argv[2:], session_factory=InstantSession))
    main()
