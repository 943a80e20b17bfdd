"""Whole runs in FP8, fp16 and fp32: what they record, and that they learn what bf16 learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_runs import folder, losses, run, stop_after, tiny

from sweepkit.config.choices import Fp8Backend
from sweepkit.errors import ConfigError
from sweepkit.optim.adamw import AdamWGroup
from sweepkit.optim.schedule import Now
from sweepkit.plan import sizing
from sweepkit.plan.fp8_share import fp8_flops_per_token
from sweepkit.results.record import FailureClass, RunState
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.session import Session

WIDE = ("model.aspect_ratio=64", "model.head_dim=64", "horizon.num_steps=6")
SMALL = (  # a CPU is slow in fp16
    "horizon.sequence_len=16",
    "horizon.num_steps=8",
    "horizon.total_batch_size=64",
    "horizon.device_batch_size=2",
    "evaluation.max_bytes=300",
    "evaluation.streams=[validation]",
)
FP8 = ("precision.dtype=fp8", *WIDE)


def engine(backend: Fp8Backend | None, dtype: str, *overrides: str) -> Engine:
    plan = tiny(f"precision.dtype={dtype}", *WIDE, *overrides)
    made = Engine(plan, EngineKey("", torch.device("cpu"), torch.bfloat16, 1, False, backend))
    made.renew(plan)
    return made


def test_fp8_trains_in_fp8_and_evaluates_in_the_compute_dtype() -> None:
    tokens = torch.randint(0, 512, (8, 64), generator=torch.Generator().manual_seed(0))
    made = {"bf16": engine(None, "bf16"), "fp8": engine(Fp8Backend.emulated, "fp8")}
    losses, nats = {}, {}
    for name, one in made.items():
        with torch.no_grad():  # zeros at the start would hide what multiplies
            for parameter in one.model.parameters():
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
                parameter.add_((0.05 * noise).to(parameter.dtype))
        losses[name] = one.backward(tokens, tokens, 1.0).item()
        nats[name] = one.nats(tokens, tokens)
    assert made["fp8"].num_fp8_layers == 13  # six a layer, and the vocabulary projection
    assert losses["fp8"] != losses["bf16"] and losses["fp8"] == pytest.approx(losses["bf16"], rel=0.01)
    assert torch.equal(nats["fp8"], nats["bf16"])
    assert made["fp8"].model.training
    weights = next(made["fp8"].model.layers()).mlp.up.weight
    assert weights.dtype == torch.float32 and weights.grad is not None


def test_the_size_rule_chooses_the_layers_and_leaves_some() -> None:
    assert engine(Fp8Backend.emulated, "fp8", "precision.fp8.size_multiple=64").num_fp8_layers == 13
    for rule in ("precision.fp8.min_size=129", "precision.fp8.size_multiple=256"):
        with pytest.raises(ConfigError, match="must leave some product to FP8"):
            engine(Fp8Backend.emulated, "fp8", rule)


def test_the_projection_alone_is_the_matrices_of_bf16_and_a_head_in_fp8() -> None:
    tokens = torch.randint(0, 512, (8, 64), generator=torch.Generator().manual_seed(0))
    made = [
        engine(None, "bf16"),
        engine(Fp8Backend.emulated, "fp8", "precision.fp8.layers=projection"),
        engine(Fp8Backend.emulated, "fp8", "precision.fp8.scaling=rowwise"),
    ]
    assert [one.num_fp8_layers for one in made] == [0, 1, 13]
    inputs: list[torch.Tensor] = []
    losses = []
    for one in made:
        with torch.no_grad():
            one.model.lm_head.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
            for block in one.model.layers():
                block.mlp.down.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(2))
        inputs.append(one.model.stream(tokens)[0].detach())
        losses.append(one.backward(tokens, tokens, 1.0).item())
    assert torch.equal(inputs[0], inputs[1]) and not torch.equal(inputs[0], inputs[2])
    assert losses[1] != losses[0] != losses[2] and losses[1:] == pytest.approx([losses[0]] * 2, rel=0.01)
    config = tiny("precision.dtype=fp8", *WIDE, "precision.fp8.layers=projection").config
    assert fp8_flops_per_token(config, sizing.size(config)) == 6 * 512 * 128


def test_what_fp8_keeps_for_the_backward_pass_is_what_the_plan_counts() -> None:
    """The rounded weights, and an input of each layer, by what autograd saves."""
    tokens = torch.randint(0, 512, (8, 64), generator=torch.Generator().manual_seed(0))
    for scaling in ("tensorwise", "rowwise"):
        one = engine(Fp8Backend.emulated, "fp8", f"precision.fp8.scaling={scaling}")
        saved: list[torch.Tensor] = []

        def keep(tensor: torch.Tensor, saved: list[torch.Tensor] = saved) -> torch.Tensor:
            saved.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            one.model.training_loss(tokens, tokens)
        rounded = [tensor for tensor in saved if tensor.dtype is torch.float8_e4m3fn]
        matrices = [p for name, p in one.model.named_parameters() if "blocks" in name and min(p.shape) >= 128]
        assert len(matrices) == 12
        assert sum(tensor.numel() for tensor in rounded) == sum(
            matrix.numel() + tokens.numel() * matrix.size(1) for matrix in matrices
        )


@pytest.mark.slow
def test_a_run_in_fp8_says_what_it_did(session: Session, tmp_path: Path) -> None:
    record = run(session, tiny(*FP8), tmp_path)
    assert record.state is RunState.complete
    assert record.resolved.dtype == "fp8"
    assert record.resolved.fp8.backend == "emulated" and record.resolved.fp8.num_layers == 13
    assert "no FP8 units" in record.resolved.fp8.reason
    assert "bf16" in record.resolved.peak_flops_source  # what carried the emulation
    assert "mfu_fp8" not in record.results
    first, *_, last = losses(tiny(*FP8), tmp_path)
    assert last < first
    log = folder(tiny(*FP8), tmp_path).log_path.read_text()
    assert "fp8 (precision.dtype=fp8, 13 layers emulated" in log and "attention sdpa" in log


@pytest.mark.slow
def test_native_fp8_that_is_not_compiled_is_refused(session: Session, tmp_path: Path) -> None:
    native = (*FP8, "precision.fp8.backend=native", "horizon.num_steps=2")
    record = run(session, tiny(*native), tmp_path)
    assert record.failure_class is FailureClass.bad_config
    assert "trainer.compile=false" in (record.failure_message or "")
    asked = tiny(*native, "precision.fp8.allow_eager=true")
    record = run(session, asked, tmp_path)
    assert record.state is RunState.complete and record.resolved.fp8.backend == "native"
    assert {"mfu", "mfu_fp8", "mfu_rest"} <= record.results.keys()
    assert record.results["mfu_fp8"] is None  # a CPU has no peak in FP8


@pytest.mark.slow
def test_fp16_keeps_its_tables_in_fp32_and_its_scale_over_a_stop(session: Session, tmp_path: Path) -> None:
    plan = tiny("precision.dtype=fp16", *SMALL)
    whole = run(session, plan, tmp_path / "whole")
    assert whole.state is RunState.complete and whole.resolved.dtype == "fp16"
    assert session._bench.engine is not None and session._bench.engine.scaler is not None
    assert {p.dtype for p in session._bench.engine.model.parameters()} == {torch.float32}
    rows = [row for row in folder(plan, tmp_path / "whole").metrics() if "loss_scale" in row]
    skipped = whole.results["num_skipped_steps"]
    assert rows[-1]["loss_scale"] == 2.0 ** (16 - skipped)
    in_fp32 = tiny(*SMALL)
    run(session, in_fp32, tmp_path)
    assert losses(plan, tmp_path / "whole")[0] == pytest.approx(losses(in_fp32, tmp_path)[0], rel=1e-3)

    halted = run(session, plan, tmp_path / "parts", should_stop=stop_after(5))
    assert halted.state is RunState.preempted
    run(Session(), plan, tmp_path / "parts", attempt=2)
    assert losses(plan, tmp_path / "parts") == losses(plan, tmp_path / "whole")


def test_fp16_skips_a_step_that_overflows_and_gives_up_when_all_do(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny("precision.dtype=fp16", *SMALL, "horizon.num_steps=20")
    before: list[torch.Tensor] = []
    original = Engine.backward

    def overflow(self: Engine, *args: object, **given: object) -> torch.Tensor:
        before.append(self.model.lm_head.weight.detach().clone())
        loss = original(self, *args, **given)
        assert self.model.lm_head.weight.grad is not None
        self.model.lm_head.weight.grad[0, 0] = torch.inf
        return loss

    set_step, updates = AdamWGroup.set_step, set()

    def count(self: AdamWGroup, now: Now) -> None:
        updates.add(now.num_updates)
        set_step(self, now)

    monkeypatch.setattr(Engine, "backward", overflow)
    monkeypatch.setattr(AdamWGroup, "set_step", count)
    record = run(session, plan, tmp_path)
    assert record.state is RunState.diverged and "loss scale below 1" in (record.failure_message or "")
    assert record.results["num_skipped_steps"] == 17  # from 2^16 to 2^-1
    assert all(torch.equal(weights, before[-1]) for weights in before[2:])
    assert updates == {0}  # it would have been the first
