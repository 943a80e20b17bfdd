"""Which device a run uses, what it is called, and waiting for it."""

from __future__ import annotations

import platform
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from sweepkit.config.schema import Device
from sweepkit.errors import invalid


def choose(request: Device) -> torch.device:
    """The device asked for; auto takes the first of cuda, mps and cpu that works here.

    Raises:
        ConfigError: the device asked for is not available.
    """
    available = [Device.cpu]
    if torch.backends.mps.is_available():
        available.insert(0, Device.mps)
    if torch.cuda.is_available():
        available.insert(0, Device.cuda)  # of several, the one this process was given
    if request is Device.auto:
        return torch.device(available[0].name)
    if request not in available:
        names = ", ".join(device.name for device in available)
        raise invalid(
            "trainer.device", request.name, f"be available here ({names})", "use trainer.device=auto"
        )
    return torch.device(request.name)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Span:
    """A context that times what a device does in it, its queue's waiting included; it waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[Any] = []

    def __enter__(self) -> Span:
        self._mark()
        return self

    def __exit__(self, *error: object) -> None:
        self._mark()

    def seconds(self) -> float:
        """To be asked when the device has done it all (``synchronize``)."""
        first, last = self._marks
        return float(first.elapsed_time(last)) / 1000 if self._on_gpu else last - first

    def _mark(self) -> None:
        if not self._on_gpu:
            self._marks.append(time.perf_counter())
            return
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)


def name(device: torch.device) -> str:
    """Name of the accelerator or of the processor, as its maker writes it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


@cache
def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model name of the processor; on Apple machines it names the GPU too."""
    try:
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
