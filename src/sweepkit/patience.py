"""Patience with storage that fails for a moment: a file server that restarts, a handle gone stale.

What the system says of such a moment is no verdict on the work: the call is made again, for some seconds.
What fails for longer is told as a ``StorageError``, and the run goes on from its last checkpoint later.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from sweepkit.errors import StorageError

Result = TypeVar("Result")

#: Errors of a moment: devices and file servers give them, and take them back.
TRANSIENT = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETIMEDOUT, errno.EREMOTEIO,
        errno.ENOLCK, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.ESHUTDOWN, errno.ECOMM,
        errno.EPROTO, errno.ENODEV, errno.ENXIO,
    }
)  # fmt: skip
#: Between one try and the next; a call is given up after the last.
DELAYS_S = (0.05, 0.5, 2.0, 8.0)


def patiently(call: Callable[[], Result]) -> Result:
    """What ``call`` returns, made again while storage fails for a moment; it must bear being repeated.

    Raises:
        StorageError: it has failed for all of ``DELAYS_S``.
        OSError: any other error of the system, at once.
    """
    for delay_s in DELAYS_S:
        try:
            return call()
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            time.sleep(delay_s)
    try:
        return call()
    except OSError as error:
        if (reason := in_words(error)) is None:
            raise
        raise StorageError(reason) from error


def in_words(error: OSError) -> str | None:
    """What to tell the user of storage that failed; None for any other error."""
    if error.errno not in TRANSIENT:
        return None
    place = error.filename2 or error.filename
    return (
        f"storage failed{f' at {place}' if place else ''} ({error.strerror}), but must answer; run the same "
        "command again once it does, it goes on from the last good state"
    )
