"""A trainer that sleeps, and plans for it: what the launch room's tests run instead of torch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config.schema import RunConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.conditions import KeptWeights
from sweepkit.results.record import Attempt, FailureClass, RunDir, RunRecord, RunState


def make_plan(
    name: str, *, compile_key: str = "k", num_steps: int = 5, seed: int = 1, **fake: Any
) -> RunPlan:
    """A plan with the identity ``name``; ``fake`` is what FakeSession is to do."""
    return RunPlan(
        run_id=name,
        variant_id=f"v-{name}",
        seed=seed,
        pair_key="p",
        compile_key=compile_key,
        depth=2,
        width=64,
        num_heads=2,
        num_kv_heads=2,
        head_dim=32,
        padded_vocab_size=256,
        windows=(64, 64),
        value_embedding_layers=(1,),
        scaling_params=1000,
        total_params=2000,
        active_params=2000,
        param_groups={},
        flops_per_token=10,
        target_tokens=100,
        transfer_tokens=100,
        total_batch_size=64,
        device_batch_size=1,
        sequence_len=64,
        num_steps=num_steps,
        total_tokens=64 * num_steps,
        total_flops=640 * num_steps,
        learning_rates={},
        weight_decay=0.0,
        weight_decays={},
        warmup_steps=1,
        warmdown_steps=1,
        momentum_warmup_steps=1,
        plan_device="h100",
        plan_mfu=0.4,
        estimated_peak_memory_gib=0.1,
        estimated_gpu_hours=None,
        config=_with(RunConfig(), fake),
    )


def _with(config: RunConfig, fake: dict[str, Any]) -> RunConfig:
    """A configuration that tells FakeSession what to do, in a field that changes no number."""
    logging = replace(config.logging, project=json.dumps(fake))
    dataset = replace(config.dataset, name=fake.get("dataset", config.dataset.name))
    return replace(config, logging=logging, dataset=dataset)


def told(plan: RunPlan, **fake: Any) -> RunPlan:
    """The plan, with other words for FakeSession."""
    return replace(plan, config=_with(plan.config, fake))


class FakeSession:
    """Counts up to num_steps, a checkpoint (a file with the step) after every step.

    ``results_dir/ran.jsonl`` gets a line at every start and end, so that a test sees who ran what, and
    whether two processes ever did at once.
    """

    def run(
        self, plan: RunPlan, run_dir: RunDir, attempt: int, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        fake = json.loads(plan.config.logging.project)
        ran = run_dir.path.parents[1] / "ran.jsonl"
        fsio.append_line(
            ran, {"event": "start", "run_id": plan.run_id, "pid": os.getpid(), "key": plan.compile_key}
        )
        record = RunRecord(plan.run_id, plan.variant_id, plan.seed, RunState.running, attempt=attempt)
        record.evaluation_key, record.weights = plan.evaluation_key, KeptWeights("0", 0)
        record.started_at, record.num_steps = "2026-01-01T00:00:00+00:00", plan.num_steps
        run_dir.write_record(record)
        run_dir.write_attempt(Attempt(attempt))
        checkpoint = run_dir.path / "step"
        step = int(checkpoint.read_text()) if checkpoint.exists() else 0
        if fake.get("raises"):
            raise RuntimeError(fake["raises"])
        while step < plan.num_steps and not should_stop():
            time.sleep(fake.get("step_s", 0.001))
            if fake.get("dies_always"):
                _die(run_dir, fake)
            step += 1
            fsio.append_line(run_dir.metrics_path, {"step": step, "attempt": attempt, "loss": 1.0 / step})
            _replace(checkpoint, str(step))
            progress = {"step": step, "num_steps": plan.num_steps, "phase": "training", "loss": 1.0 / step}
            progress |= {"tokens_per_s": 100.0, "eta_s": 1.0}
            _replace(run_dir.path / "progress.json", json.dumps(progress))
            dies_here = fake.get("dies_at") == step and attempt <= fake.get("deaths", 99)
            if dies_here or fake.get("dies_each_step"):
                _die(run_dir, fake)
        record.step = step
        if step < plan.num_steps:
            record.state = RunState.preempted
        else:
            record.state = RunState(fake.get("state", "complete"))
            record.results = {"val_bpb": 1.0 / plan.num_steps, "train_time_s": 0.1}
        if "failure_class" in fake:
            record.failure_class = FailureClass(fake["failure_class"])
            record.failure_message = "the disk is full"
        run_dir.write_record(record)
        fsio.append_line(
            ran, {"event": "end", "run_id": plan.run_id, "pid": os.getpid(), "state": record.state}
        )
        return record

    def evaluate(
        self, plan: RunPlan, run_dir: RunDir, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        """Three batches of ``evaluation_s`` each; the second one kills ``evaluation_deaths`` times."""
        fake = json.loads(plan.config.logging.project)
        ran = run_dir.path.parents[1] / "ran.jsonl"
        fsio.append_line(ran, {"event": "evaluate", "run_id": plan.run_id, "pid": os.getpid()})
        record = RunRecord(plan.run_id, plan.variant_id, plan.seed, RunState.complete)
        record.evaluation_key, record.weights = plan.evaluation_key, KeptWeights("0", 0)
        for batch in range(3):
            time.sleep(fake.get("evaluation_s", 0.001))
            if should_stop():
                record.state = RunState.preempted
                return record
            deaths = run_dir.path / "deaths"
            died = len(deaths.read_text()) if deaths.exists() else 0
            if batch == 1 and died < fake.get("evaluation_deaths", 0):
                deaths.write_text("x" * (died + 1))
                _die(run_dir, fake)
        record.results = {"val_bpb": 7.0}
        run_dir.write_evaluation(record)
        fsio.append_line(ran, {"event": "evaluated", "run_id": plan.run_id, "pid": os.getpid()})
        return record


def _die(run_dir: RunDir, fake: dict[str, Any]) -> None:
    if fake.get("for_memory"):
        with (run_dir.path.parents[1] / "oom_kills").open("a") as counter:
            counter.write("x")  # what the kernel would count
        time.sleep(fake.get("dying_s", 0.0))
    os.kill(os.getpid(), 9)


def _replace(path: Path, text: str) -> None:
    """Atomic, and without fsync quick: these tests kill processes, not machines."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def ran(results_dir: Path, event: str = "start") -> list[dict[str, Any]]:
    """Lines of ``ran.jsonl``."""
    path = results_dir / "ran.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if row["event"] == event]
