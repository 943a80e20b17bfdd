"""The dtype policy: one compute dtype for the whole run, chosen once, with a reason to record.

There is no autocast. Master weights are fp32, a Linear casts its weight to its input's dtype, and
embedding tables live in the compute dtype (under fp16 in fp32, because the loss scaler takes fp32 gradients).
"auto" means bf16 where the device multiplies bf16 natively, else fp32. fp8 means bf16, with the large matrix
products in FP8 while training. ``SWEEPKIT_DTYPE=bf16|fp16|fp32`` overrides whatever was asked for, fp8
included, which is how one hunts a NaN in fp32 without touching a configuration.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from sweepkit.config.choices import Dtype, Fp8Backend
from sweepkit.config.dtype_override import ENVIRONMENT_VARIABLE, dtype_override
from sweepkit.config.schema import Fp8Config, PrecisionConfig
from sweepkit.errors import ConfigError, invalid

# Linux names of "this CPU multiplies bf16": AVX-512 and AMX on x86, the bf16 extension on Arm.
_CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
#: Holds the flags to go by instead of the CPU's own, to try what runs do on another kind of CPU.
CPU_FLAGS_VARIABLE = "SWEEPKIT_CPU_FLAGS"
_MIN_CUDA_CAPABILITY = (8, 0)  # Ampere, the first with bf16 tensor cores
_MIN_FP8_CAPABILITY = (8, 9)  # Ada, the first with FP8 tensor cores
_MIN_MPS_MACOS = 14  # the first whose Metal kernels take bf16

_TORCH_DTYPES = {
    Dtype.bf16: torch.bfloat16,
    Dtype.fp16: torch.float16,
    Dtype.fp32: torch.float32,
    Dtype.fp8: torch.bfloat16,
}


@dataclass(frozen=True)
class Precision:
    """What a run computes in, and why.

    Attributes:
        dtype: bf16, fp16, fp32 or fp8, never auto.
        compute_dtype: of activations; under fp8 of all that is not multiplied in FP8, and of evaluation.
        reason: for ``dtype``, in words.
        fp8: native or emulated; None when ``dtype`` is not fp8.
        fp8_reason: for ``fp8``.
    """

    dtype: Dtype
    compute_dtype: torch.dtype
    reason: str
    fp8: Fp8Backend | None = None
    fp8_reason: str = ""


def resolve(request: PrecisionConfig, device: torch.device) -> Precision:
    """Choose the precision of a run on ``device``.

    Args:
        request: what the plan asks for; ``auto`` leaves it to the device.
        device: where the run computes.

    Raises:
        ConfigError: the environment variable holds something other than bf16, fp16 or fp32, or FP8, or native
            FP8, is asked for where there is none.
    """
    dtype, reason = dtype_override(), ""
    if dtype is not None:
        reason = f"{ENVIRONMENT_VARIABLE}={dtype.name}"
    elif request.dtype is not Dtype.auto:
        dtype, reason = request.dtype, f"precision.dtype={request.dtype.name}"
    else:
        native, why = native_bf16(device)
        dtype, reason = Dtype.bf16 if native else Dtype.fp32, f"auto: {why}"
    if dtype is not Dtype.fp8:
        return Precision(dtype, _TORCH_DTYPES[dtype], reason)
    return Precision(dtype, _TORCH_DTYPES[dtype], reason, *fp8_backend(request.fp8, device))


def refuse_slow_fp8(precision: Precision, rule: Fp8Config, no_compile: str | None) -> None:
    """Native FP8 without torch.compile is slower than bf16: not unless it is asked for.

    Args:
        no_compile: why the run is not compiled; None when it is.

    Raises:
        ConfigError: it is not compiled, and nobody asked for that.
    """
    if precision.fp8 is Fp8Backend.native and no_compile is not None and not rule.allow_eager:
        raise ConfigError(
            f"precision.fp8.backend is native ({precision.fp8_reason}) and the run is not compiled "
            f"({no_compile}), but must be: scaling that is not fused makes FP8 about 4 times slower; "
            "compile, use precision=bf16, or ask for it with precision.fp8.allow_eager=true"
        )


def native_fp8(device: torch.device) -> tuple[bool, str]:
    """Whether ``device`` multiplies FP8 in hardware, and the fact that says so."""
    if device.type != "cuda":
        return False, f"{device.type} has no FP8 units"
    if torch.version.hip is not None:
        return False, "ROCm devices are not supported: their FP8 formats differ"
    return _cuda_has(device, _MIN_FP8_CAPABILITY, "FP8")


def possible_fp8(device: torch.device) -> tuple[Fp8Backend | None, str]:
    """What would multiply FP8 on ``device``, and why; None where nothing can."""
    if device.type == "mps":
        return None, "torch has no FP8 numbers on Metal"
    native, why = native_fp8(device)
    return Fp8Backend.native if native else Fp8Backend.emulated, why


def fp8_backend(rule: Fp8Config, device: torch.device) -> tuple[Fp8Backend, str]:
    """What multiplies FP8 on ``device``, and why.

    Raises:
        ConfigError: there is no FP8, or native is asked for where there is none.
    """
    possible, why = possible_fp8(device)
    if possible is None:
        raise invalid("precision.dtype", "fp8", f"run where there is FP8 ({why})", "use trainer.device=cpu")
    if rule.backend is Fp8Backend.emulated:
        return rule.backend, "precision.fp8.backend=emulated"
    if rule.backend is Fp8Backend.auto:
        return possible, f"auto: {why}"
    # torch has a CPU kernel: slow, but it is the same code
    if possible is not Fp8Backend.native and device.type != "cpu":
        contract = f"run on a device with FP8 units ({why})"
        raise invalid("precision.fp8.backend", "native", contract, "use auto or emulated")
    return Fp8Backend.native, "precision.fp8.backend=native"


def native_bf16(device: torch.device) -> tuple[bool, str]:
    """Whether ``device`` multiplies bf16 in hardware, and the fact that says so."""
    if device.type == "cuda":
        return _cuda_has(device, _MIN_CUDA_CAPABILITY, "bf16")
    if device.type == "mps":
        if torch.backends.mps.is_macos_or_newer(_MIN_MPS_MACOS, 0):
            return True, f"Metal has bf16 from macOS {_MIN_MPS_MACOS} on"
        return False, f"Metal has bf16 only from macOS {_MIN_MPS_MACOS} on"
    flag = next((flag for flag in _CPU_FLAGS if flag in _cpu_flags()), None)
    if flag is None:
        return False, f"this CPU ({platform.machine()}) has no native bf16"
    return True, f"the CPU has {flag}"


def _cuda_has(device: torch.device, first: tuple[int, int], what: str) -> tuple[bool, str]:
    """Whether the GPU's compute capability is at least ``first``, the first with ``what``."""
    capability = torch.cuda.get_device_capability(device)
    has = capability >= first
    found = ".".join(map(str, capability))
    return has, (
        f"{torch.cuda.get_device_name(device)} is SM {found}, "
        f"{what} {'' if has else 'only '}from SM {'.'.join(map(str, first))} on"
    )


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction set flags of the first core; empty where the kernel does not list them."""
    if pretended := os.environ.get(CPU_FLAGS_VARIABLE):
        return frozenset(pretended.split())
    try:
        text = path.read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
