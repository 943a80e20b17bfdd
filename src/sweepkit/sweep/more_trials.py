"""Amendments of a search: more trials on the same study, which the frozen ``n_trials`` did not allow.

What is proposed on the lowest rung adopts nothing, so more of it spends no α. All the same what was frozen
stays as it was: ``results/<sweep>/more-trials-K.json`` says how many trials there are to be from then on, how
many proposals there had been and the hash of the last of them, and a hash of the amendment before or of the
frozen plan. It is created at once or not at all, and never replaced.

An amendment begins a search's limits anew: what had ended it before (patience, hours) counts from there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import FrozenPlanError
from sweepkit.sweep.search_spec import SearchSpec

SCHEMA_VERSION = 1
_FILE = re.compile(r"more-trials-([1-9][0-9]*)\.json")


@dataclass(frozen=True)
class MoreTrials:
    """One amendment of ``n_trials``.

    Attributes:
        number: from 1.
        n_trials: how many there are to be in all.
        before: how many there were to be.
        num_lines: lines of ``trials.jsonl`` when it was recorded; what they say of an end holds no more.
        chain: hash of the last of them; "" where there was none.
        previous: hash of the amendment before, or of the frozen plan.
        sha256: of all that.
    """

    number: int
    n_trials: int
    before: int
    num_lines: int
    chain: str
    previous: str
    schema_version: int = SCHEMA_VERSION
    sha256: str = field(default="", metadata=typed.UNWRITTEN)

    @property
    def file(self) -> str:
        """The name of its file in the sweep's folder."""
        return f"more-trials-{self.number}.json"

    def __str__(self) -> str:
        return f"n_trials was raised from {self.before} to {self.n_trials} by amendment {self.number}"


def load(sweep_dir: Path, frozen_sha256: str) -> tuple[MoreTrials, ...]:
    """All amendments of a search's ``n_trials``, in order.

    Raises:
        FrozenPlanError: one was edited, is missing, or belongs to another plan.
        SweepkitError: a newer version wrote one.
    """
    numbers = sorted(int(match[1]) for path in sweep_dir.iterdir() if (match := _FILE.fullmatch(path.name)))
    found: list[MoreTrials] = []
    previous = frozen_sha256
    for place, number in enumerate(numbers, start=1):
        path = sweep_dir / f"more-trials-{place}.json"
        content = None
        try:
            content = fsio.read_json(path)
            is_intact = content["previous"] == previous and place == number
            item = dataclasses.replace(typed.load(MoreTrials, content), sha256=fsio.digest(content))
        except (FileNotFoundError, ValueError, KeyError, AttributeError, TypeError):
            is_intact = False
        fsio.check_version(path, content, SCHEMA_VERSION)
        if not is_intact:
            raise FrozenPlanError(
                f"{path} is missing, edited or of another plan, but must be what was recorded; restore it, "
                f"or delete {path.parent} and start the search again (finished runs are kept)"
            )
        found.append(item)
        previous = item.sha256
    return tuple(found)


def amended(spec: SearchSpec | None, found: Sequence[MoreTrials]) -> SearchSpec | None:
    """What is searched, with as many trials as the last amendment says."""
    return dataclasses.replace(spec, n_trials=found[-1].n_trials) if spec and found else spec


def record(sweep_dir: Path, item: MoreTrials) -> None:
    """Write an amendment; another driver that was first with the very same is fine.

    Raises:
        FrozenPlanError: another one of that number was recorded meanwhile.
    """
    content = typed.dump(item)
    path = sweep_dir / item.file
    if not fsio.create_json(path, content) and fsio.read_json(path) != content:
        raise FrozenPlanError(
            f"{path} was recorded by another command meanwhile and asks for something else; look at it with "
            "sweepkit status, and go on with what it asks for"
        )
