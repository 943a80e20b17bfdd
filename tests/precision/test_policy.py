"""Which dtype a run computes in, and the reason it gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sweepkit.config.schema import Dtype
from sweepkit.errors import ConfigError
from sweepkit.precision import policy

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(policy.ENVIRONMENT_VARIABLE, raising=False)


@pytest.mark.parametrize("request_", [Dtype.bf16, Dtype.fp32])
def test_what_is_asked_for_is_taken(request_: Dtype) -> None:
    chosen = policy.resolve(request_, CPU)
    assert chosen.compute_dtype == {Dtype.bf16: torch.bfloat16, Dtype.fp32: torch.float32}[request_]
    assert chosen.reason == f"precision.dtype={request_.name}"


@pytest.mark.parametrize(("value", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_environment_overrides(monkeypatch: pytest.MonkeyPatch, value: str, dtype: torch.dtype) -> None:
    monkeypatch.setenv(policy.ENVIRONMENT_VARIABLE, value)
    for request in Dtype:
        chosen = policy.resolve(request, CPU)
        assert chosen.compute_dtype == dtype
        assert chosen.reason == f"SWEEPKIT_DTYPE={value}"


@pytest.mark.parametrize("value", ["auto", "fp16", "BF16", "bfloat16"])
def test_a_bad_override_says_what_is_allowed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(policy.ENVIRONMENT_VARIABLE, value)
    with pytest.raises(ConfigError, match=rf"SWEEPKIT_DTYPE is '{value}', but must be bf16 or fp32"):
        policy.resolve(Dtype.auto, CPU)


@pytest.mark.parametrize(
    ("cpuinfo", "dtype", "reason"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16\n", torch.bfloat16, "auto: the CPU has avx512_bf16"),
        ("flags\t\t: fpu avx2\n", torch.float32, "has no native bf16"),
        ("Features\t: fp asimd bf16 i8mm\n", torch.bfloat16, "auto: the CPU has bf16"),
        ("model name : a bf16 thing\n", torch.float32, "has no native bf16"),
        (None, torch.float32, "has no native bf16"),
    ],
)
def test_auto_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str | None, dtype: torch.dtype, reason: str
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(f"processor\t: 0\n{cpuinfo}")
    flags = policy._cpu_flags(path)
    monkeypatch.setattr(policy, "_cpu_flags", lambda: flags)
    chosen = policy.resolve(Dtype.auto, CPU)
    assert chosen.compute_dtype == dtype
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16), ((12, 0), torch.bfloat16)],
)
def test_auto_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    chosen = policy.resolve(Dtype.auto, CUDA)
    assert chosen.compute_dtype == dtype
    assert f"Some GPU is SM {capability[0]}.{capability[1]}" in chosen.reason


@pytest.mark.parametrize(("new", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_metal(monkeypatch: pytest.MonkeyPatch, new: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: new)
    assert policy.resolve(Dtype.auto, torch.device("mps")).compute_dtype == dtype
