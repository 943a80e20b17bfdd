"""Made-up sweeps on disk, through the real RunPlan, RunRecord and metrics writers, with known effects."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.config.schema import RunConfig, RungConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion import ladder
from sweepkit.promotion.verdict_record import Promotion
from sweepkit.results import store
from sweepkit.results.conditions import Environment, Resolved
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen, freeze_cells
from sweepkit.sweep.frozen_head import Head

#: True effect in bits per byte of each made-up variant, and what it costs in time.
EFFECTS = {
    "reference": (0.0, 1.0),
    "x0_beta1=b96": (-0.02, 1.0),
    "lr=high": (0.05, 1.0),
    "mlp=8": (-0.01, 1.3),
}
STEPS = 40


def plan(depth: int = 2, variant_id: str = "a" * 12, seed: int = 1, **changes: Any) -> RunPlan:
    """A plan with plausible numbers; sizes only look right."""
    width, batch = 32 * depth, 4096
    params = 12 * depth * width**2 + 2048 * width
    values: dict[str, Any] = {
        "run_id": f"d{depth}-{variant_id}-s{seed}",
        "variant_id": variant_id,
        "seed": seed,
        "pair_key": f"pair-d{depth}-s{seed}",
        "compile_key": f"shape-d{depth}",
        "depth": depth,
        "width": width,
        "num_heads": depth,
        "num_kv_heads": depth,
        "head_dim": 32,
        "padded_vocab_size": 2048,
        "windows": (128, 256),
        "value_embedding_layers": (1,),
        "scaling_params": params,
        "total_params": 2 * params,
        "active_params": 2 * params,
        "param_groups": {"wte": 2048 * width},
        "flops_per_token": 6 * params,
        "target_tokens": STEPS * batch,
        "transfer_tokens": STEPS * batch,
        "total_batch_size": batch,
        "device_batch_size": 16,
        "sequence_len": 256,
        "num_steps": STEPS,
        "total_tokens": STEPS * batch,
        "total_flops": 6 * params * STEPS * batch,
        "learning_rates": {"matrix": 0.02, "embedding": 0.3, "x0": 0.5},
        "weight_decay": 0.28,
        "weight_decays": {"matrix": 0.28},
        "warmup_steps": 4,
        "warmdown_steps": 26,
        "momentum_warmup_steps": 10,
        "plan_device": "h100",
        "plan_mfu": 0.4,
        "estimated_peak_memory_gib": 0.5,
        "estimated_gpu_hours": 0.01,
        "config": RunConfig(seed=seed),
        "evaluation_key": "e1ac0ffee0ff",
    }
    return RunPlan(**(values | changes))


def record(run: RunPlan, state: RunState = RunState.complete, **changes: Any) -> RunRecord:
    """A record as a finished run leaves it."""
    values: dict[str, Any] = {
        "run_id": run.run_id,
        "variant_id": run.variant_id,
        "evaluation_key": run.evaluation_key,
        "seed": run.seed,
        "state": state,
        "started_at": "2026-01-19T10:00:00+00:00",
        "ended_at": "2026-01-19T10:05:00+00:00",
        "step": run.num_steps,
        "num_steps": run.num_steps,
        "resolved": Resolved(dtype="bf16", device="cpu", num_threads=2),
        "environment": Environment(hardware="a processor", git_commit="0123abc", git_dirty=False),
        "environment_fingerprint": "e" * 12,
        "evaluation_fingerprints": {"validation": "f" * 12, "probe": "9f" * 6},
    }
    return RunRecord(**(values | changes))


def cell(run: RunPlan, variant: str = "reference", rung: str = "d2", **changes: Any) -> dict[str, Any]:
    """One line of a frozen plan."""
    role = "reference" if variant == "reference" else "variant"
    levels = dict(part.split("=", 1) for part in variant.split(",") if "=" in part)
    made = Cell(variant, fsio.digest(variant)[:12], role, rung, run, levels)
    return typed.dump(made) | changes


def freeze(results_dir: Path, sweep: str, cells: list[dict[str, Any]]) -> None:
    """Write ``plan.jsonl`` as the frozen plan has it, and ``frozen.json`` with its hash."""
    plan = "".join(json.dumps(item) + "\n" for item in cells)
    fsio.write_text(results_dir / sweep / "plan.jsonl", plan)
    head = Head(SweepFile(sweep), [RungConfig(name="d2")], (), (), len(cells), "")
    head = dataclasses.replace(head, plan_sha256=hashlib.sha256(plan.encode()).hexdigest())
    fsio.write_json(results_dir / sweep / "frozen.json", typed.dump(head))


def finish(results_dir: Path, run: RunPlan, effect: float = 0.0, cost: float = 1.0) -> RunRecord:
    """Write a complete run with metrics and a record whose loss follows depth, seed and effect."""
    rng = random.Random(run.run_id)
    luck = random.Random(run.pair_key).gauss(0, 0.01)
    bpb = 2.2 - 0.08 * run.depth + effect + luck + rng.gauss(0, 0.002)
    step_time = 0.02 * run.depth * cost * (1 + rng.gauss(0, 0.01))
    folder = RunDir.of(results_dir, run.run_id)
    folder.write_plan(run)
    rows = []
    for step in range(run.num_steps):
        loss = 2.9 * bpb * (1 + 0.6 * 0.9**step) + rng.gauss(0, 0.03)
        row: dict[str, Any] = {"step": step, "attempt": 1, "loss": loss, "lr": min(1.0, (step + 1) / 4)}
        row["train_time_s"] = step_time * (step + 1)
        if step % 10 == 9:
            row |= {"val_bpb": bpb * (1 + 0.3 * 0.9**step), "bpb_probe": 1.1 * bpb}
        rows.append(sealed.line(row, run.run_id))
    folder.metrics_path.write_bytes(b"".join(rows))
    results = {
        "val_bpb": bpb,
        "bpb_validation": bpb,
        "bpb_probe": 1.1 * bpb,
        "train_time_s": step_time * run.num_steps,
        "median_step_time_s": step_time,
        "tokens_per_s": run.total_batch_size / step_time,
        "mfu": 0.31 / cost,
        "peak_memory_gib": 0.6,
        "total_flops": run.total_flops,
    }
    written = record(run, results=results)
    folder.write_record(written)
    return written


def freeze_demo(
    results_dir: Path, name: str = "demo", seeds: int = 3, depths: tuple[int, ...] = (2, 4, 6)
) -> Frozen:
    """Freeze a sweep of the variants in ``EFFECTS`` up a ladder of depths, with plans made up here."""
    axes: dict[str, Any] = {}
    for label in EFFECTS:
        axis, equals, level = label.partition("=")
        if equals:
            axes.setdefault(axis, {})[level] = [f"made_up.{axis}={level}"]
    content = {
        "name": name,
        "question": "Does <b>x0_beta1</b> help?",
        "axes": axes,
        "seeds": list(range(1, seeds + 1)),
    }
    cells = [
        Cell(
            variant=variant,
            variant_key=fsio.digest(variant)[:12],
            role="reference" if variant == "reference" else "variant",
            rung=f"d{depth}",
            plan=plan(
                depth,
                fsio.digest([variant, depth])[:12],
                seed,
                compile_key=f"shape-d{depth}-{EFFECTS[variant][1]}",
            ),
        )
        for depth in depths
        for variant in EFFECTS
        for seed in range(1, seeds + 1)
    ]
    rungs = [RungConfig(name=f"d{depth}", overrides=[f"model=d{depth}"]) for depth in depths]
    return freeze_cells(SweepFile.from_json(content), rungs, cells, results_dir)


def sweep(
    results_dir: Path, name: str = "demo", seeds: int = 3, depths: tuple[int, ...] = (2, 4, 6)
) -> Frozen:
    """``freeze_demo`` with its runs done: what hurts stays on the first rung, where one run diverged."""
    frozen = freeze_demo(results_dir, name, seeds, depths)
    for item in frozen.cells:
        effect, cost = EFFECTS[item.variant]
        run = item.plan
        if run.depth > depths[0] and effect > 0:
            continue
        if effect > 0 and run.seed == 2:
            diverge(results_dir, run)
        else:
            finish(results_dir, run, effect * 2 / run.depth, cost)
    return frozen


def diverge(results_dir: Path, run: RunPlan) -> None:
    """Write a run whose loss exploded."""
    folder = RunDir.of(results_dir, run.run_id)
    folder.write_plan(run)
    message = "the loss rose to 3.1 x its value at step 0"
    failed = record(
        run, RunState.diverged, step=17, failure_class=FailureClass.diverged, failure_message=message
    )
    folder.write_record(failed)


def promote(frozen: Frozen) -> Promotion:
    """The real promotion of a sweep whose runs are all done: only reads and decides."""
    results = frozen.sweep_dir.parent
    return ladder.promote(frozen, lambda rung, cells: None, lambda: store.load(frozen.name, results))
