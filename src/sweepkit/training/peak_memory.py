"""Peak memory of a run: of the device where torch keeps count, else of the process."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch


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
