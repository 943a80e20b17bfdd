"""The local launcher with the real trainer: two workers, and a SIGKILL in the middle of a run."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from sweepkit.config import compose
from sweepkit.launch import claims
from sweepkit.launch.execute import execute
from sweepkit.plan import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir

TINY = [
    "experiment=mini",
    "model=d2",
    "trainer.compile=false",
    "trainer.checkpoint_every_steps=4",
    "tokenizer.vocab_size=512",
    "horizon.sequence_len=64",
    "horizon.device_batch_size=4",
    "horizon.total_batch_size=256",
    "horizon.num_steps=30",
    "evaluation.max_bytes=4000",
    "evaluation.sample_tokens=0",
    "launcher=local",
    "launcher.num_workers=2",
]


@pytest.fixture(scope="module")
def plans() -> list[RunPlan]:
    return [build.build(compose.compose([*TINY, f"seed={seed}"])) for seed in (1, 2)]


def launch(plans: list[RunPlan], results: Path) -> dict[str, tuple[list[float], float]]:
    """Losses by step and the final bits per byte of every run."""
    launcher = plans[0].config.launcher
    assert execute(plans, launcher, results_dir=results).counts == {"complete": len(plans)}
    found = {}
    for plan in plans:
        run_dir = RunDir.of(results, plan.run_id)
        record = run_dir.read_record()
        assert record is not None
        losses = [row["loss"] for row in run_dir.metrics() if "loss" in row]
        assert record.environment.concurrency == 2
        found[plan.run_id] = (losses, record.results["val_bpb"])
    return found


@pytest.mark.slow
def test_a_launch_whose_worker_is_killed_ends_with_the_same_numbers(
    plans: list[RunPlan], tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(shared_cache))
    undisturbed = launch(plans, tmp_path / "one")
    assert all(len(losses) == 30 for losses, _ in undisturbed.values())

    killed: list[str] = []

    def kill() -> None:
        run_dirs = [RunDir.of(tmp_path / "two", plan.run_id) for plan in plans]
        until = time.monotonic() + 600
        while time.monotonic() < until:
            for run_dir in run_dirs:
                holder = claims.holder(run_dir.claim_path)
                if holder is not None and holder.alive and any(run_dir.checkpoints_path.glob("step_*")):
                    os.kill(holder.info.process.pid, signal.SIGKILL)
                    killed.append(run_dir.run_id)
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    disturbed = launch(plans, tmp_path / "two")
    thread.join()
    assert killed
    assert disturbed == undisturbed
    assert len(list(RunDir.of(tmp_path / "two", killed[0]).attempts_path.iterdir())) == 2
