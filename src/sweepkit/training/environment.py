"""Where a run ran and with what: for the record, and as a fingerprint that decides what compares.

Nothing is taken from the environment variables but a few that are named here: a record is shared, and
environments hold secrets.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform

import torch

from sweepkit import fsio
from sweepkit.config import commits, sources
from sweepkit.results.conditions import Environment, Resolved
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


def describe(device: torch.device) -> Environment:
    """Commit, versions, host and hardware of ``device``."""
    commit, dirty = commits.git_state()
    found = Environment(
        git_commit=commit,
        git_dirty=dirty,
        sources=sources.digest(),
        versions=versions(),
        host=platform.node(),
        platform=platform.platform(),
        cpu=devices.processor_name(),
        num_cpus=os.cpu_count(),
        hardware=devices.name(device),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found.gpu, found.gpu_memory_gib = properties.name, properties.total_memory / 2**30
        found.gpu_capability = f"{properties.major}.{properties.minor}"
        found.cuda = torch.version.cuda
    return found


def fingerprint(environment: Environment, resolved: Resolved) -> str:
    """16 hex digits of what matters for comparing wall-clock and numerics.

    Hardware, device, dtype, FP8 and attention backends, torch's version and build, whether it was compiled,
    threads, ranks. Not the sources, which are compared for themselves: they may be accepted one by one.
    """
    matters = {
        "hardware": environment.hardware,
        "torch": environment.versions["torch"],
        "torch_build": environment.versions.get("torch_build"),
        "device": resolved.device,
        "dtype": resolved.dtype,
        "compile": resolved.is_compiled,
        "num_threads": resolved.num_threads,
        "num_ranks": resolved.num_ranks or 1,
        "attention": resolved.attention,
        "fp8": resolved.fp8 and resolved.fp8.backend,
    }
    return fsio.digest(matters)[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part, and torch's build: two may share a version."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    build = f"{torch.version.git_version} cuda={torch.version.cuda} hip={torch.version.hip}"
    return found | {"torch": torch.__version__, "torch_build": build}
