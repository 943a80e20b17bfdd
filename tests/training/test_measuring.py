"""Bits per byte, MFU, clocks, diagnostics, fingerprints: against direct computation."""

from __future__ import annotations

import math
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import run, tiny

from sweepkit.config import typed
from sweepkit.config.choices import Device
from sweepkit.data.prepare import prepare
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import ConfigError, DataError, DiskFullError, ImpossibleError, StorageError
from sweepkit.precision import policy
from sweepkit.results.conditions import Fp8, Resolved
from sweepkit.results.record import FailureClass, RunState
from sweepkit.training import device, environment, throughput
from sweepkit.training.clock import Clock
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.evaluation import bits_per_byte, evaluate
from sweepkit.training.failure import Stopped, classify
from sweepkit.training.prefetch import Prefetcher
from sweepkit.training.session import Session
from sweepkit.training.throughput import Peak, Utilisation


def test_bits_per_byte_equal_a_direct_computation_over_the_text() -> None:
    plan = tiny()
    data = prepare(plan.config)
    engine = Engine(plan, EngineKey(plan.compile_key, torch.device("cpu"), torch.float32, 1, False))
    engine.renew(plan)
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    stream = data.streams[0]
    ids = torch.from_numpy(stream.tokens.tokens[:].astype(np.int64))
    nats, num_bytes = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, plan.sequence_len):  # rows that do not overlap, one at a time
            row = ids[start : start + plan.sequence_len + 1]
            log_p = engine.model(row[None, :-1]).double().log_softmax(-1)[0]
            for position, target in enumerate(row[1:].tolist()):
                if target != data.tokenizer.bos_id:
                    nats -= log_p[position, target].item()
                    num_bytes += len(data.tokenizer.tokens[target])
    assert num_bytes == stream.num_bytes
    direct = nats / (math.log(2) * num_bytes)
    for rows in (1, 3, 8):
        found = bits_per_byte(engine, stream, data.tokenizer, rows, lambda: False)
        assert found == pytest.approx(direct, rel=1e-5)
    both = evaluate(engine, data.streams, data.tokenizer, 8, lambda: False)
    assert list(both) == ["val_bpb", "bpb_validation", "bpb_probe"]
    assert both["val_bpb"] == both["bpb_validation"]
    with pytest.raises(Stopped):
        evaluate(engine, data.streams, data.tokenizer, 8, lambda: True)


def test_mfu_is_achieved_over_peak_and_unknown_without_a_peak() -> None:
    bf16 = Peak(989e12, "H100 bf16")
    assert Utilisation(6e9, bf16).mfu(1e5) == {"mfu": pytest.approx(6e14 / 989e12)}
    assert Utilisation(6e9, Peak(None, "")).mfu(1e5) == {"mfu": None}
    assert Utilisation(6e9, bf16).mfu(None) == {"mfu": None}


def test_mfu_under_fp8_is_a_split() -> None:
    """At the speed at which both units are always busy it is 1, and each part is its share of the time."""
    bf16, fp8 = Peak(1e15, "X bf16"), Peak(2e15, "X fp8")
    both = Utilisation(6e9, bf16, fp8_flops_per_token=4e9, fp8_peak=fp8)
    seconds = 4e9 / 2e15 + 2e9 / 1e15
    assert both.mfu(1 / seconds) == pytest.approx({"mfu": 1.0, "mfu_fp8": 0.5, "mfu_rest": 0.5})
    assert both.shown(0.4 / seconds) == (
        "MFU 40.0%: 67% of the FLOPs in FP8 at 20.0% of X fp8, the rest at 20.0% of X bf16"
    )
    unknown = Utilisation(6e9, bf16, 4e9, Peak(None, "no figure")).mfu(1e5)
    assert unknown["mfu"] is None and unknown["mfu_fp8"] is None and unknown["mfu_rest"] is not None


@pytest.mark.parametrize(
    ("dtype", "peaks"),
    [("bf16", (989.4e12, None)), ("fp16", (989.4e12, None)), ("fp8", (989.4e12, 1978.9e12))],
)
def test_mfu_is_held_against_the_dtype_that_ran(
    monkeypatch: pytest.MonkeyPatch, dtype: str, peaks: tuple[float, float | None]
) -> None:
    monkeypatch.setattr(device, "name", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    plan, cuda = tiny(f"precision.dtype={dtype}", "model.aspect_ratio=64"), torch.device("cuda")
    precision = policy.resolve(plan.config.precision, cuda)
    found = throughput.utilisation(plan, precision, cuda)
    assert (found.peak.flops, found.fp8_peak and found.fp8_peak.flops) == pytest.approx(peaks)
    assert (found.fp8_flops_per_token > 0) == (dtype == "fp8")
    assert found.flops_per_token == plan.flops_per_token


def test_a_renewed_engine_never_holds_two_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny()
    engine = Engine(plan, EngineKey(plan.compile_key, torch.device("cpu"), torch.float32, 1, False))
    old, make = weakref.ref(engine.optimizer), Engine._new_optimizer
    alive: list[object] = []
    monkeypatch.setattr(Engine, "_new_optimizer", lambda *args: alive.append(old()) or make(*args))
    engine.renew(plan)
    assert alive == [None]


def test_a_gpus_peak_comes_from_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(device, "name", lambda _: "NVIDIA H100 80GB HBM3")
    assert throughput.peak(cuda, torch.bfloat16).flops == pytest.approx(989.4e12)
    monkeypatch.setattr(device, "name", lambda _: "Some GPU")
    unknown = throughput.peak(cuda, torch.bfloat16)
    assert unknown.flops is None and "Some GPU" in unknown.source


def test_results_of_a_run_agree_with_its_rows(session: Session, tmp_path: Path) -> None:
    plan = tiny("horizon.num_steps=30")
    results = run(session, plan, tmp_path).results
    assert results["num_timed_steps"] == 20  # from step 11 on
    assert results["tokens_per_s"] == pytest.approx(20 * plan.total_batch_size / results["train_time_s"])
    assert results["total_flops"] == plan.total_flops
    assert 0.01 < results["peak_memory_gib"] < 20
    assert 0 < results["mfu"] < 1


@pytest.mark.slow
def test_peak_memory_is_the_runs_own_whatever_its_worker_ran_before(session: Session, tmp_path: Path) -> None:
    small, large = (
        tiny("horizon.num_steps=4"),
        tiny("horizon.num_steps=4", "model.aspect_ratio=256", "seed=3"),
    )
    run(session, small, tmp_path / "loads what a process loads once")
    first = run(session, small, tmp_path / "a").results["peak_memory_gib"]
    between = run(session, large, tmp_path / "b").results["peak_memory_gib"]
    again = run(session, small, tmp_path / "c").results["peak_memory_gib"]
    assert again == pytest.approx(first, abs=0.015)
    assert between > first + 0.05


def test_clocks_skip_the_first_steps_and_survive_json() -> None:
    clock = Clock(num_steps=30)
    for step in range(1, 31):
        clock.add_step(step, 100.0 if step <= 10 else 2.0)
    assert clock.train_time_s == 40.0 and clock.median_step_time_s == 2.0
    assert typed.load(Clock, typed.dump(clock)) == clock
    assert Clock(num_steps=4).num_skipped == 2
    assert Clock(num_steps=4).median_step_time_s is None


def test_the_fingerprint_follows_what_matters_only() -> None:
    found = environment.describe(torch.device("cpu"))
    resolved = Resolved(device="cpu", dtype="fp32", is_compiled=True, num_threads=1)
    same = replace(found, host="elsewhere", git_commit="f" * 40, concurrency=3)
    assert environment.fingerprint(found, resolved) == environment.fingerprint(same, resolved)
    for other in (
        replace(resolved, dtype="bf16"),
        replace(resolved, num_threads=2),
        replace(resolved, is_compiled=False),
        replace(resolved, attention="banded"),
        replace(resolved, fp8=Fp8("native")),
    ):
        assert environment.fingerprint(found, other) != environment.fingerprint(found, resolved)


def test_the_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")
    assert "s3cret" not in str(environment.describe(torch.device("cpu")))


def test_a_gpu_is_named_by_its_number_and_the_prefetching_thread_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on rank 3 of a machine: the current GPU of a new thread would be the first."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    chosen = device.choose(Device.auto)
    assert chosen == device.choose(Device.cuda) == torch.device("cuda", 3)
    used: list[tuple[str, torch.device]] = []
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda gpu: used.append((threading.current_thread().name, gpu))
    )
    plan = tiny()
    loader = prepare(plan.config).train(1, plan.total_batch_size, plan.sequence_len)
    monkeypatch.setattr(loader, "batch", lambda *_: pytest.fail("the thread is there"))
    with (
        pytest.raises(pytest.fail.Exception),
        Prefetcher(loader, 0, plan.num_steps, plan.device_batch_size, chosen, Ranks()) as batches,
    ):
        batches.take()
    assert used == [("prefetch_0", chosen)]


def test_ranks_that_share_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    current = iter((0, 1, 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: next(current))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda gpu: SimpleNamespace(uuid=("a", "b")[gpu.index])
    )
    said: list[object] = []
    ranks: Any = SimpleNamespace(words=lambda own: said.append(own) or said)
    for index in range(2):
        assert device.choose(Device.cuda, ranks) == torch.device("cuda", index)
    with pytest.raises(ConfigError, match=r"ranks 0, 2 of this run share a GPU, but must have one each"):
        device.choose(Device.cuda, ranks)
    ranks.words = lambda own: [own, own]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="ranks 0, 1 of this run share a GPU"):
        device.choose(Device.mps, ranks)
    assert device.choose(Device.cpu, ranks).type == "cpu"


def test_a_device_that_is_not_there_is_an_error_with_a_remedy() -> None:
    assert device.choose(Device.cpu).type == "cpu"
    assert device.choose(Device.auto).type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"trainer.device is 'cuda'.*trainer.device=auto"):
            device.choose(Device.cuda)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), FailureClass.oom),
        (MemoryError(), FailureClass.oom),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            FailureClass.oom,
        ),
        (DataError("no text"), FailureClass.bad_data),
        (ConfigError("no"), FailureClass.bad_config),
        (ImpossibleError("too little text"), FailureClass.impossible),
        (DiskFullError("full"), FailureClass.disk_full),
        (StorageError("it fails"), FailureClass.storage),
        (OSError(5, "Input/output error"), FailureClass.storage),
        (PermissionError(13, "Permission denied", "x"), FailureClass.storage),
        (OSError(28, "No space left on device"), FailureClass.disk_full),
        (RuntimeError("shape mismatch"), FailureClass.crash),
    ],
)
def test_failures_have_classes(error: Exception, expected: FailureClass) -> None:
    state, found, message = classify(error)
    assert (state, found) == (RunState.failed, expected) and message


def test_init_seed_decides_the_weights_alone() -> None:
    engine = Engine(tiny(), EngineKey("", torch.device("cpu"), torch.float32, 1, False))

    def weights(*overrides: str) -> dict[str, torch.Tensor]:
        engine.renew(tiny(*overrides))
        return {name: value.detach().clone() for name, value in engine.model.named_parameters()}

    plain, other = weights(), weights("init_seed=7")
    assert any(not torch.equal(plain[name], other[name]) for name in plain)
    for same in (weights("seed=7"), weights("seed=2", "init_seed=7")):
        assert all(torch.equal(same[name], other[name]) for name in other)
    assert tiny("init_seed=7").pair_key == tiny().pair_key
