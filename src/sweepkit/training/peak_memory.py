"""Peak memory of a run: of the device where torch keeps count, else what training adds to the process.

A process holds much that is not its run's: libraries, the compiler, what an earlier run of the same worker
has left to the allocator. So on a processor the tensors that training keeps are counted, and what the process
grew by meanwhile is added: the number is the run's own, whatever its worker ran before.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor


class PeakMemory:
    """Peak memory from now on, and where the number comes from."""

    def __init__(self, device: torch.device, kept: Iterable[Tensor] = ()) -> None:
        """``kept``: tensors that training holds all the while (parameters, gradients, optimizer state)."""
        self._read: Callable[[], float]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._read = lambda: float(torch.cuda.max_memory_allocated(device))
            self.source = "device: most bytes allocated by torch"
            return
        kept_bytes = float(sum({id(tensor): tensor.nbytes for tensor in kept}.values()))
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc: freed memory back to the system
            ctypes.CDLL(None).malloc_trim(0)
        peak = _high_water_mark if _reset_high_water_mark() else _max_resident
        before = peak()
        self._read = lambda: kept_bytes + max(0.0, peak() - before)
        self.source = "process: the run's tensors, and what it grew by while training"

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
