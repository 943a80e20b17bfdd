"""Texts of a hub that runs are to train on: their commits are looked up where they are not known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sweepkit.config import paths
from sweepkit.config.choices import LauncherKind
from sweepkit.launch import budget
from sweepkit.plan import text
from sweepkit.plan.run_plan import RunPlan

Result = TypeVar("Result")


def knowing(act: Callable[[], Result]) -> Result:
    """What ``act`` gives, which plans runs, after asking the hub for commits that it lacks.

    Raises:
        DataError: the hub cannot be reached, or has no such dataset.
    """
    while True:
        try:
            return act()
        except text.UnknownTextError as unknown:
            from sweepkit.data import hub

            hub.look_up(unknown.dataset, paths.cache_dir() / "data" / "downloads")


def known(plans: Sequence[RunPlan], results_dir: Path) -> list[RunPlan]:
    """The plans with their texts; what this machine will not run is refused before a hub is asked.

    Raises:
        UnknownTextError: a commit is not known here; ``knowing`` asks for it.
        ConfigError: the runs would take more than the launcher allows.
    """
    try:
        return [text.known(plan) for plan in plans]
    except text.UnknownTextError:
        if plans[0].launcher.kind is not LauncherKind.slurm:
            budget.check(plans, plans[0].launcher, results_dir)
        raise
