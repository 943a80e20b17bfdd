"""What goes on with a sweep on Slurm by itself, and the command to give where nothing does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sweepkit.launch.slurm.cluster import QueuedTask
from sweepkit.launch.slurm.submissions import Submission

CLIMB = "--climb"


def unattended(name: str, submitted: Sequence[Submission], queue: Sequence[QueuedTask]) -> str | None:
    """The command that goes on with sweep ``name``; None where a gate waits, or Slurm has no part in it.

    Args:
        submitted: everything, oldest first.
        queue: the jobs that have not ended.
    """
    gates = [item for item in submitted if item.is_gate and item.title == name]
    rungs = [item for item in submitted if not item.is_gate and item.title.startswith(f"{name} ")]
    mine = [item for item in submitted if item.title == name or item in rungs]
    live = {task.name for task in queue}
    if not mine or any(item.name in live for item in gates):
        return None
    line = gates[-1].command if gates else ["resume", name, *([CLIMB] if rungs else [])]
    return f"sweepkit {shlex.join(line)}"
