"""One model with all that the baseline has not: stopped and gone on with, and compiled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters
from training_runs import MANY_PARTS, folder, losses, run, stop_after, tiny

from sweepkit.config.choices import Fp8Backend
from sweepkit.results.record import RunState
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.session import Session


def test_a_stopped_run_goes_on_bit_for_bit(session: Session, tmp_path: Path) -> None:
    """The bias of experts, which is no parameter, among all the rest."""
    plan = tiny(*MANY_PARTS)
    uncut = run(session, plan, tmp_path / "uncut")
    stopped = run(session, plan, tmp_path / "cut", should_stop=stop_after(6))
    assert stopped.state is RunState.preempted
    resumed = run(Session(), plan, tmp_path / "cut", attempt=2)
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "uncut")
    assert resumed.results["val_bpb"] == uncut.results["val_bpb"]
    loads = [row["expert_load_max"] for row in folder(plan, tmp_path / "uncut").metrics() if "loss" in row]
    assert len(loads) == 12 and all(1 <= load <= 4 for load in loads)


def test_in_fp8_heads_and_shared_experts_multiply_in_it_and_routed_ones_do_not() -> None:
    plan = tiny(*MANY_PARTS, "precision.dtype=fp8", "precision.fp8.min_size=32")
    rows = torch.randint(0, 512, (plan.device_batch_size, plan.sequence_len + 1), dtype=torch.int32)
    losses = []
    for backend in (Fp8Backend.emulated, None):
        key = EngineKey("", torch.device("cpu"), torch.bfloat16, 1, False, backend)
        engine = Engine(plan, key)
        engine.renew(plan)
        engine.set_step(plan, 0)
        losses.append(engine.backward(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), 1.0).item())
        engine.step(plan)
        # of each layer q, k, v, out and the shared gate, up and down; three heads
        assert engine.num_fp8_layers == (2 * 7 + 3 if backend else 0)
    assert losses[0] == pytest.approx(losses[1], abs=0.01)


@pytest.mark.compile
@pytest.mark.parametrize("heads", ["own", "shared"])
def test_compiled_code_gives_what_eager_code_gives(heads: str) -> None:
    """Values, gradients and the load of experts; the evaluation after it compiles nothing more."""
    plan = tiny(*MANY_PARTS, f"model.multi_token.heads={heads}", "model.experts.balance=loss")
    generator = torch.Generator().manual_seed(0)
    shape = (plan.device_batch_size, plan.sequence_len + 1)
    rows = torch.randint(0, 512, shape, generator=generator, dtype=torch.int32)
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    torch._dynamo.reset()
    counters.clear()
    engines = [
        Engine(plan, EngineKey("", torch.device("cpu"), torch.float32, 1, compiled))
        for compiled in (False, True)
    ]
    for engine in engines:
        engine.renew(plan)
        with torch.no_grad():
            for seed, parameter in enumerate(engine.model.parameters()):
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
                parameter.add_(0.02 * noise)
        engine.nats(inputs, targets)
        engine.set_step(plan, 0)
        engine.backward(inputs, targets, 1.0)
    eager, compiled = (engine.model for engine in engines)
    for a, b in zip(eager.experts(), compiled.experts(), strict=True):
        assert torch.equal(a.load, b.load) and a.load.sum() == 2 * inputs.numel()
    for (name, p), (_, q) in zip(eager.named_parameters(), compiled.named_parameters(), strict=True):
        assert p.grad is not None and q.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad, atol=1e-5, rtol=1e-2, msg=lambda m, n=name: f"{n}: {m}")
    num_graphs = counters["stats"]["unique_graphs"]
    plain, fused = (engine.nats(inputs, targets) for engine in engines)
    torch.testing.assert_close(fused, plain, atol=1e-4, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == num_graphs and not counters["graph_break"]
