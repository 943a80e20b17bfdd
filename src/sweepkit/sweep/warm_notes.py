"""``warm_start.json`` of a search: what it has taken from the searches that it starts from, and what not.

It is written once, before anything is proposed, and never changed: whoever asks for a trial reads there which
points are tried first. ``sweep/trials.py`` has those that were told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import DamagedError, FrozenPlanError, SweepkitError, did_you_mean, invalid
from sweepkit.printable import counted
from sweepkit.sweep import frozen_head
from sweepkit.sweep.search_space import Value

FILE = "warm_start.json"


@dataclass(frozen=True)
class WarmStart:
    """What became of the trials of one search that another one starts from.

    Attributes:
        source: its name.
        told: how many of its trials are told, results and all.
        first: points that are run anew, before any other: their runs there are no results here.
        dropped: reason → how many of its trials have no place here for it.
    """

    source: str
    told: int
    first: tuple[dict[str, Value], ...]
    dropped: dict[str, int]

    def __str__(self) -> str:
        parts = [f"warm start from {self.source}: {counted(self.told, 'trial')} told"]
        if self.first:
            parts.append(f"{counted(len(self.first), 'point')} tried first, whose runs there are other runs")
        parts += [f"{number} dropped ({reason})" for reason, number in self.dropped.items()]
        return "; ".join(parts)


@dataclass(frozen=True)
class _Written:
    sources: tuple[WarmStart, ...]


def check(sources: Sequence[str], sweep: str, results_dir: Path) -> None:
    """Before anything is frozen: every search that one starts from is there.

    Raises:
        ConfigError: names the one that is not.
    """
    for source in sources:
        remedy = f"name searches in {results_dir}, or leave it out"
        if source == sweep:
            raise invalid("search.warm_start", source, "be another search", remedy)
        try:
            head = frozen_head.read(results_dir / source)
        except SweepkitError as error:
            is_there = (results_dir / source).is_dir()
            near = did_you_mean(source, _searches(results_dir))
            contract = f"be a search that was started ({error if is_there else near})"
            raise invalid("search.warm_start", source, contract, remedy) from None
        if head.sweep.search is None:
            raise invalid("search.warm_start", source, "be a sweep that searches", remedy)


def _searches(results_dir: Path) -> list[str]:
    heads = ((name, frozen_head.found(results_dir / name)) for name in fsio.folders(results_dir))
    return [name for name, head in heads if head is not None and head.sweep.search is not None]


def read(sweep_dir: Path) -> tuple[WarmStart, ...] | None:
    """What was taken over; None where nothing was written yet. Raises FrozenPlanError where it is damaged."""
    path = sweep_dir / FILE
    try:
        return typed.load(_Written, fsio.read_json(path)).sources
    except FileNotFoundError:
        return None
    except DamagedError as error:
        raise FrozenPlanError(
            f"{path} is damaged ({error.why}), but must be what was written; restore it, or delete "
            f"{path.parent} and start the search again (finished runs are kept)"
        ) from None


def write(sweep_dir: Path, found: tuple[WarmStart, ...]) -> None:
    """Write down what was taken over; the caller holds the search's claim."""
    fsio.write_json(sweep_dir / FILE, typed.dump(_Written(found)))
