"""Which device a run uses, what it is called, and waiting for it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from sweepkit.config.choices import Device
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import ConfigError, invalid


def choose(request: Device, ranks: Ranks | None = None) -> torch.device:
    """The device asked for; auto takes the first of cuda, mps and cpu that works here.

    Of several GPUs it is this process's current one, by its number: which one is current differs between
    threads.

    Args:
        ranks: those that train together; all must ask.

    Raises:
        ConfigError: the device asked for is not available, or two ranks would share a GPU (NCCL refuses that,
            when all have compiled).
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
    device = torch.device(request.name)
    if request is Device.cuda:
        device = torch.device("cuda", torch.cuda.current_device())
    if ranks is not None:
        _check_own(device, ranks)
    return device


def _check_own(device: torch.device, ranks: Ranks) -> None:
    own = None
    if device.type != "cpu":
        is_cuda = device.type == "cuda"
        gpu = str(torch.cuda.get_device_properties(device).uuid) if is_cuda else device.type
        own = [platform.node(), gpu]
    gpus = ranks.words(own)
    shared = [str(rank) for rank, gpu in enumerate(gpus) if gpu is not None and gpus.count(gpu) > 1]
    if shared:
        raise ConfigError(
            f"ranks {', '.join(shared)} of this run share a GPU, but must have one each; start at most as "
            "many processes as there are GPUs (launcher.processes_per_run, torchrun's --nproc-per-node), or "
            "use trainer.device=cpu"
        )


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
