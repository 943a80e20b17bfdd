"""The next batch is made by a thread while the device works on this one.

Shapes: B rows of a micro-step, T time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sweepkit.data.loader import TrainLoader
from sweepkit.distributed.ranks import Ranks

#: Inputs and targets of one micro-step, int32 [B, T] each, contiguous, on the device.
MicroBatch = tuple[Tensor, Tensor]


class Prefetcher:
    """A context that hands out this rank's batches of steps ``first``, ``first + 1``, ... in order."""

    def __init__(
        self,
        loader: TrainLoader,
        first: int,
        num_steps: int,
        device_batch_size: int,
        device: torch.device,
        ranks: Ranks,
        num_parts: Callable[[int], int] = lambda step: 1,
    ) -> None:
        """``num_parts``: step → parts of its batch, each of which makes an update."""
        self._ranks, self._num_parts = ranks, num_parts
        self._loader, self._next, self._num_steps = loader, first, num_steps
        self._rows, self._device = device_batch_size, device
        self._pool = ThreadPoolExecutor(1, "prefetch", self._start_thread)
        self._future: Future[list[MicroBatch]] | None = None

    def __enter__(self) -> Prefetcher:
        self._ask()
        return self

    def take(self) -> Sequence[MicroBatch]:
        """The micro-batches of the next step; raises what the loader raised."""
        assert self._future is not None, "no step is left"
        batch = self._future.result()
        self._ask()
        return batch

    def _ask(self) -> None:
        self._future = None
        if self._next < self._num_steps:
            self._future = self._pool.submit(self._make, self._next)
            self._next += 1

    def _start_thread(self) -> None:
        """A thread's current GPU is the first until it is told: pinning would take memory there."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def _make(self, step: int) -> list[MicroBatch]:
        batch = self._loader.batch(step, self._ranks.rank, self._ranks.size, self._num_parts(step))
        inputs_RT, targets_RT = (
            torch.from_numpy(np.ascontiguousarray(part)) for part in (batch[:, :-1], batch[:, 1:])
        )
        if self._device.type == "cuda":
            inputs_RT, targets_RT = inputs_RT.pin_memory(), targets_RT.pin_memory()
        inputs_RT = inputs_RT.to(self._device, non_blocking=True)
        targets_RT = targets_RT.to(self._device, non_blocking=True)
        return list(zip(torch.split(inputs_RT, self._rows), torch.split(targets_RT, self._rows), strict=True))

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
