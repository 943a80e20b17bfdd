"""The inline launcher: this process does all runs, one after another, with one Session.

Runs of one compiled shape come next to each other. A run that another launch holds is left for later;
when only such runs are left this waits for them, and takes over the run of a process that dies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sweepkit.launch import job
from sweepkit.launch.choose import grouped
from sweepkit.launch.job import Runs
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.stopping import Stopping

_TICK_S = 0.5


def run(
    ledger: Ledger,
    session_factory: Callable[[], Runs],
    stop: Stopping,
    show: Callable[[], None],
    *,
    driver: str,
    max_attempts: int,
) -> None:
    """Do every run of ``ledger`` that is not done; returns early, after a checkpoint, when stopped.

    Args:
        session_factory: makes the Session, once, when there is something to run.
        show: brings the display up to date; called from another thread.
    """
    session: Runs | None = None
    with ticking(show):
        while not stop() and ledger.open():
            order = grouped([item.plan for item in ledger.startable()])
            for plan in order:
                if stop():
                    return
                session = session or session_factory()
                job.carry_out(
                    plan, ledger.results_dir, session, driver=driver, max_attempts=max_attempts, stop=stop
                )
            ledger.refresh()
            if not ledger.startable() and ledger.open():
                stop.wait(_TICK_S)
                ledger.refresh()


@contextmanager
def ticking(show: Callable[[], None]) -> Iterator[None]:
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
