"""Which dtype a run computes in, and the reason it gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sweepkit.config.choices import Dtype, Fp8Backend
from sweepkit.config.schema import Fp8Config, PrecisionConfig
from sweepkit.errors import ConfigError
from sweepkit.precision import policy
from sweepkit.training import selfcheck

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
DTYPES = {Dtype.bf16: torch.bfloat16, Dtype.fp16: torch.float16, Dtype.fp32: torch.float32}


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(policy.ENVIRONMENT_VARIABLE, raising=False)


@pytest.mark.parametrize("request_", DTYPES)
def test_what_is_asked_for_is_taken(request_: Dtype) -> None:
    chosen = policy.resolve(PrecisionConfig(request_), CPU)
    assert chosen.compute_dtype == DTYPES[request_] and chosen.dtype is request_ and chosen.fp8 is None
    assert chosen.reason == f"precision.dtype={request_.name}"


@pytest.mark.parametrize(
    ("value", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_the_environment_overrides(monkeypatch: pytest.MonkeyPatch, value: str, dtype: torch.dtype) -> None:
    monkeypatch.setenv(policy.ENVIRONMENT_VARIABLE, value)
    for request in Dtype:
        chosen = policy.resolve(PrecisionConfig(request), CPU)
        assert chosen.compute_dtype == dtype
        assert chosen.reason == f"SWEEPKIT_DTYPE={value}" and chosen.fp8 is None


@pytest.mark.parametrize("value", ["auto", "fp8", "BF16", "bfloat16"])
def test_a_bad_override_says_what_is_allowed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(policy.ENVIRONMENT_VARIABLE, value)
    with pytest.raises(ConfigError, match=rf"SWEEPKIT_DTYPE is '{value}', but must be bf16, fp16 or fp32"):
        policy.resolve(PrecisionConfig(), CPU)


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
    monkeypatch.delenv(policy.CPU_FLAGS_VARIABLE, raising=False)
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(f"processor\t: 0\n{cpuinfo}")
    flags = policy._cpu_flags(path)
    monkeypatch.setattr(policy, "_cpu_flags", lambda: flags)
    chosen = policy.resolve(PrecisionConfig(), CPU)
    assert chosen.compute_dtype == dtype
    assert reason in chosen.reason


@pytest.mark.parametrize(("flags", "dtype"), [("avx2 fma", torch.float32), ("amx_bf16", torch.bfloat16)])
def test_another_kind_of_cpu_can_be_tried(
    monkeypatch: pytest.MonkeyPatch, flags: str, dtype: torch.dtype
) -> None:
    monkeypatch.setenv("SWEEPKIT_CPU_FLAGS", flags)
    assert policy.resolve(PrecisionConfig(), CPU).compute_dtype == dtype


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16), ((12, 0), torch.bfloat16)],
)
def test_auto_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    chosen = policy.resolve(PrecisionConfig(), CUDA)
    assert chosen.compute_dtype == dtype
    assert f"Some GPU is SM {capability[0]}.{capability[1]}" in chosen.reason


@pytest.mark.parametrize(("new", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_metal(monkeypatch: pytest.MonkeyPatch, new: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: new)
    assert policy.resolve(PrecisionConfig(), torch.device("mps")).compute_dtype == dtype


def gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")


@pytest.mark.parametrize(
    ("capability", "backend"),
    [((8, 0), "emulated"), ((8, 6), "emulated"), ((8, 9), "native"), ((9, 0), "native"), ((12, 0), "native")],
)
def test_fp8_is_native_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], backend: str
) -> None:
    gpu(monkeypatch, capability)
    chosen = policy.resolve(PrecisionConfig(Dtype.fp8), CUDA)
    assert chosen.dtype is Dtype.fp8 and chosen.compute_dtype is torch.bfloat16
    assert chosen.fp8 is Fp8Backend[backend] and f"SM {capability[0]}.{capability[1]}" in chosen.fp8_reason


def test_fp8_elsewhere_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.resolve(PrecisionConfig(Dtype.fp8), CPU).fp8 is Fp8Backend.emulated
    gpu(monkeypatch, (9, 4))
    monkeypatch.setattr(torch.version, "hip", "7.0")
    chosen = policy.resolve(PrecisionConfig(Dtype.fp8), CUDA)
    assert chosen.fp8 is Fp8Backend.emulated and "ROCm" in chosen.fp8_reason


def test_fp8_on_metal_is_refused() -> None:
    metal = torch.device("mps")
    with pytest.raises(ConfigError, match=r"precision.dtype is 'fp8'.*no FP8 numbers on Metal.*device=cpu"):
        policy.resolve(PrecisionConfig(Dtype.fp8), metal)
    assert policy.possible_fp8(metal)[0] is None
    names = [check.name for check in selfcheck.checks(metal, torch.bfloat16, None, compiled=False)]
    assert names and not any("FP8" in name for name in names)


def test_the_fp8_backend_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, (9, 0))
    emulated = PrecisionConfig(Dtype.fp8, Fp8Config(backend=Fp8Backend.emulated))
    assert policy.resolve(emulated, CUDA).fp8 is Fp8Backend.emulated
    native = PrecisionConfig(Dtype.fp8, Fp8Config(backend=Fp8Backend.native))
    assert policy.resolve(native, CPU).fp8 is Fp8Backend.native  # torch has a kernel for it
    gpu(monkeypatch, (8, 0))
    with pytest.raises(ConfigError, match=r"precision.fp8.backend is 'native'.*SM 8.0.*use auto or emulated"):
        policy.resolve(native, CUDA)


def test_native_fp8_without_the_compiler_is_refused_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, (9, 0))
    chosen = policy.resolve(PrecisionConfig(Dtype.fp8), CUDA)
    policy.refuse_slow_fp8(chosen, Fp8Config(), None)
    policy.refuse_slow_fp8(chosen, Fp8Config(allow_eager=True), "trainer.compile=false")
    with pytest.raises(ConfigError, match=r"trainer.compile=false.*4 times slower.*allow_eager=true"):
        policy.refuse_slow_fp8(chosen, Fp8Config(), "trainer.compile=false")
    emulated = policy.resolve(PrecisionConfig(Dtype.fp8), CPU)
    policy.refuse_slow_fp8(emulated, Fp8Config(), "trainer.compile=false")
