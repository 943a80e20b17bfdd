"""How fast this CPU multiplies matrices: the peak that MFU is held against, for want of a maker's figure.

Whatever else a machine does makes a measurement too low, never too high. So products are short (beside four
busy processes on two cores some of a millisecond run undisturbed, of those of ten none), the best of many
counts, every process measures once, and the highest rate ever measured is kept in the cache folder, with its
time.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from sweepkit import fsio
from sweepkit.config import paths
from sweepkit.data import cache
from sweepkit.errors import StorageError, SweepkitError
from sweepkit.training import device as devices

# Large enough for one core and for many; a CPU without fp16 units would take seconds for these.
_SIZES = {torch.float16: (256,)}
_SIZES_ELSE = (512, 1024)
_SECONDS, _ROUNDS = 0.05, 5  # at least, of a size
_measured: set[Path] = set()  # by this process


@dataclass(frozen=True)
class GemmRate:
    """FLOP/s, and when it was measured (ISO 8601, UTC)."""

    flops_per_s: float
    measured_at: str


def best_known(dtype: torch.dtype, again: bool = False) -> GemmRate:
    """The highest rate ever measured on this machine, in ``dtype`` with as many threads as torch has now.

    Args:
        again: measure even if this process has.
    """
    recipe = [
        platform.node(),
        devices.processor_name(),
        torch.__version__,
        str(dtype),
        torch.get_num_threads(),
    ]
    path = _folder() / f"{fsio.digest(recipe)[:16]}.json"
    kept = _read(path)
    if kept is None or path not in _measured or again:
        with _alone(path):
            measured = GemmRate(measure(dtype), datetime.now(UTC).isoformat(timespec="seconds"))
            kept = _read(path)
            if kept is None or measured.flops_per_s > kept.flops_per_s:
                kept = measured
                with contextlib.suppress(OSError, StorageError):  # a cache to read from: kept by this process
                    fsio.write_json(path, {"recipe": recipe, **vars(kept)})
        _measured.add(path)
    return kept


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Workers that start together would disturb each other; where nothing can be written they may."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, StorageError):
            stack.enter_context(cache.lock(path))
        yield


def _folder() -> Path:
    return paths.cache_dir() / "gemm"


def _read(path: Path) -> GemmRate | None:
    try:
        value = fsio.read_json(path)
        return GemmRate(float(value["flops_per_s"]), str(value["measured_at"]))
    except (OSError, SweepkitError, ValueError, KeyError, TypeError):
        return None


def measure(dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of many products of square matrices."""
    return max(_rate(dtype, size) for size in _SIZES.get(dtype, _SIZES_ELSE))


def _rate(dtype: torch.dtype, size: int) -> float:
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype)
    torch.mm(a, b, out=out)
    times_s: list[float] = []
    until = time.perf_counter() + _SECONDS
    while len(times_s) < _ROUNDS or time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        times_s.append(time.perf_counter() - started)
    return 2 * size**3 / min(times_s)
