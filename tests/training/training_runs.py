"""Plans of tiny runs, and how to run them and look at what they left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config.compose import compose
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir, RunRecord
from sweepkit.training.session import Session

TINY = (
    "experiment=mini",
    "model=d2",
    "model.aspect_ratio=16",
    "model.head_dim=16",
    "tokenizer.vocab_size=512",
    "tokenizer.max_train_bytes=200000",
    "horizon.sequence_len=64",
    "horizon.num_steps=12",
    "horizon.total_batch_size=512",
    "horizon.device_batch_size=8",
    "evaluation.max_bytes=4000",
    "evaluation.sample_tokens=0",
    "precision.dtype=fp32",
    "trainer.device=cpu",
    "trainer.compile=false",
    "trainer.checkpoint_every_steps=0",
    "logging.diagnostics_every_steps=0",
)

#: What the baseline has not, all at once.
MANY_PARTS = (
    "model.mlp.kind=swiglu",
    "model.experts.num_routed=4",
    "model.experts.bias_step=0.05",
    "model.bigram.table_ratio=2",
    "model.multi_token.num_further=2",
    "model.multi_token.heads=own",
    "optimizer.grad_clip=0.2",
    "optimizer.ema_decay=0.7",
    "optimizer.adam_every_steps=3",
    "schedule.batch_ramp=[2,1]",
    "horizon.device_batch_size=2",
)


def tiny(*overrides: str) -> RunPlan:
    """The plan of a tiny run: d2, width 32, 12 steps of 8 rows of 64 tokens, fp32, eager."""
    return build(compose([*TINY, *overrides]))


def folder(plan: RunPlan, results: Path) -> RunDir:
    return RunDir.of(results, plan.run_id)


def run(
    session: Session,
    plan: RunPlan,
    results: Path,
    attempt: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    return session.run(plan, folder(plan, results), attempt, should_stop)


def losses(plan: RunPlan, results: Path) -> list[float]:
    """The logged training losses, by step; each as it was, to the last bit."""
    return [row["loss"] for row in folder(plan, results).metrics() if "loss" in row]


def stop_after(num_polls: int) -> Callable[[], bool]:
    """A ``should_stop`` that says yes from its ``num_polls``-th call on."""
    calls = iter(range(1, 1_000_000))
    return lambda: next(calls) >= num_polls


def read(path: Path) -> Any:
    return fsio.read_json(path)
