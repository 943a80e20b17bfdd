"""Processes that tests start in sessions of their own, and that end with the tests however those end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


@contextlib.contextmanager
def when_killed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Have ``command`` run where this process is killed within the block; where the block ends, never.

    A watcher waits for the end of a pipe that only this process writes to.
    """
    watcher = subprocess.Popen(
        ["bash", "-c", 'cat > /dev/null; exec "$@"', "watcher", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()
        if watcher.stdin:
            watcher.stdin.close()


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """``subprocess.run`` with its output; what it has started ends too, whatever ends this."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            with when_killed(["kill", "-KILL", "--", f"-{process.pid}"]):
                out, err = process.communicate(timeout=timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
