"""What the exit status of a process of ours says to whoever started it (numbers of sysexits.h)."""

from __future__ import annotations

import signal

DONE = 0
#: Another rank is gone: what this one held is to be taken over, as after a kill.
VANISHED = 71
#: The disk is full, or a folder is not ours.
CANNOT_WRITE = 74
#: No other process could do it either: a person has to say how to go on.
REFUSED = 78
#: Of a command that somebody has stopped: 128 + SIGINT, as a shell says.
INTERRUPTED = 130
#: Not done, but nothing is wrong with the work: start another process.
STOPPED = 75


def in_words(status: int) -> str:
    """``was killed by SIGKILL``, ``ended with status 3``.

    Args:
        status: as ``subprocess.Popen.returncode`` has it, a signal's number negated.
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-status}"
