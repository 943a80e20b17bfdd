"""FLOP/s of this machine's cores: measured where a launch is to use them, or as they were before."""

from __future__ import annotations

import functools
import platform

from sweepkit import fsio
from sweepkit.config import paths
from sweepkit.config.choices import Dtype
from sweepkit.config.dtype_override import dtype_override
from sweepkit.config.schema import PrecisionConfig
from sweepkit.errors import SweepkitError
from sweepkit.launch import machine

#: What a dtype may come out as on a CPU, in the order in which it is looked for.
_COMES_OUT = {Dtype.auto: ("bfloat16", "float32"), Dtype.fp32: ("float32",), Dtype.fp16: ("float16",)}


@functools.cache
def measured(dtype: Dtype) -> float:
    """In what a configured dtype comes out as; measured once a process."""
    machine.spin_briefly()
    import torch

    from sweepkit.precision import policy
    from sweepkit.training import gemm_rate

    wanted = Dtype.bf16 if dtype is Dtype.fp8 else dtype
    precision = policy.resolve(PrecisionConfig(dtype=wanted), torch.device("cpu"))
    return gemm_rate.best_known(precision.compute_dtype).flops_per_s


def known(dtype: Dtype) -> float | None:
    """What ``measured`` has kept here (``training/gemm_rate.py``), without torch; None where it never ran."""
    found: dict[str, float] = {}
    for path in sorted((paths.cache_dir() / "gemm").glob("*.json")):
        try:
            content = fsio.read_json(path)
            host, _, _, name, _ = content["recipe"]
            rate = float(content["flops_per_s"])
        except (OSError, SweepkitError, ValueError, KeyError, TypeError):
            continue
        if host == platform.node():
            found[name] = max(rate, found.get(name, 0.0))
    names = _COMES_OUT.get(dtype_override() or dtype, ("bfloat16",))
    return next((found[f"torch.{name}"] for name in names if f"torch.{name}" in found), None)
