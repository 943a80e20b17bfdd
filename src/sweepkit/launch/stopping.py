"""Asking this process to stop: SIGINT, SIGTERM, SIGHUP and SIGUSR2 set a flag that the training loop polls.

The first signal asks for a checkpoint and an end. A process that does not get to polling, for it compiles,
sets up or is inside of a long step, is interrupted a few seconds later, and goes on from its last checkpoint
next time; one that cannot even be interrupted, for it is not in Python, is ended with its children by a
thread that the signal wakes. A second Ctrl-C is counted, for a driver that then kills its workers, or
interrupts at once, in a process that trains itself; Slurm's SIGUSR2 says long before the end that it comes,
and only waits. Under nohup SIGHUP stays ignored. Outside the main thread no handler can be installed and
signals keep their meaning.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from sweepkit import exit_status
from sweepkit.launch import process

_LOOK_S = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
_PATIENT = signal.SIGUSR2
#: From a signal to an interruption, for the step at hand; more in a Slurm job, which has 30 s (KillWait).
GRACE_S, _SLURM_GRACE_S = 5.0, 15.0
#: From the interruption to the end, for what is to be written still.
LAST_S = 7.0


class Stopping:
    """A flag; calling it tells whether it is set."""

    def __init__(self, interrupt_on_second: bool = False, status: int = exit_status.STOPPED) -> None:
        # no threading.Event: its lock is held while a signal comes in the middle of set() or wait()
        self._is_set = False
        self._interrupt_on_second, self._status = interrupt_on_second, status
        self._is_heard = False  # the main thread knows, and is on its way out
        self._is_overdue = self._is_interrupted = False
        self.num_signals = 0
        self.reason = ""

    def __call__(self) -> bool:
        self._hear()
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
        return self()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Where nothing polls and nothing is lost: the first signal interrupts."""
        self._is_overdue = True
        if self._is_set:
            raise KeyboardInterrupt(self.reason)
        try:
            yield
        finally:
            self._is_overdue = False

    def _hear(self) -> None:
        if self._is_set and threading.current_thread() is threading.main_thread():
            self._is_heard = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        is_insisting = self._interrupt_on_second and number == signal.SIGINT and self.num_signals > 0
        if not self._is_overdue and (number == signal.SIGINT or self.num_signals == 0):
            self.num_signals += 1
        self.stop(signal.Signals(number).name)
        is_due = self._is_overdue and not (self._is_heard or self._is_interrupted or number == _PATIENT)
        if is_insisting or is_due:
            self._is_interrupted = True
            raise KeyboardInterrupt(self.reason)

    def _see_to_it(self, signals: int) -> None:
        """Wait for a signal, by way of the pipe ``signals``; then see that this process ends in time."""
        with contextlib.closing(os.fdopen(signals, "rb", buffering=0)):
            number = 0
            while not number:
                numbers = os.read(signals, 64)
                if 0 in numbers:
                    return
                number = next((item for item in numbers if item in _SIGNALS and item != _PATIENT), 0)
            self._end_in_time(signals, number)

    def _end_in_time(self, signals: int, number: int) -> None:
        grace_s = _SLURM_GRACE_S if "SLURM_JOB_ID" in os.environ else GRACE_S
        if not self._is_overdue:
            if self._is_over(signals, grace_s):
                return
            self._is_overdue = True
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        if not self._is_over(signals, LAST_S):
            said = "sweepkit: ended where nothing could interrupt it; the same command goes on from there"
            print(said, file=sys.stderr, flush=True)
            process.end_with_children(self._status)

    def _is_over(self, signals: int, seconds: float) -> bool:
        """Whether the main thread hears of the signal, or the context ends, within so many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._is_heard:
            if select.select([signals], [], [], min(left, _LOOK_S))[0] and 0 in os.read(signals, 64):
                return True
        return self._is_heard


@contextlib.contextmanager
def on_signals(*, interrupt_on_second: bool = False, status: int = exit_status.STOPPED) -> Iterator[Stopping]:
    """A ``Stopping`` set by signals while the context lasts; earlier handlers come back after it.

    Args:
        status: of a process that has to be ended.
    """
    stopping = Stopping(interrupt_on_second, status)
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heeded = [number for number in _SIGNALS if not (under_nohup and number == signal.SIGHUP)]
    # Python runs handlers between two of its own instructions; the pipe is written to at once.
    signals, woken = os.pipe()
    os.set_blocking(woken, False)
    watcher = threading.Thread(target=stopping._see_to_it, args=(signals,), name="stopping", daemon=True)
    watcher.start()
    before = {number: signal.signal(number, stopping._on_signal) for number in heeded}
    fd_before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    try:
        yield stopping
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        with contextlib.suppress(OSError):  # full of signals, or closed: the watcher is past reading them
            os.write(woken, b"\0")
        os.close(woken)
        watcher.join(_LOOK_S)
