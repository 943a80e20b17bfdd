"""How a run can stand, and what it can die of."""

from __future__ import annotations

from enum import StrEnum

from sweepkit import fsio
from sweepkit.errors import ConfigError, DataError, DiskFullError, ImpossibleError, StorageError


class RunState(StrEnum):
    """A record exists only for a run that has started; a run without one is planned."""

    running = "running"
    complete = "complete"
    diverged = "diverged"
    failed = "failed"
    preempted = "preempted"  # stopped with a checkpoint, to be continued
    cancelled = "cancelled"
    trained = "trained"  # complete, and not evaluated as is asked here; never written (results/asked.py)
    pruned = "pruned"  # a search stopped it as hopeless: ended for that search alone (results/pruned.py)
    futile = "futile"  # a sweep's rule of futility did, and it has ended for that sweep alone


#: In which a run is never started again unless asked for; and those that somebody stopped as hopeless.
FINAL_STATES = frozenset({RunState.complete, RunState.diverged, RunState.failed, RunState.cancelled})
STOPPED = frozenset({RunState.pruned, RunState.futile})


class FailureClass(StrEnum):
    diverged = "diverged"
    oom = "oom"
    bad_config = "bad_config"
    bad_data = "bad_data"
    disk_full = "disk_full"
    storage = "storage"  # it failed for longer than patience lasts, or is not ours to use
    impossible = "impossible"  # its configuration and its text, both in its name, do not go together
    crash = "crash"
    no_result = "no_result"  # of a command that ended in order
    preempted = "preempted"  # and not started again within launcher.max_attempts; so are the next three
    timeout = "timeout"
    node_failure = "node_failure"
    evaluation = "evaluation"  # trained, and its weights could not be measured as asked
    lost = "lost"  # the process vanished, and nobody knows why
    cancelled = "cancelled"

    @classmethod
    def of(cls, error: BaseException) -> FailureClass:
        """What an error says of the run that it ended; ``crash`` where it is none that we know."""
        if isinstance(error, OSError) and error.errno in fsio.DISK_FULL:
            return cls.disk_full
        if isinstance(error, OSError) and fsio.in_words(error):
            return cls.storage
        return next((found for kind, found in _CLASSES if isinstance(error, kind)), cls.crash)


#: Kind of error → what a run that it ended died of; the first that fits.
_CLASSES: tuple[tuple[type[Exception], FailureClass], ...] = (
    (MemoryError, FailureClass.oom),
    (DiskFullError, FailureClass.disk_full),
    (StorageError, FailureClass.storage),
    (ImpossibleError, FailureClass.impossible),
    (DataError, FailureClass.bad_data),
    (ConfigError, FailureClass.bad_config),
)
