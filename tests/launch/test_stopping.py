"""Being told to stop, however often and in whatever moment."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweepkit import exit_status
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
    subprocess.run([sys.executable, "-c", STORM], check=True, timeout=600)


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
    said = subprocess.check_output([sys.executable, "-c", NOHUP, how], text=True, timeout=600)
    assert said.strip() == reason


def test_waiting_ends_with_the_time_or_the_flag() -> None:
    stop = Stopping()
    started = time.monotonic()
    assert not stop.wait(0.12)
    assert time.monotonic() - started >= 0.12
    threading.Timer(0.1, stop.stop, ["enough"]).start()
    assert stop.wait(30.0)
    assert stop.reason == "enough"


BUSY = """
import hashlib, os, subprocess, sys, time
from sweepkit.launch import stopping
stopping.GRACE_S, stopping.LAST_S = 2.0, 2.0
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
with stopping.on_signals() as stop:
    print(child.pid, flush=True)
    try:
        if sys.argv[1] == "python":
            while True:
                sum(range(1000))
        elif sys.argv[1] == "setup":
            with stop.at_once():
                time.sleep(1000)
        elif sys.argv[1] == "native":
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2**31 - 1)  # minutes, outside of Python
        while not stop():
            time.sleep(0.01)
        time.sleep(5)  # a large checkpoint
        print("checkpoint")
    except KeyboardInterrupt as why:
        print(f"interrupted by {why}")
child.kill()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("where", "said", "status"),
    [
        ("python", "interrupted by", 0),
        ("setup", "interrupted by", 0),
        ("native", "", exit_status.STOPPED),
        ("polling", "checkpoint", 0),
    ],
)
def test_whatever_a_process_is_at_it_ends_in_time(where: str, said: str, status: int, number: int) -> None:
    """In Python it is interrupted, elsewhere ended with its children; who writes a checkpoint is let be."""
    with subprocess.Popen([sys.executable, "-c", BUSY, where], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        time.sleep(0.5)
        process.send_signal(number)
        output, _ = process.communicate(timeout=600)
    assert output.startswith(said) and process.returncode == status
    for _ in range(4000):
        if not is_alive(child):
            return
        time.sleep(0.05)
    raise AssertionError("its child goes on")


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    return False
