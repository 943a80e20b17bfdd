"""What this machine is and what a run would use on it, as (name, words): for ``sweepkit doctor``."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweepkit.config import paths
from sweepkit.config.choices import AttentionBackend
from sweepkit.config.schema import RunConfig
from sweepkit.launch import machine as cores
from sweepkit.launch.slurm import cluster
from sweepkit.launch.slurm.retries import ClusterError

if TYPE_CHECKING:
    import torch

    from sweepkit.precision.policy import Precision


def machine(device: torch.device) -> Iterator[tuple[str, str]]:
    """Facts about the machine and what is installed."""
    import torch

    from sweepkit.training import device as devices
    from sweepkit.training import environment, wandb_log

    yield "host", f"{platform.node()}, {platform.platform()}"
    yield (
        "processor",
        f"{devices.processor_name()}, {cores.num_cores()} cores for this process, "
        f"{cores.memory_gib():.0f} GiB",
    )
    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            size_gib = gpu.total_memory / 2**30
            yield f"GPU {index}", f"{gpu.name}, SM {gpu.major}.{gpu.minor}, {size_gib:.0f} GiB"
        yield "CUDA", str(torch.version.cuda)
    versions = environment.versions()
    names = ("python", "torch", "triton", "numpy")
    yield "versions", ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    try:
        cluster.check_available()
        yield "Slurm", str(shutil.which("sbatch"))
    except ClusterError:
        yield "Slurm", "no sbatch on the PATH: launcher=inline or local"
    for name, folder in (("results", paths.results_dir()), ("cache", paths.cache_dir())):
        free = shutil.disk_usage(_existing(folder)).free / 2**30
        yield f"disk, {name}", f"{folder}: {free:.0f} GiB free"
    key = "an API key is set up" if wandb_log.has_key() else "no API key: online falls back to offline"
    yield "wandb", key


def choices(
    config: RunConfig,
    device: torch.device,
    precision: Precision,
    attention: tuple[AttentionBackend, str],
) -> Iterator[tuple[str, str]]:
    """What a run with this configuration would use, each with its reason."""
    import torch

    from sweepkit.precision import policy
    from sweepkit.training.engine import cannot_compile

    if device.type == "cpu":
        from sweepkit.training import gemm_rate

        rates = {
            str(dtype).removeprefix("torch."): gemm_rate.best_known(dtype).flops_per_s / 1e9
            for dtype in dict.fromkeys((precision.compute_dtype, torch.float32))
        }
        shown = ", ".join(f"{rate:,.0f} GFLOP/s in {name}" for name, rate in rates.items())
        yield "speed", f"matrices multiply at {shown}: what estimates of hours here go by"
    yield "device", f"{device.type} (trainer.device={config.trainer.device.name})"
    yield "dtype", f"{precision.dtype.name} ({precision.reason})"
    possible, why = policy.possible_fp8(device)
    would_be = "refused" if possible is None else possible.name
    if precision.fp8 is not None:
        yield "FP8", f"{precision.fp8.name} ({precision.fp8_reason})"
    else:
        yield "FP8", f"not asked for; precision=fp8 would be {would_be} ({why})"
    yield "attention", f"{attention[0].name} ({attention[1]})"
    reason = cannot_compile(device) if config.trainer.compile else "trainer.compile=false"
    yield "compile", "yes" if reason is None else f"no ({reason})"
    gpus = cores.gpus(config.trainer.device)
    workers = len(gpus) or cores.num_cores()
    threads = cores.worker_environment(0, workers, gpus)[cores.THREADS]
    yield "threads", f"{threads} for each of {workers} local workers"
    yield "wandb", config.logging.wandb.name


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
