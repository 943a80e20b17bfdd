"""The inline launcher: this process works the runs off itself, as one worker, with one Session.

When only runs are left that another launch holds this waits for them, and takes over the run of a process
that dies.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sweepkit.launch import worker
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.stopping import Stopping
from sweepkit.launch.worker import SessionFactory, Work

_TICK_S = 0.5


def run(
    ledger: Ledger,
    session_factory: SessionFactory,
    stop: Stopping,
    show: Callable[[], None],
    *,
    driver: str,
    max_attempts: int,
    work: Work = worker.work,
) -> None:
    """Do every run of ``ledger`` that is not done; returns early, after a checkpoint, when stopped.

    Args:
        session_factory: makes the Session, once, when there is something to run.
        show: brings the display up to date; called from another thread.
        work: takes runs for as long as there are any to take.
    """
    session_factory = functools.cache(session_factory)
    with _ticking(show):
        while not stop() and (ledger.open() or ledger.to_come):
            work(ledger, session_factory, stop, driver=driver, max_attempts=max_attempts)
            ledger.refresh()
            if not ledger.startable() and (ledger.open() or ledger.to_come):  # others are at it
                stop.wait(_TICK_S)
                ledger.refresh()


@contextmanager
def _ticking(show: Callable[[], None]) -> Iterator[None]:
    """Call ``show`` twice a second from a thread of its own."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(_TICK_S):
            show()

    thread = threading.Thread(target=tick, name="display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
