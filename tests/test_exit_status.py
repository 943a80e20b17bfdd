"""An exit status in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sweepkit import exit_status


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(3)", "ended with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", f"was killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_of_a_process_that_has_ended(code: str, words: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import os, signal, sys; {code}"], check=False)
    assert exit_status.in_words(done.returncode) == words


def test_the_numbers_are_those_of_the_system() -> None:
    expected = (os.EX_OK, os.EX_OSERR, os.EX_IOERR, os.EX_TEMPFAIL)
    known = (exit_status.DONE, exit_status.VANISHED, exit_status.CANNOT_WRITE, exit_status.STOPPED)
    assert known == expected
