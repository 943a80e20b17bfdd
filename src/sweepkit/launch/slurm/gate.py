"""Gates: small jobs that wait for arrays to end and then run one sweepkit command, which goes on from there.

The command looks at the run folders: it submits again what was lost, with a successor of the gate, or decides
the rung and submits the next. So nothing depends on the process or the machine that began, and running the
same command by hand at any time does the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

from sweepkit.config.schema import SlurmConfig
from sweepkit.launch.slurm import cluster, submissions
from sweepkit.launch.slurm.shards import Resources
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.launch.slurm.submit import job_name, parameters, place

_RESOURCES = Resources(gpus=0, cpus=1, mem_gib=4, time_min=60)
_AGAIN_S = 120  # where runs are missing and no array is queued: a silent claim has to age first


@dataclass(frozen=True)
class Gate:
    """Pickled by submitit, called on a compute node."""

    command: tuple[str, ...]
    results_dir: Path

    def __call__(self) -> None:
        """Run the command. Raises SystemExit with its status."""
        # what Slurm tells this job about itself is not meant for the jobs that it submits
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))
        }
        environment = kept | {"SWEEPKIT_RESULTS_DIR": str(self.results_dir)}
        command = [sys.executable, "-m", "sweepkit", *self.command]
        raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)

    def checkpoint(self) -> DelayedSubmission:
        """The command can be run again from the start."""
        return DelayedSubmission(self)


def submit(
    title: str, command: Sequence[str], after: Sequence[str], slurm: SlurmConfig, results_dir: Path
) -> str | None:
    """Submit a gate behind the arrays ``after``; None where one is waiting already.

    Args:
        title: the sweep.
        command: what sweepkit is to be called with.
        after: ids of arrays.

    Raises:
        ClusterError: this node may not submit, or Slurm refuses.
    """
    results_dir = results_dir.absolute()
    gates = [item for item in submissions.read_all(results_dir) if item.is_gate and item.title == title]
    waiting = [task for task in cluster.queue([item.name for item in gates]) if task.state == "PENDING"]
    if waiting:
        return None
    name = f"{job_name(title)}-gate-{sum(item.job_id is not None for item in gates) + 1}"
    values = parameters(slurm, _RESOURCES, results_dir) | {"use_srun": False}
    values.pop("gpus_per_node", None)
    if after:
        values["dependency"] = "afterany:" + ":".join(after)
    else:
        values["additional_parameters"] |= {"begin": f"now+{_AGAIN_S}"}
    gate = Gate(tuple(command), results_dir)
    return place(Submission(name, title), [gate], values, results_dir).job_id
