"""What the tasks of a submission call: their shard's ``Task``, or a sweepkit command, as a gate does.

A **gate** waits for arrays to end and goes on from there: its command looks at the run folders and submits
again what was lost, with a successor of the gate, or decides the rung and submits the next. Nothing depends
on the process or the machine that began, and running the same command by hand at any time does the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from submitit.helpers import DelayedSubmission

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch.slurm import submissions, task
from sweepkit.launch.slurm.retries import IS_JOB
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.launch.slurm.task import Task


@dataclass(frozen=True)
class Command:
    """Pickled by submitit, called on a compute node."""

    command: tuple[str, ...]
    results_dir: Path
    max_requeues: int

    def __call__(self) -> None:
        """Run the command; told to stop, have it stop, and requeue. Raises SystemExit with its status."""
        command = [sys.executable, "-m", "sweepkit", *self.command]
        stopped_by: list[str] = []
        environment = os.environ | {"SWEEPKIT_RESULTS_DIR": str(self.results_dir), IS_JOB: "1"}
        environment.pop("HYDRA_FULL_ERROR", None)  # set while Hydra does a multirun; here errors are one line
        with subprocess.Popen(command, env=environment) as process:

            def stop(number: int, frame: FrameType | None) -> None:
                stopped_by.append(signal.Signals(number).name)
                process.send_signal(signal.SIGTERM)

            signal.signal(signal.SIGUSR2, stop)
            signal.signal(signal.SIGTERM, stop)
            code = process.wait()
        if stopped_by:
            task.requeue(stopped_by[0], self.max_requeues)
        raise SystemExit(code)

    def checkpoint(self) -> DelayedSubmission:
        """The command can be run again from the start."""
        return DelayedSubmission(self)


def task_settings(launcher: LauncherConfig) -> dict[str, int]:
    """What every ``Task`` is told of the launcher."""
    return {
        "num_workers": launcher.slurm.workers_per_task,
        "processes_per_run": launcher.processes_per_run,
        "max_attempts": launcher.max_attempts,
        "max_requeues": launcher.slurm.max_requeues,
    }


def calls_of(submission: Submission, results_dir: Path) -> list[Callable[[], Any]]:
    """A callable a task, in order; picklable by reference."""
    if submission.command:
        requeues = submission.settings["max_requeues"]
        call = Command(tuple(submission.command), results_dir, requeues)
        return [call] * max(1, len(submission.tasks))
    folder = submissions.folder(results_dir) / "shards"
    return [Task(folder / name, results_dir, **submission.settings) for name in submission.shards]
