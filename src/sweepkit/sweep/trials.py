"""The trials of a search: ``results/<sweep>/trials.jsonl``, a line for every point that was proposed.

A frozen plan lists its runs before the first one starts; a search cannot. What it froze is the space, the
sampler and the number of trials; every proposal is then appended here, with the plans of its runs, before any
of them starts. So the file and the run folders are the truth about a search, whatever becomes of the
sampler's own memory. Only whoever holds the search's claim appends. Every line holds a hash of itself and of
the line before it, the first of the frozen plan, so that what was proposed cannot be changed afterwards, nor
be another search's; how many lines there are stands in ``trials.json``, so that the last ones cannot go
unnoticed either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import DamagedError, FrozenPlanError
from sweepkit.sweep import constraint, frozen_head, warm_notes
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.search_space import Value

FILE = "trials.jsonl"
COUNT_FILE = "trials.json"
#: Whoever holds it proposes; it is held for moments only.
CLAIM_FILE = "search.claim.json"
#: Tells workers to propose nothing more; the next launch takes it away.
STOP_FILE = "stop"
_PART = 1 << 16
_CHAIN, _CHAIN_LEN = "chain", 32


@dataclass(frozen=True)
class Trial:
    """One proposal; it counts as a trial where it has runs of its own.

    Attributes:
        number: from 0, in the order of proposing.
        params: field → value.
        point: which of the named points this is (0: the reference), None for a proposal of the sampler's.
        cells: its runs where it is searched, one a seed; empty where it is no valid configuration.
        above: its runs on the further rungs of a ladder, in case it climbs.
        error: why it is none.
        same_as: the number of the trial that has these very runs under another point.
        repeats: proposals in its place that had been tried before, and were dropped.
        is_earlier: whether its runs had ended before the search began.
        warm: the search that it comes from, where that is one that this one starts from.
        end: of a last line, which is no trial: why nothing more is proposed.
    """

    number: int
    params: dict[str, Value]
    point: int | None = None
    cells: tuple[Cell, ...] = ()
    error: str | None = None
    above: tuple[Cell, ...] = ()
    same_as: int | None = None
    repeats: int = 0
    is_earlier: bool = False
    warm: str = ""
    end: str | None = None

    @property
    def is_invalid(self) -> bool:
        """Whether its fields are wrong together; a point that breaks a constraint is not."""
        return self.error is not None and not self.error.startswith(constraint.BROKEN)

    @property
    def counts(self) -> bool:
        """Whether it is one of the ``n_trials``."""
        return bool(self.cells) and not self.warm


@dataclass
class Reader:
    """Reads a growing file of trials; every trial is given once."""

    sweep_dir: Path
    _offset: int = field(default=0, init=False)
    chain: str = field(default="", init=False)
    _count: int = field(default=0, init=False)

    def new(self) -> list[Trial]:
        """Trials appended since the last call. Raises FrozenPlanError where a line was edited or is gone."""
        path = self.sweep_dir / FILE
        count = _count(self.sweep_dir)  # before the lines: they only become more
        text = fsio.read_from(path, self._offset)
        whole = text[: text.rfind(b"\n") + 1]  # what follows is being written, or its writer was killed
        if whole and not self._count:
            self.chain = frozen_head.read(self.sweep_dir).sha256
        self._offset += len(whole)
        found = typed.load_alike(Trial, [self._content(line, path) for line in whole.splitlines()])
        self._count += len(found)
        if self._count < count:
            raise _tampered(path, f"has {self._count} of the {count} lines that were written")
        return found

    def _content(self, line: bytes, path: Path) -> Mapping[str, Any]:
        try:
            content: dict[str, Any] = json.loads(line)
            stated = content.pop(_CHAIN)
            self.chain, is_intact = stated, stated == _link(self.chain, content)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            is_intact = False
        if not is_intact:
            raise _tampered(path, "was edited, is damaged or another search's")
        return content


def _tampered(path: Path, what: str) -> FrozenPlanError:
    return FrozenPlanError(
        f"{path} {what}, but must hold what was proposed, as it was; restore it, or delete {path.parent} and "
        "start the sweep again (finished runs are kept)"
    )


def _count(sweep_dir: Path) -> int:
    """How many lines were written, of those whose writer lived to count them."""
    try:
        return int(fsio.read_json(sweep_dir / COUNT_FILE)["lines"])
    except FileNotFoundError:
        return 0
    except (DamagedError, KeyError, TypeError) as error:
        raise _tampered(sweep_dir / COUNT_FILE, f"is damaged ({error})") from None


def _link(before: str, content: Mapping[str, Any]) -> str:
    """Hash of a line's content and of the line before it."""
    return fsio.digest([before, content])[:_CHAIN_LEN]


def append(sweep_dir: Path, trial: Trial) -> None:
    """Append a trial; the caller holds the search's claim.

    Raises:
        StorageError: the disk is full.
    """
    path = sweep_dir / FILE
    mend(path)
    content = fsio.finite(typed.dump(trial))
    before = _last_link(path) or frozen_head.read(sweep_dir).sha256
    row = content | {_CHAIN: _link(before, content)}
    fsio.append(path, json.dumps(row, separators=(",", ":")).encode() + b"\n")
    fsio.write_json(sweep_dir / COUNT_FILE, {"lines": _count(sweep_dir) + 1})


def _last_link(path: Path) -> str:
    """Hash of the last line, which its writer puts at the end; empty where there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _CHAIN_LEN - len('"}\n')))
            return file.read(_CHAIN_LEN).decode(errors="replace")
    except FileNotFoundError:
        return ""


def mend(path: Path) -> None:
    """Cut off half a last line, which a killed writer has left."""
    try:
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            kept = end
            while kept:
                start = max(0, kept - _PART)
                file.seek(start)
                found = file.read(kept - start).rfind(b"\n")
                if found >= 0:
                    kept = start + found + 1
                    break
                kept = start
            if kept < end:
                file.truncate(kept)
    except FileNotFoundError:
        return


def load(sweep_dir: Path) -> list[Trial]:
    """All proposals of a sweep; none for one that does not search."""
    return [trial for trial in Reader(sweep_dir).new() if trial.end is None]


def written(sweep_dir: Path) -> tuple[int, str]:
    """How many lines there are, an end's among them, and the hash of the last one."""
    reader = Reader(sweep_dir)
    return len(reader.new()), reader.chain


def said(sweep_dir: Path, n_trials: int, num_reopened: int = 0) -> str:
    """What was tried of what was asked, in words.

    Args:
        num_reopened: lines before an amendment; an end among them holds no more.
    """
    lines = Reader(sweep_dir).new()
    known = [trial for trial in lines if trial.end is None]
    parts = [f"{sum(trial.counts for trial in known)} of {n_trials} trials proposed"]
    for number, what in (
        (
            sum(trial.is_earlier and not trial.warm for trial in known),
            "of them had ended before the search began",
        ),
        (sum(trial.is_invalid for trial in known), "proposals were no valid configuration"),
        (sum(trial.error is not None and not trial.is_invalid for trial in known), "broke a constraint"),
        (sum(trial.same_as is not None for trial in known), "were the runs of another trial"),
        (sum(trial.repeats for trial in known), "repeated a point and were dropped"),
    ):
        parts += [f"{number} {what}"] if number else []
    parts += map(str, warm_notes.read(sweep_dir) or ())
    return "; ".join([*parts, *(f"it has ended: {trial.end}" for trial in lines[num_reopened:] if trial.end)])


def with_trials(cells: list[Cell], trials: Iterable[Trial]) -> list[Cell]:
    """``cells`` and those of the trials, every run once: a trial may be the reference, or repeat another."""
    known = {cell.plan.run_id for cell in cells}
    found = list(cells)
    for trial in trials:
        for cell in (*trial.cells, *trial.above):
            if cell.plan.run_id not in known:
                known.add(cell.plan.run_id)
                found.append(cell)
    return found
