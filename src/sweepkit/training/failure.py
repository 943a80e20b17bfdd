"""What went wrong, as one of a few classes that a sweep can act on, and in words.

The loop raises ``Diverged`` and ``Stopped`` to end a run; everything else is somebody's error. None of
them leaves ``Session.run``: they become the record's state.
"""

from __future__ import annotations

import torch

from sweepkit import fsio
from sweepkit.errors import SweepkitError
from sweepkit.results.record import FailureClass, RunState


class Diverged(Exception):
    """The loss is not finite or has exploded; the message says at which step."""


class Stopped(Exception):
    """Somebody asked the run to stop; it can go on from its last checkpoint."""


def classify(error: BaseException) -> tuple[RunState, FailureClass | None, str]:
    """How the run ends, why, and what to tell the user."""
    message = str(error) or type(error).__name__
    if isinstance(error, Stopped | KeyboardInterrupt):
        return RunState.preempted, None, message
    if isinstance(error, Diverged):
        return RunState.diverged, FailureClass.diverged, message
    found = FailureClass.oom if is_out_of_memory(error) else FailureClass.of(error)
    return RunState.failed, found, _message(error, message)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the process ran out of memory (torch says it in two ways)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "alloc_cpu" in text
    )


def _message(error: BaseException, message: str) -> str:
    if is_out_of_memory(error):
        first = message.splitlines()[0]
        return f"out of memory ({first}); lower horizon.device_batch_size or launcher.num_workers"
    if isinstance(error, SweepkitError):
        return message
    if isinstance(error, OSError) and (reason := fsio.in_words(error)):
        return reason
    return f"{type(error).__name__}: {message}"
