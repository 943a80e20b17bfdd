"""Which items a model got right: ``items/KEY.json`` in a run's folder, and the scores that follow from it.

The file is written again after every task, so that what was stopped goes on with the next one, and it stays:
two models are compared item by item (``analysis/paired_items.py``). Scores are accuracies centred on chance,
(accuracy − chance) / (1 − chance); their mean over the 22 tasks of CORE is CORE, over other tasks a subset's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit.config import typed
from sweepkit.errors import SweepkitError
from sweepkit.results.record import RunDir

SCHEMA_VERSION = 1

#: Column of the mean over the 22 tasks of CORE, and over any others.
CORE, SUBSET = "core", "core_subset"
#: Column of the mean → that of its standard error.
SE = {CORE: "core_se", SUBSET: "core_se_subset"}
#: Before the label of a task in columns.
TASK, TASK_SE = "core_", "core_se_"


@dataclass(frozen=True)
class TaskOutcome:
    """What became of one task's items, in the order in which they are asked.

    Attributes:
        baseline: what chance scores, in percent.
        correct: a character an item, 1 where it was right, else 0.
        chosen: the choice of every item, with spaces between; empty where there are none.
    """

    label: str
    kind: str
    baseline: float
    correct: str
    chosen: str = ""

    @property
    def accuracy(self) -> float:
        return self.correct.count("1") / len(self.correct)

    @property
    def centred(self) -> float:
        """0 at chance, 1 where all is right."""
        chance = 0.01 * self.baseline
        return (self.accuracy - chance) / (1 - chance)

    @property
    def se(self) -> float:
        """Standard error of ``centred``: that of a share of so many items (binomial)."""
        share = self.accuracy
        return math.sqrt(share * (1 - share) / len(self.correct)) / (1 - 0.01 * self.baseline)


@dataclass(frozen=True)
class ModelOutcome:
    """What one set of weights got right.

    Attributes:
        made_by: digest of the weights, of where and by which code they were asked.
    """

    made_by: str
    tasks: dict[str, TaskOutcome] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcomes:
    """All that was asked of a run under one ``evaluation_key``.

    Attributes:
        is_whole: whether these are all items of the 22 tasks of CORE.
        bundle: its digest.
        models: of what losses of the weights are called before their own name ("", or ``ema_``).
    """

    is_whole: bool
    bundle: str
    models: dict[str, ModelOutcome] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


def path(run_dir: RunDir, key: str) -> Path:
    """Where they are kept."""
    return run_dir.path / "items" / f"{key}.json"


def read(run_dir: RunDir, key: str) -> Outcomes | None:
    """What was kept; None where there is nothing that can be read."""
    try:
        return typed.load(Outcomes, run_dir.read(path(run_dir, key)))
    except (FileNotFoundError, SweepkitError):
        return None


def write(run_dir: RunDir, key: str, outcomes: Outcomes) -> None:
    """Replace it. Raises StorageError."""
    run_dir.write(path(run_dir, key), typed.dump(outcomes))


def scores(tasks: Sequence[TaskOutcome], is_whole: bool) -> dict[str, float]:
    """Columns of the runs table: the mean, that of every task, and the standard error of each.

    That of the mean takes tasks for independent; it is of items alone, seeds are not in it.
    """
    mean = CORE if is_whole else SUBSET
    found = {
        mean: math.fsum(task.centred for task in tasks) / len(tasks),
        SE[mean]: math.sqrt(math.fsum(task.se**2 for task in tasks)) / len(tasks),
    }
    for task in tasks:
        found |= {f"{TASK}{task.label}": task.centred, f"{TASK_SE}{task.label}": task.se}
    return found


def is_score(name: str) -> bool:
    """Whether a result is of what a model was asked."""
    return name.removeprefix("ema_").startswith(CORE)


def named(measured: Mapping[str, float]) -> str | None:
    """The column of the mean, where there is one."""
    return next((name for name in (CORE, SUBSET) if name in measured), None)
