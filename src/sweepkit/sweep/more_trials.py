"""Amendments of a search: more trials on the same study, which the frozen ``n_trials`` did not allow.

What is proposed on the lowest rung adopts nothing, so more of it spends no α. All the same what was frozen
stays as it was: ``results/<sweep>/more-trials-K.json`` says how many trials there are to be from then on, how
many proposals there had been and the hash of the last of them, and a hash of the amendment before or of the
frozen plan (``chain.py``).

An amendment begins a search's limits anew: what had ended it before (patience, hours) counts from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit.config import typed
from sweepkit.sweep import chain
from sweepkit.sweep.search_spec import SearchSpec

SCHEMA_VERSION = 1
_STEM = "more-trials"


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
        return f"{_STEM}-{self.number}.json"

    def __str__(self) -> str:
        return f"n_trials was raised from {self.before} to {self.n_trials} by amendment {self.number}"


def load(sweep_dir: Path, frozen_sha256: str) -> tuple[MoreTrials, ...]:
    """All amendments of a search's ``n_trials``, in order. Raises what ``chain.load`` does."""
    return chain.load(sweep_dir, _STEM, MoreTrials, SCHEMA_VERSION, frozen_sha256)


def amended(spec: SearchSpec | None, found: Sequence[MoreTrials]) -> SearchSpec | None:
    """What is searched, with as many trials as the last amendment says."""
    return dataclasses.replace(spec, n_trials=found[-1].n_trials) if spec and found else spec


def record(sweep_dir: Path, item: MoreTrials) -> None:
    """Write an amendment. Raises what ``chain.record`` does."""
    chain.record(sweep_dir / item.file, item)
