"""What has become of a list of runs, read from their folders and from nowhere else.

The folders are the only truth: a ledger can be made at any time by any process, and two drivers with the
same list see the same. ``refresh`` costs one ``stat`` a run that is not done and reads only what changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweepkit.launch import claims
from sweepkit.launch.claims import Holder
from sweepkit.plan.command_plan import Plan
from sweepkit.results import asked
from sweepkit.results.columns import LOST, PLANNED
from sweepkit.results.progress import Progress
from sweepkit.results.pruned import Pruner
from sweepkit.results.record import FINAL_STATES, STOPPED, RunDir, RunRecord, RunState

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Run:
    """One run as last seen by whoever asks for ``plan``, its evaluation included.

    Attributes:
        pruner: for whom it is looked at, where that is one who stops the hopeless: what it has stopped has
            ended.
    """

    plan: Plan
    run_dir: RunDir
    record: RunRecord | None = None
    holder: Holder | None = None
    seen: tuple[object, ...] | None = None  # modification times and inodes of the records
    pruner: Pruner | None = None
    is_pruned: bool = False

    @classmethod
    def of(cls, plan: Plan, results_dir: Path) -> Run:
        """A run as its folder is now."""
        run = cls(plan, RunDir.of(results_dir, plan.run_id))
        run.refresh()
        return run

    @property
    def run_id(self) -> str:
        return self.plan.run_id

    @property
    def is_final(self) -> bool:
        return self.is_pruned or (self.record is not None and self.record.state in FINAL_STATES)

    @property
    def is_held(self) -> bool:
        return self.holder is not None and self.holder.alive

    @property
    def is_startable(self) -> bool:
        return not self.is_final and not self.is_held

    @property
    def state(self) -> str:
        """planned, running, trained, complete, failed, diverged, pruned, futile, preempted, cancelled
        or lost.
        """
        if self.is_pruned:
            assert self.pruner is not None
            return self.pruner.state.value
        if self.is_final and self.record is not None:
            return self.record.state.value
        if self.is_held:
            return RunState.running.value
        if self.record is None:
            return PLANNED
        if self.record.state in STOPPED:  # by somebody else
            return RunState.preempted.value
        return LOST if self.record.state is RunState.running else self.record.state.value

    def refresh(self) -> None:
        """Read what changed in the run's folder."""
        key = self.plan.evaluation_key
        seen = (_stamp(self.run_dir.record_path), _stamp(self.run_dir.evaluation_path(key)))
        if seen != self.seen:
            self.record, self.seen = asked.read(self.run_dir, key), seen
        self.is_pruned = self.pruner is not None and self.pruner.has_pruned(self.run_dir, self.record)
        self.holder = None if self.is_final else claims.holder(self.run_dir.claim_path)

    def progress(self) -> Progress:
        """What the process that holds it last said; nothing of a run that nobody holds."""
        return self.run_dir.read_progress() if self.is_held else Progress()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_ino


def with_lost(runs: pd.DataFrame, results_dir: Path) -> pd.DataFrame:
    """A runs table in which what is recorded as running, and whose process is gone, is called lost."""
    running = runs.loc[runs["state"] == RunState.running, "run_id"]
    holders = {run_id: claims.holder(RunDir.of(results_dir, run_id).claim_path) for run_id in running}
    lost = [run_id for run_id, holder in holders.items() if holder is None or not holder.alive]
    return runs.assign(state=runs["state"].mask(runs["run_id"].isin(lost), LOST)) if lost else runs


class Ledger:
    """The runs of a list, each once, in the order asked for.

    Args:
        pruner: for whom they are looked at, as for ``Run``.

    Attributes:
        to_come: runs of what a search's workers will still propose.
    """

    to_come = 0

    def __init__(self, plans: Sequence[Plan], results_dir: Path, pruner: Pruner | None = None) -> None:
        self.results_dir = results_dir
        self._pruner = pruner
        self.runs: dict[str, Run] = {}
        self.add(plans)
        self.refresh(everything=True)

    @property
    def runs_to_come(self) -> int:
        """How many will be in the list that are not in it yet."""
        return self.to_come

    def add(self, plans: Iterable[Plan]) -> None:
        """Take further runs into the list."""
        for plan in plans:
            if plan.run_id not in self.runs:
                run_dir = RunDir.of(self.results_dir, plan.run_id)
                self.runs[plan.run_id] = Run(plan, run_dir, pruner=self._pruner)

    def refresh(self, everything: bool = False) -> None:
        """Look again at the runs that are not done, or at all."""
        for run in self.runs.values():
            if everything or not run.is_final:
                run.refresh()

    def open(self) -> list[Run]:
        """Runs that are not done."""
        return [run for run in self.runs.values() if not run.is_final]

    def startable(self) -> list[Run]:
        """Runs that are not done and held by nobody alive."""
        return [run for run in self.runs.values() if run.is_startable]

    def held(self) -> list[Run]:
        """Runs that somebody alive holds."""
        return [run for run in self.runs.values() if not run.is_final and run.is_held]

    def counts(self) -> dict[str, int]:
        """State -> number of runs."""
        return dict(Counter(run.state for run in self.runs.values()))

    def busy(self) -> dict[str, int]:
        """compile_key -> how many processes are on it."""
        return dict(Counter(run.plan.compile_key for run in self.held()))
