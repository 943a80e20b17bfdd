"""What one array task does: carry out its shard with the local launcher, and requeue itself when told to
stop.

Slurm sends SIGUSR2 when the task is preempted or its time limit nears. The runs then end with a checkpoint
and the task goes back into the queue, where it goes on later, perhaps on another node. SIGTERM alone
(scancel) stops it for good. A run that ran out of memory is left to be tried on another node. A run whose
process is killed goes on in a new process of the same task; its siblings do not notice. The task ends with
an error where a run failed, so that Slurm says FAILED when something failed.

Where several processes train a run, Slurm starts one for each: the first carries out the shard, the others
follow it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from submitit.helpers import DelayedSubmission

from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import SweepkitError
from sweepkit.exit_status import STOPPED
from sweepkit.launch import execute
from sweepkit.launch.execute import LaunchCancelledError
from sweepkit.launch.slurm import cluster, elsewhere, shards
from sweepkit.plan import world
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.plan.run_spec import RunSpec
from sweepkit.results.record import FailureClass

CHECKPOINT_SIGNAL = "SIGUSR2"  # what submitit has Slurm send
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000  # below what systems give out by themselves


@dataclass(frozen=True)
class Task:
    """Pickled by submitit, called on a compute node.

    Whatever it was that failed, the task ends by SystemExit with the reason, which submitit lets pass: for an
    exception it would add a traceback to the log.
    """

    shard_path: Path
    results_dir: Path
    num_workers: int
    max_attempts: int
    max_requeues: int
    processes_per_run: int = 1

    def __call__(self) -> dict[str, int]:
        """Counts by state. Raises SystemExit where something failed, and after a requeue."""
        shard = shards.read(self.shard_path)
        plans = shard.plans
        if self.processes_per_run > 1 and not self._leads(plans):
            return {}
        launcher = LauncherConfig(
            kind=LauncherKind.local if self.processes_per_run == 1 else LauncherKind.inline,
            num_workers=self.num_workers,
            max_attempts=self.max_attempts,
        )
        try:
            summary = execute.execute(
                plans,
                launcher,
                results_dir=self.results_dir,
                title=self.shard_path.stem,
                unattended=True,
                watch=shard.watch,
            )
        except LaunchCancelledError as cancelled:
            return cancelled.summary.counts
        except KeyboardInterrupt as stopped:
            requeue(str(stopped), self.max_requeues)
        except SweepkitError as error:
            sys.exit(f"sweepkit: {error}")
        by_id = {plan.run_id: plan for plan in plans}
        failed = [
            item
            for item in summary.failures
            if item.failure_class is not None
            and item.failure_class is not FailureClass.diverged
            and not elsewhere.grant(by_id[item.run_id], self.results_dir, item.failure_class)
        ]
        if failed:
            words = [f"{item.run_id}: {item.failure_class}: {item.message}" for item in failed]
            sys.exit("\n".join([f"{len(words)} of {len(plans)} runs failed", *words]))
        return summary.counts

    def _leads(self, plans: Sequence[RunSpec]) -> bool:
        """Join the ranks that Slurm has started, one a task of this step; False after having followed.

        A command starts its processes itself, so that the first has it alone.
        """
        if isinstance(plans[0], CommandPlan):
            return os.environ.get("SLURM_PROCID", "0") == "0"
        rendezvous()
        from sweepkit.distributed import team
        from sweepkit.training import follow

        if not world.is_follower():
            team.join()
            return True
        follow.main()
        return False

    def checkpoint(self) -> DelayedSubmission:
        """Asked by submitit where the signal comes before ``__call__`` has taken over: nothing to save."""
        return DelayedSubmission(self)


def rendezvous() -> None:
    """Put into the environment where the ranks of this step meet, in torchrun's names."""
    job_id = int(os.environ["SLURM_JOB_ID"])
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": os.environ["SLURM_NTASKS"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "MASTER_ADDR": cluster.address(cluster.first_node(os.environ["SLURM_JOB_NODELIST"])),
        "MASTER_PORT": str(_FIRST_PORT + job_id % _NUM_PORTS),
    }


def requeue(signal_name: str, max_requeues: int) -> NoReturn:
    """End this task, stopped after a checkpoint; it goes back into the queue where Slurm asked it to stop."""
    times = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    if signal_name == CHECKPOINT_SIGNAL and times < max_requeues:
        cluster.requeue(os.environ["SLURM_JOB_ID"])
        print(f"stopped by {signal_name} after a checkpoint; requeued ({times + 1})", file=sys.stderr)
    else:
        print(f"stopped by {signal_name} after a checkpoint; not requeued", file=sys.stderr)
    sys.exit(STOPPED)
