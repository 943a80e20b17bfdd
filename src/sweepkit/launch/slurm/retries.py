"""How long Slurm is asked again: a controller that restarts, or has too much to do, answers a little later.

In a job nobody is there to ask again, so a question is worth ten minutes; a person at a terminal waits some
seconds and is told.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from time import sleep
from typing import TypeVar

from sweepkit.errors import SweepkitError

#: Set where a job, and no person, calls sweepkit.
IS_JOB = "SWEEPKIT_JOB"
_OF_A_TASK = "SUBMITIT_EXECUTOR"
_PERSON_S, _JOB_S = 6.0, 600.0
_FIRST_S, _LONGEST_S = 1.0, 60.0

Answer = TypeVar("Answer")


class ClusterError(SweepkitError):
    """Slurm is not there, does not answer, or refuses."""


def patient(
    ask: Callable[[], Answer], is_refusal: Callable[[ClusterError], bool] = lambda error: False
) -> Answer:
    """What ``ask`` returns, which is called again while it raises ClusterError and patience lasts.

    Args:
        is_refusal: whether an error is an answer, which another call would only repeat.

    Raises:
        ClusterError: the last one.
    """
    for wait_s in waits():
        try:
            return ask()
        except ClusterError as error:
            if is_refusal(error):
                raise
        sleep(wait_s)
    return ask()


def waits() -> Iterator[float]:
    """Seconds between one call and the next, doubled each time up to a minute."""
    left = _JOB_S if IS_JOB in os.environ or _OF_A_TASK in os.environ else _PERSON_S
    for wait_s in (min(_FIRST_S * 2.0**number, _LONGEST_S) for number in itertools.count()):
        if wait_s > left:
            return
        left -= wait_s
        yield wait_s
