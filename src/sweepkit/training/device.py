"""Which device a run uses, what it is called, and waiting for it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from sweepkit.config.schema import Device
from sweepkit.errors import invalid


def choose(request: Device) -> torch.device:
    """The device asked for; auto takes the first of cuda, mps and cpu that works here.

    Of several GPUs it is this process's current one, by its number: which one is current differs between
    threads.

    Raises:
        ConfigError: the device asked for is not available.
    """
    available = [Device.cpu]
    if torch.backends.mps.is_available():
        available.insert(0, Device.mps)
    if torch.cuda.is_available():
        available.insert(0, Device.cuda)
    request = available[0] if request is Device.auto else request
    if request not in available:
        names = ", ".join(device.name for device in available)
        raise invalid(
            "trainer.device", request.name, f"be available here ({names})", "use trainer.device=auto"
        )
    if request is Device.cuda:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(request.name)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def memory_gib(device: torch.device, main_memory_gib: float | None) -> float | None:
    """All the memory that the device has; main memory is its where it has none of its own."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 2**30
    return main_memory_gib


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
