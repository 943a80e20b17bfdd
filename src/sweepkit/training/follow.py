"""``python -m sweepkit.training.follow``: one rank of several, other than the first.

It is told everything by the leader, does the same work on other rows, and ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

from sweepkit.distributed import team
from sweepkit.training.session import Session

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Follow until the leader lets go; raises SystemExit where a rank fails."""
    mine = team.join()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the leader gets it too, and says what is to be done
    Session(mine).follow()
    return 0


if __name__ == "__main__":
    with contextlib.suppress(OSError, AttributeError):  # Linux: never outlive who started it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.exit(main())
