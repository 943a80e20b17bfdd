"""Compiled runs: the eager ones' losses, and nothing compiles again for what a search changes."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters
from training_runs import losses, run, tiny

from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunState
from sweepkit.training.session import Session

#: A value of everything that a search may change from run to run without another model or shape.
OTHER_VALUES = (
    "optimizer.matrix.lr=0.01",
    "optimizer.matrix.weight_decay=0.1",
    "optimizer.matrix.momentum=0.9",
    "optimizer.matrix.momentum_start=0.7",
    "optimizer.matrix.momentum_end=0.8",
    "optimizer.matrix.beta2=0.95",
    "optimizer.embedding.lr=0.2",
    "optimizer.embedding.beta1=0.9",
    "optimizer.unembedding.beta2=0.99",
    "optimizer.unembedding.weight_decay=0.2",
    "optimizer.x0.lr=0.1",
    "schedule.warmdown_ratio=0.3",
    "schedule.final_lr_frac=0.2",
    "schedule.weight_decay=constant",
    "horizon.num_steps=10",
)


def first_run_then_others(session: Session, results: Path, *overrides: str) -> RunPlan:
    """A compiled run, then the same again and one with ``OTHER_VALUES``, which must not compile anything.

    The second is diagnosed, which must change nothing either.

    Returns:
        The first one's plan; its folders are ``results/first`` and ``results/again``.
    """
    plan = tiny("trainer.compile=true", *overrides)
    first = run(session, plan, results / "first")
    assert first.state is RunState.complete, first.failure_message
    assert first.resolved.is_compiled and first.resolved.eager_reason is None, first.resolved
    num_graphs = counters["stats"]["unique_graphs"]
    changed = tiny("trainer.compile=true", *overrides, "seed=2", *OTHER_VALUES)
    assert changed.compile_key == plan.compile_key and changed.variant_id != plan.variant_id
    with torch.compiler.set_stance("fail_on_recompile"):
        watched = tiny("trainer.compile=true", *overrides, "logging.diagnostics_every_steps=4")
        again = run(session, watched, results / "again")
        other = run(session, changed, results / "again")
    assert counters["stats"]["unique_graphs"] == num_graphs > 0
    assert (again.state, other.state) == (RunState.complete, RunState.complete), again.failure_message
    assert losses(plan, results / "again") == losses(plan, results / "first")
    return plan


@pytest.mark.slow
def test_compiled_runs_follow_eager_ones_and_a_second_run_compiles_nothing(
    session: Session, tmp_path: Path
) -> None:
    from torch._inductor import codecache

    codecache._precompile_header.cache_clear()  # an earlier test may have made them elsewhere
    compiled, eager = first_run_then_others(session, tmp_path), tiny()
    kept = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert list(kept.glob("precompiled_headers/*.gch")), "the next machine would compile them again"
    assert eager.run_id == compiled.run_id
    run(session, eager, tmp_path / "eager")
    # rounding differs, and a step amplifies it: the first losses agree closely, later ones roughly
    pairs = zip(losses(compiled, tmp_path / "first"), losses(eager, tmp_path / "eager"), strict=True)
    differences = [abs(one - other) for one, other in pairs]
    assert max(differences[:4]) < 1e-3 and max(differences) < 0.05, differences


@pytest.mark.slow
def test_in_fp8_a_second_run_compiles_nothing(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When to trace again is for dynamo to decide, so a backend without code generation shows it as well."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    fp8 = ("precision.dtype=fp8", "precision.fp8.min_size=32", "horizon.num_steps=6")
    plan = first_run_then_others(session, tmp_path, *fp8)
    record = run(session, plan, tmp_path / "third")
    assert record.resolved.fp8.backend == "emulated" and record.resolved.fp8.num_layers > 6
