"""A job that runs one sweepkit command: gates, and the workers of a search.

A **gate** waits for arrays to end and goes on from there: its command looks at the run folders and submits
again what was lost, with a successor of the gate, or decides the rung and submits the next. Nothing depends
on the process or the machine that began, and running the same command by hand at any time does the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from submitit.helpers import DelayedSubmission

from sweepkit.launch.slurm import task
from sweepkit.launch.slurm.retries import IS_JOB


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
