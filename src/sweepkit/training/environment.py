"""Where a run ran and with what: for the record, and as a fingerprint that decides what compares.

Nothing is taken from the environment variables but a few that are named here: a record is shared, and
environments hold secrets.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from typing import Any

import torch

from sweepkit import fsio
from sweepkit.config import commits, sources
from sweepkit.training import device as devices

_PACKAGES = ("sweepkit", "torch", "numpy", "safetensors", "tiktoken", "rustbpe", "hydra-core", "triton")
_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "SWEEPKIT_CPU_FLAGS",
    "SWEEPKIT_DTYPE",
    "CUDA_VISIBLE_DEVICES",
)


def describe(device: torch.device) -> dict[str, Any]:
    """Commit, versions, host and hardware of ``device``, as plain JSON; unknown is None."""
    commit, dirty = commits.git_state()
    value: dict[str, Any] = {
        "git_commit": commit,
        "git_dirty": dirty,
        "sources": sources.digest(),
        "versions": versions(),
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": devices.processor_name(),
        "num_cpus": os.cpu_count(),
        "hardware": devices.name(device),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        value |= {
            "gpu": properties.name,
            "gpu_memory_gib": properties.total_memory / 2**30,
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return value


def fingerprint(environment: dict[str, Any], resolved: dict[str, Any]) -> str:
    """16 hex digits of what matters for comparing wall-clock and numerics.

    Hardware, device, dtype, FP8 and attention backends, torch version, whether the run was compiled,
    threads, ranks. Not the sources, which are compared for themselves: they may be accepted one by one.
    """
    matters = {
        "hardware": environment["hardware"],
        "torch": environment["versions"]["torch"],
        "device": resolved["device"],
        "dtype": resolved["dtype"],
        "compile": resolved["compile"]["used"],
        "num_threads": resolved["num_threads"],
        "num_ranks": resolved.get("num_ranks", 1),
        "attention": resolved.get("attention"),
        "fp8": resolved.get("fp8", {}).get("backend"),
    }
    return fsio.digest(matters)[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"torch": torch.__version__}
