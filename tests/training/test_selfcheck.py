"""The self-checks pass where all is right and fail where something is not; the step is timed as it is run."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from training_runs import tiny

from sweepkit.config.choices import AttentionBackend, Fp8Backend
from sweepkit.model import attend
from sweepkit.optim.adamw import AdamWGroup
from sweepkit.optim.muon import muon_step
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision import fp8
from sweepkit.training import selfcheck, step_speed
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.throughput import Peak, Utilisation

CPU = torch.device("cpu")


def performed(
    dtype: torch.dtype = torch.bfloat16, backend: Fp8Backend = Fp8Backend.emulated
) -> dict[str, bool]:
    checks = selfcheck.checks(CPU, dtype, backend, compiled=False)
    return {check.name: selfcheck.perform(check).passed for check in checks}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_is_right_here(dtype: torch.dtype) -> None:
    for backend in (Fp8Backend.emulated, Fp8Backend.native):
        found = performed(dtype, backend)
        assert all(found.values()), found
        assert {"attention sdpa", "attention banded", f"FP8 linear, rowwise, {backend.name}"} <= found.keys()


def test_a_window_that_is_one_too_wide_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = attend.band

    def wide(queries: int, keys: int, window: int, offset: int, dtype: torch.dtype) -> Tensor:
        return right(queries, keys, window + 1, offset, dtype)

    monkeypatch.setattr(attend, "band", wide)
    found = performed()
    assert [name for name, passed in found.items() if not passed] == ["attention sdpa", "attention banded"]


def test_a_gradient_in_the_wrong_format_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if gradients were rounded without their scale: they all become zero."""
    monkeypatch.setattr(fp8, "quantize", lambda x, dtype, *_: (x.to(dtype), torch.full((), 2.0)))
    found = performed()
    assert not found["FP8 linear, tensorwise, emulated"] and not found["FP8 projection, tensorwise, emulated"]


def test_an_optimizer_that_goes_astray_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert selfcheck._muon(muon_step, CPU, torch.bfloat16) == 0

    def astray(weight: Tensor, *others: object) -> None:
        muon_step(weight, *others)  # type: ignore[arg-type]
        weight[1] *= 1.1

    assert selfcheck._muon(astray, CPU, torch.bfloat16) > 0.03
    set_step = AdamWGroup.set_step
    later = lambda self, now: set_step(self, now._replace(num_updates=now.num_updates + 1))  # noqa: E731
    monkeypatch.setattr(AdamWGroup, "set_step", later)
    assert not performed()["AdamW"]


def test_references_are_computed_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metal has no fp64."""
    to_cpu, to_fp64 = Tensor.cpu, Tensor.double

    def cpu(self: Tensor) -> Tensor:
        copy = to_cpu(self).clone()
        copy.on_cpu = True  # type: ignore[attr-defined]
        return copy

    def double(self: Tensor) -> Tensor:
        if self.dtype is not torch.float64 and not getattr(self, "on_cpu", False):
            raise TypeError("cannot convert a tensor of Metal to float64")
        return to_fp64(self)

    monkeypatch.setattr(Tensor, "cpu", cpu)
    monkeypatch.setattr(Tensor, "double", double)
    found = performed()
    assert all(found.values()), found


def test_what_raises_or_is_not_a_number_has_failed() -> None:
    def broken() -> float:
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    raised = selfcheck.perform(selfcheck.Check("x", "y", 1.0, broken))
    assert not raised.passed and raised.error is None
    assert raised.problem == "RuntimeError: no kernel image is available"
    nan = selfcheck.perform(selfcheck.Check("x", "y", 1.0, lambda: float("nan")))
    assert not nan.passed


def test_a_planned_step_is_timed_with_as_many_rows_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny("horizon.device_batch_size=8", "horizon.sequence_len=32", "horizon.total_batch_size=512")
    key = EngineKey("", CPU, torch.float32, 1, False)
    measure, tried = step_speed._measure, []

    def small_memory(plan, *args):  # type: ignore[no-untyped-def]
        tried.append(plan.device_batch_size)
        if plan.device_batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return measure(plan, *args)

    monkeypatch.setattr(step_speed, "_measure", small_memory)
    found = step_speed.measure(plan, key, Utilisation(plan.flops_per_token, Peak(1e12, "a peak")))
    assert tried == [8, 4, 2] and found.device_batch_size == 2
    assert found.tokens_per_s == pytest.approx(512 / found.step_time_s)
    assert found.mfu["mfu"] == pytest.approx(found.tokens_per_s * plan.flops_per_token / 1e12)
    assert "a peak" in found.shown and 0 < found.peak_memory_gib < 20


@pytest.mark.slow
def test_under_a_batch_ramp_a_planned_step_has_its_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that takes 1 s, by a clock that nothing else moves: [4, 2, 1] are 28 updates in 12 steps."""
    clock = [0.0]
    monkeypatch.setattr(step_speed.time, "perf_counter", lambda: clock[0])
    step = Engine.step

    def slow(self: Engine, plan: RunPlan) -> dict[str, float]:
        clock[0] += 1
        return step(self, plan)

    monkeypatch.setattr(Engine, "step", slow)
    small = ("horizon.device_batch_size=1", "horizon.sequence_len=32", "horizon.total_batch_size=128")
    for ramp, expected in (("[1]", 1), ("[4,2,1]", 28 / 12), ("[2]", 2)):
        plan = tiny(*small, f"schedule.batch_ramp={ramp}")
        found = step_speed.measure(
            plan, EngineKey("", CPU, torch.float32, 1, False), Utilisation(1, Peak(1.0, ""))
        )
        assert found.step_time_s == pytest.approx(expected)


def test_only_what_runs_here_is_checked() -> None:
    assert AttentionBackend.flash3 not in selfcheck.attention_backends(CPU, torch.bfloat16)
