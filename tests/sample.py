"""What ``make test`` runs of much, drawn by a seed that pytest prints; ``make test-full`` runs all of it.

Whoever generates cases (every state × every command, every file × every damage) hands the whole list to
``sample``; of the tests marked slow ``pytest --slow-one-in N`` runs one in N. All workers of one test run
draw the same, since pytest-xdist wants equal lists of tests.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

SEED_VARIABLE = "SWEEPKIT_TEST_SEED"
FULL_VARIABLE = "SWEEPKIT_TEST_FULL"


def is_full() -> bool:
    return bool(os.environ.get(FULL_VARIABLE))


def seed() -> int:
    """The seed of this test run: workers inherit it from the process that started them."""
    return int(os.environ.setdefault(SEED_VARIABLE, str(time.time_ns() % 1_000_000)))


def sample(cases: Sequence[Case], count: int) -> list[Case]:
    """``count`` of the cases in their order, the same for the same seed; all of them in a full run."""
    if is_full() or count >= len(cases):
        return list(cases)
    drawn = random.Random(f"{seed()} {len(cases)}").sample(range(len(cases)), count)
    return [cases[index] for index in sorted(drawn)]


def one_in(cases: Sequence[Case], n: int) -> list[Case]:
    """Every ``n``-th case, so that rooms keep their share: n consecutive seeds together run each once."""
    return list(cases) if is_full() else list(cases[seed() % n :: n])
