"""Being told to stop, however often and in whatever moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from sweepkit.launch.stopping import Stopping

STORM = """
import os, signal, threading
from sweepkit.launch.stopping import on_signals
def storm():
    for _ in range(3000):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR2)
with on_signals() as stop:
    thread = threading.Thread(target=storm)
    thread.start()
    while thread.is_alive():
        stop.wait(0.001)
    assert stop() and stop.num_signals == 1
"""


def test_a_storm_of_signals_neither_hangs_nor_counts_as_insisting() -> None:
    """A signal that comes while another one is handled finds no lock that it would wait for."""
    subprocess.run([sys.executable, "-c", STORM], check=True, timeout=60)


NOHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "nohup" else signal.SIG_DFL)
from sweepkit.launch.stopping import on_signals
with on_signals() as stop:
    os.kill(os.getpid(), signal.SIGHUP)
    print(stop.reason)
"""


@pytest.mark.parametrize(("how", "reason"), [("nohup", ""), ("plainly", "SIGHUP")])
def test_what_was_started_under_nohup_survives_the_terminal(how: str, reason: str) -> None:
    said = subprocess.check_output([sys.executable, "-c", NOHUP, how], text=True, timeout=60)
    assert said.strip() == reason


def test_waiting_ends_with_the_time_or_the_flag() -> None:
    stop = Stopping()
    started = time.monotonic()
    assert not stop.wait(0.12)
    assert time.monotonic() - started >= 0.12
    threading.Timer(0.1, stop.stop, ["enough"]).start()
    assert stop.wait(30.0)
    assert stop.reason == "enough"
