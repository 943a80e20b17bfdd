"""How long this rank waits for others: exposed communication, and ranks that are slower than this one.

Only what is not hidden behind the rank's own work counts. A GPU waits in its queue while the process goes on,
so there the queue is timed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch


class Waiting:
    """A clock that runs while this rank waits."""

    def __init__(self) -> None:
        self._waits: list[tuple[torch.device, Any, Any]] = []

    @contextlib.contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Count the block, in which ``device`` waits for other ranks."""
        began = _mark(device)
        yield
        self._waits.append((device, began, _mark(device)))

    def clear(self) -> None:
        """Start from zero."""
        self._waits.clear()

    def seconds(self) -> float:
        """Since ``clear``; to be asked when the device has done all that was asked of it."""
        return sum(_between(*wait) for wait in self._waits)


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        return time.perf_counter()
    event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _between(device: torch.device, began: Any, ended: Any) -> float:
    return float(began.elapsed_time(ended)) / 1000 if device.type == "cuda" else ended - began
