"""Processes of code that is not ours: each in a group of its own, which is ended as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: How long code that is to say what it is, or to plan, is waited for: a busy machine takes its time.
PATIENCE_S = 900.0
_LAST_WORDS_S = 2.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # before any fork


@dataclass(frozen=True)
class Answer:
    """What a process said.

    Attributes:
        status: that it ended with; None where it was given up.
        out, errors: what it printed.
    """

    status: int | None
    out: str
    errors: str


def ask(command: Sequence[str], patience_s: float, given: str = "", **how: Any) -> Answer:
    """Run something to its end, or until patience ends: it is then interrupted, so that it says where it is.

    Nothing that it has started in its group is left, also where this process is interrupted. What goes on
    printing is not waited for.

    Args:
        given: its standard input.
        how: for ``Popen``.

    Raises:
        OSError: it cannot be started.
    """
    with (
        tempfile.TemporaryFile("w+") as words,
        tempfile.TemporaryFile("w+", errors="replace") as out,
        tempfile.TemporaryFile("w+", errors="replace") as errors,
    ):
        words.write(given)
        words.seek(0)
        child = subprocess.Popen(
            command, stdin=words, stdout=out, stderr=errors, start_new_session=True,
            preexec_fn=end_with_parent, **how,  # noqa: PLW1509  (it takes no lock)
        )  # fmt: skip
        status: int | None = None
        try:
            status = child.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_LAST_WORDS_S)
        finally:
            kill(child)
        out.seek(0)
        errors.seek(0)
        return Answer(status, out.read(), errors.read())


def kill(child: subprocess.Popen[Any]) -> None:
    """End what is left of a process and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def end_with_parent() -> None:
    """In the child: die at once with the process that follows it, which nobody else would stop."""
    with contextlib.suppress(OSError, AttributeError):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
