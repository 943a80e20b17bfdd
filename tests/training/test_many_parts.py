"""One model with all that the baseline has not: stopped and gone on with, and compiled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters
from training_runs import MANY_PARTS, folder, losses, run, stop_after, tiny

from sweepkit.config.choices import Fp8Backend
from sweepkit.plan import parts
from sweepkit.results.record import RunState
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.session import Session


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["muon", "lion"])
def test_a_stopped_run_goes_on_bit_for_bit(kind: str, session: Session, tmp_path: Path) -> None:
    """The bias of experts, which is no parameter, kept gradients and averages among all the rest."""
    plan = tiny(*MANY_PARTS, f"optimizer={kind}")
    uncut = run(session, plan, tmp_path / "uncut")
    stopped = run(session, plan, tmp_path / "cut", should_stop=stop_after(6))
    assert stopped.state is RunState.preempted and 0 < stopped.step < 12 and stopped.step % 3
    resumed = run(Session(), plan, tmp_path / "cut", attempt=2)
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "uncut")
    for name in ("val_bpb", "ema_val_bpb"):
        assert resumed.results[name] == uncut.results[name]
    assert uncut.results["val_bpb"] != uncut.results["ema_val_bpb"]
    rows = [row for row in folder(plan, tmp_path / "uncut").metrics() if "loss" in row]
    assert len(rows) == 12 and all(1 <= row["expert_load_max"] <= 4 for row in rows)
    assert max(row["grad_norm"] for row in rows) > 0.2  # clipped
    # half of the routed experts are passed by a token: three matrices each, of two layers
    stacks = 2 * 3 * 4 * parts.mlp_hidden(plan.config.model) * plan.width
    assert uncut.results["total_params"] - uncut.results["active_params"] == stacks // 2


@pytest.mark.parametrize(
    ("layers", "scaling", "num_layers"),
    # of each layer q, k, v, out and the shared gate, up and down; three heads
    [("all", "tensorwise", 2 * 7 + 3), ("all", "rowwise", 2 * 7 + 3), ("projection", "tensorwise", 3)],
)
def test_in_fp8_heads_and_shared_experts_multiply_in_it_and_routed_ones_do_not(
    layers: str, scaling: str, num_layers: int
) -> None:
    """Four steps, of two updates each: what is clipped, kept for the third update and averaged is bf16's."""
    fp8 = (f"precision.fp8.layers={layers}", f"precision.fp8.scaling={scaling}", "precision.fp8.min_size=32")
    plan = tiny(*MANY_PARTS, "precision.dtype=fp8", *fp8)
    generator, shape = torch.Generator().manual_seed(0), (plan.device_batch_size, plan.sequence_len + 1)
    found: list[list[float]] = []
    for backend in (Fp8Backend.emulated, None):
        engine = Engine(plan, EngineKey("", torch.device("cpu"), torch.bfloat16, 1, False, backend))
        assert engine.num_fp8_layers == (num_layers if backend else 0)
        engine.renew(plan)
        generator.manual_seed(0)
        rows = torch.randint(0, 512, shape, generator=generator, dtype=torch.int32)
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        numbers = []
        for step in range(4):
            for part in range(2):
                engine.set_step(plan, step, part=part)
                numbers.append(engine.backward(inputs, targets, 1.0).item())
                norm = engine.optimizer.clip()
                assert norm is not None and norm.isfinite()
                engine.step(plan)
                engine.optimizer.zero_grad()
        with engine.optimizer.averaged():
            numbers.append(engine.nats(inputs, targets).mean().item())
        found.append(numbers)
    assert found[0] != found[1] and found[0] == pytest.approx(found[1], rel=0.02)
    assert found[0][-2] < found[0][0] - 0.05  # it learns
    assert len({round(loss, 6) for loss in found[0]}) > 3


@pytest.mark.slow
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
    norms = [float(norm) for engine in engines if (norm := engine.optimizer.clip()) is not None]
    assert norms[1] == pytest.approx(norms[0], rel=1e-3) and norms[0] > 0.2  # clipped
    for engine in engines:
        engine.step(plan)
    kept, compiled_kept = (engine.optimizer.state_dict() for engine in engines)
    assert {name.rpartition(".")[2] for name in kept} >= {"momentum", "gradient", "average"}
    for name, tensor in kept.items():  # gradients and means of them; weights have moved by more than rounding
        if name.endswith((".gradient", ".momentum")):
            torch.testing.assert_close(tensor, compiled_kept[name], atol=1e-5, rtol=1e-2)
    after = [engine.nats(inputs, targets) for engine in engines]
    torch.testing.assert_close(after[1].mean(), after[0].mean(), atol=2e-3, rtol=0)
    assert counters["stats"]["unique_graphs"] == num_graphs and not counters["graph_break"]
