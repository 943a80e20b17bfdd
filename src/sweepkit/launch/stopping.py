"""Asking this process to stop: SIGINT, SIGTERM, SIGHUP and SIGUSR2 set a flag that the training loop polls.

The first signal asks for a checkpoint and an end. A second Ctrl-C is counted, for a driver that then kills
its workers, or interrupts, in a process that trains itself; Slurm's second signal (SIGTERM after SIGUSR2)
only says that time is short. Under nohup SIGHUP stays ignored. Outside the main thread no handler can be
installed and signals keep their meaning.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_LOOK_S = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class Stopping:
    """A flag; calling it tells whether it is set."""

    def __init__(self, interrupt_on_second: bool = False) -> None:
        # no threading.Event: its lock is held while a signal comes in the middle of set() or wait()
        self._is_set = False
        self._interrupt_on_second = interrupt_on_second
        self.num_signals = 0
        self.reason = ""

    def __call__(self) -> bool:
        return self._is_set

    def stop(self, reason: str) -> None:
        """Set the flag."""
        self.reason = self.reason or reason
        self._is_set = True

    def wait(self, seconds: float) -> bool:
        """Sleep, but not on once the flag is set."""
        until = time.monotonic() + seconds
        while not self._is_set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_S))
        return self._is_set

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT or self.num_signals == 0:
            self.num_signals += 1
        self.stop(signal.Signals(number).name)
        if self._interrupt_on_second and self.num_signals > 1:
            raise KeyboardInterrupt


@contextlib.contextmanager
def on_signals(*, interrupt_on_second: bool = False) -> Iterator[Stopping]:
    """A ``Stopping`` set by signals while the context lasts; earlier handlers come back after it."""
    stopping = Stopping(interrupt_on_second)
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heeded = [number for number in _SIGNALS if not (under_nohup and number == signal.SIGHUP)]
    before = {number: signal.signal(number, stopping._on_signal) for number in heeded}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
