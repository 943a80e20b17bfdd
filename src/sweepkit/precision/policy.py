"""The dtype policy: one compute dtype for the whole run, chosen once, with a reason to record.

There is no autocast. Master weights are fp32, a Linear casts its weight to its input's dtype, and
embedding tables live in the compute dtype. "auto" means bf16 where the device multiplies bf16
natively, else fp32. ``SWEEPKIT_DTYPE=bf16|fp32`` overrides whatever was asked for, which is how one
hunts a NaN in fp32 without touching a configuration.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from sweepkit.config.dtype_override import ENVIRONMENT_VARIABLE, dtype_override
from sweepkit.config.schema import Dtype

# Linux names of "this CPU multiplies bf16": AVX-512 and AMX on x86, the bf16 extension on Arm.
_CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
_MIN_CUDA_CAPABILITY = (8, 0)  # Ampere, the first with bf16 tensor cores
_MIN_MPS_MACOS = 14  # the first whose Metal kernels take bf16

_TORCH_DTYPES = {Dtype.bf16: torch.bfloat16, Dtype.fp32: torch.float32}


@dataclass(frozen=True)
class Precision:
    """What a run computes in, and why."""

    compute_dtype: torch.dtype
    reason: str


def resolve(request: Dtype, device: torch.device) -> Precision:
    """Choose the compute dtype of a run on ``device``.

    Args:
        request: what the plan asks for; ``auto`` leaves it to the device.
        device: where the run computes.

    Raises:
        ConfigError: the environment variable holds something other than bf16 or fp32.
    """
    override = dtype_override()
    if override is not None:
        return Precision(_TORCH_DTYPES[override], f"{ENVIRONMENT_VARIABLE}={override.name}")
    if request is not Dtype.auto:
        return Precision(_TORCH_DTYPES[request], f"precision.dtype={request.name}")
    native, why = native_bf16(device)
    return Precision(torch.bfloat16 if native else torch.float32, f"auto: {why}")


def native_bf16(device: torch.device) -> tuple[bool, str]:
    """Whether ``device`` multiplies bf16 in hardware, and the fact that says so."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        name = f"{torch.cuda.get_device_name(device)} is SM {capability[0]}.{capability[1]}"
        if capability >= _MIN_CUDA_CAPABILITY:
            return True, f"{name}, bf16 from SM 8.0 on"
        return False, f"{name}, bf16 only from SM 8.0 on"
    if device.type == "mps":
        if torch.backends.mps.is_macos_or_newer(_MIN_MPS_MACOS, 0):
            return True, f"Metal has bf16 from macOS {_MIN_MPS_MACOS} on"
        return False, f"Metal has bf16 only from macOS {_MIN_MPS_MACOS} on"
    flag = next((flag for flag in _CPU_FLAGS if flag in _cpu_flags()), None)
    if flag is None:
        return False, f"this CPU ({platform.machine()}) has no native bf16"
    return True, f"the CPU has {flag}"


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction set flags of the first core; empty where the kernel does not list them."""
    try:
        text = path.read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
