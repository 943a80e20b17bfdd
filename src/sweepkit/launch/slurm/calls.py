"""From a submission to what its tasks call; made anew from the record, whoever needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch.slurm import submissions
from sweepkit.launch.slurm.command import Command
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.launch.slurm.task import Task


def settings(launcher: LauncherConfig) -> dict[str, int]:
    """What every ``Task`` is told of the launcher."""
    return {
        "num_workers": launcher.slurm.workers_per_task,
        "processes_per_run": launcher.processes_per_run,
        "max_attempts": launcher.max_attempts,
        "max_requeues": launcher.slurm.max_requeues,
    }


def of(submission: Submission, results_dir: Path) -> list[Callable[[], Any]]:
    """A callable a task, in order; picklable by reference."""
    if submission.command:
        requeues = submission.settings["max_requeues"]
        call = Command(tuple(submission.command), results_dir, requeues)
        return [call] * max(1, len(submission.tasks))
    folder = submissions.folder(results_dir) / "shards"
    return [Task(folder / name, results_dir, **submission.settings) for name in submission.shards]
