"""The compiled model: same values, and nothing recompiles for new seeds, values or evaluation."""

from __future__ import annotations

import pytest
import torch
from small_plans import moved_model, tiny_plan, tokens
from torch._dynamo.utils import counters

from sweepkit.training.engine import COMPILE_OPTIONS


@pytest.mark.slow
def test_compiles_once_and_agrees_with_eager() -> None:
    plan = tiny_plan("model.short_window=3")
    eager, compiled = moved_model(plan), moved_model(plan)
    compiled.compile_regions(**COMPILE_OPTIONS)
    inputs, targets = tokens(plan), tokens(plan, seed=5)
    torch._dynamo.reset()
    counters.clear()
    losses = [model(inputs, targets) for model in (eager, compiled)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)
    for (name, a), (_, b) in zip(eager.named_parameters(), compiled.named_parameters(), strict=True):
        assert a.grad is not None, name
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    # Four graphs whatever the depth: before with and without value embeddings, after, the loss.
    assert counters["stats"]["unique_graphs"] == 4
    assert not counters["graph_break"]

    for seed in (1, 2):
        compiled.initialize(seed)
        compiled(tokens(plan, seed=seed), targets).backward()
        with torch.no_grad():
            nats = compiled(tokens(plan, seed=seed), targets, loss="none")
        assert not nats.requires_grad
    assert counters["stats"]["unique_graphs"] == 4
