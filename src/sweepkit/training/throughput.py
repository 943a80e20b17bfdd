"""Tokens per second, model FLOPs utilisation and peak memory.

MFU = FLOPs per token × tokens/s ÷ peak FLOP/s of the dtype that ran. The peak of a GPU is the maker's
figure for its name and the dtype (``plan.cost.PEAK_FLOPS``). A CPU has no such figure: there the peak is the
rate of a large matrix multiplication in that dtype with that many threads, measured once and kept in the
cache folder, so that all runs of a machine are held against the same number. No known peak, no MFU.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sweepkit import fsio
from sweepkit.config import codec, paths
from sweepkit.config.schema import Fp8Backend
from sweepkit.data import cache
from sweepkit.plan import cost, fp8_share, sizing
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision
from sweepkit.training import device as devices

_GEMM_SIZE, _FP16_GEMM_SIZE = 1024, 256  # a CPU without fp16 units takes seconds for the large one
_GEMM_S = 0.15  # how long to measure
_GEMM_ROUNDS = 5


@dataclass(frozen=True)
class Peak:
    """What a device could do at most, FLOP/s, and how we know; None when we do not."""

    flops: float | None
    source: str


@dataclass(frozen=True)
class Utilisation:
    """The model's FLOPs, and the peaks they are held against.

    Attributes:
        flops_per_token: from the architecture, whatever carries them.
        peak: of the compute dtype.
        fp8_flops_per_token: the part of them that FP8 units carry; 0 where there are none.
        fp8_peak: of those units.
        num_ranks: devices that share the work; the peaks are of one.
    """

    flops_per_token: int
    peak: Peak
    fp8_flops_per_token: int = 0
    fp8_peak: Peak | None = None
    num_ranks: int = 1

    def mfu(self, tokens_per_s: float | None) -> dict[str, float | None]:
        """``mfu``; with FP8 units also its two parts, each against the peak of what carried it.

        The parts add up to ``mfu``: the share of the time in which both units could have done the work. All
        FLOPs against the smaller peak would be an inflated number, and is never given.
        """
        tokens_per_s = tokens_per_s and tokens_per_s / self.num_ranks
        if self.fp8_peak is None:
            return {"mfu": _share(self.flops_per_token, tokens_per_s, self.peak)}
        in_fp8 = _share(self.fp8_flops_per_token, tokens_per_s, self.fp8_peak)
        rest = _share(self.flops_per_token - self.fp8_flops_per_token, tokens_per_s, self.peak)
        whole = None if in_fp8 is None or rest is None else in_fp8 + rest
        return {"mfu": whole, "mfu_fp8": in_fp8, "mfu_rest": rest}

    def shown(self, tokens_per_s: float | None) -> str:
        """``MFU 41.0% of H100 bf16``, or the split; "" where it is not known."""
        parts = self.mfu(tokens_per_s)
        if parts["mfu"] is None:
            return ""
        if self.fp8_peak is None:
            return f"MFU {parts['mfu']:.1%} of {self.peak.source}"
        share = self.fp8_flops_per_token / self.flops_per_token
        return (
            f"MFU {parts['mfu']:.1%}: {share:.0%} of the FLOPs in FP8 at {parts['mfu_fp8']:.1%} of "
            f"{self.fp8_peak.source}, the rest at {parts['mfu_rest']:.1%} of {self.peak.source}"
        )


def _share(flops_per_token: float, tokens_per_s: float | None, peak: Peak) -> float | None:
    return flops_per_token * tokens_per_s / peak.flops if peak.flops and tokens_per_s else None


def utilisation(plan: RunPlan, precision: Precision, device: torch.device, num_ranks: int = 1) -> Utilisation:
    """What the MFU of ``plan`` is measured against on ``device``."""
    main = peak(device, precision.compute_dtype)
    if precision.fp8 is not Fp8Backend.native:
        return Utilisation(plan.flops_per_token, main, num_ranks=num_ranks)
    config = codec.from_json(plan.config)
    in_fp8 = fp8_share.fp8_flops_per_token(config, sizing.size(config))
    return Utilisation(plan.flops_per_token, main, in_fp8, _figure(device, "fp8"), num_ranks)


def peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """Peak of ``device`` in ``dtype``."""
    short = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[dtype]
    if device.type == "cpu":
        threads = torch.get_num_threads()
        size = _FP16_GEMM_SIZE if dtype is torch.float16 else _GEMM_SIZE
        rate = _cached_gemm_rate(dtype, short, threads, size)
        return Peak(rate, f"GEMM of {size}, {short}, {threads} threads, measured")
    return _figure(device, short)


def _figure(device: torch.device, short: str) -> Peak:
    name = devices.name(device)
    flops = cost.peak_flops(name, short) if device.type == "cuda" else None
    return Peak(flops, f"{name} {short}, maker's figure" if flops else f"no figure for {name} {short}")


def _cached_gemm_rate(dtype: torch.dtype, short: str, threads: int, size: int) -> float:
    recipe = [platform.node(), devices.processor_name(), torch.__version__, short, threads, size]
    path = paths.cache_dir() / "gemm" / f"{fsio.digest(recipe)[:16]}.json"
    rate = _known_rate(path)
    if rate is None:
        # Workers that start together would measure each other, and each be held against its own number.
        with cache.lock(path):
            rate = _known_rate(path)
            if rate is None:
                rate = gemm_rate(dtype, size)
                fsio.write_json(path, {"recipe": recipe, "flops_per_s": rate})
    return rate


def _known_rate(path: Path) -> float | None:
    try:
        return float(fsio.read_json(path)["flops_per_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def gemm_rate(dtype: torch.dtype, size: int, seconds: float = _GEMM_S) -> float:
    """FLOP/s of a ``size``³ matrix multiplication on the CPU, the best of several rounds."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype)
    torch.mm(a, b, out=out)
    best = float("inf")
    until = time.perf_counter() + seconds
    rounds = 0
    while rounds < _GEMM_ROUNDS or time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - started)
        rounds += 1
    return 2 * size**3 / best


class PeakMemory:
    """Peak memory from now on, and where the number comes from."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._read: Callable[[], float]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._read = lambda: float(torch.cuda.max_memory_allocated(device))
            self.source = "device: most bytes allocated by torch"
        elif _reset_high_water_mark():
            self._read = _high_water_mark
            self.source = "process: most resident memory since the run began"
        else:
            self._read = _max_resident
            self.source = "process: most resident memory since the process began"

    def gib(self) -> float:
        return self._read() / 2**30


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_high_water_mark() -> bool:
    """Linux: writing 5 sets the peak back to what is resident now (proc(5))."""
    try:
        _CLEAR.write_text("5")
        return _high_water_mark() > 0
    except (OSError, ValueError):
        return False


def _high_water_mark() -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    raise ValueError("no VmHWM")


def _max_resident() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
