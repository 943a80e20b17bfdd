"""Taking turns at proposing: a claim in the sweep's folder that outlives no process."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sweepkit.launch import claims
from sweepkit.sweep import trials

_POLL_S = (0.002, 0.02)


@contextlib.contextmanager
def taken(sweep_dir: Path, stop: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Whether it is this process's turn; False when asked to stop before it was."""
    while (claim := claims.acquire(sweep_dir / trials.CLAIM_FILE)) is None:
        if stop():
            yield False
            return
        time.sleep(random.uniform(*_POLL_S))
    with claim:
        yield True
