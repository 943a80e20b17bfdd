"""``submit``: hand runs to Slurm as arrays, each exactly once, and return.

The order is what makes it safe to be killed anywhere: shards are written, the intent is written, sbatch is
called, the job id is written. A later call looks up every intent without a job id by its name before anything
else, so a job that sbatch denied and the controller ran all the same is found and not submitted again. What
is queued is left alone; what ended in order is done; what was lost goes through ``losses.py``. Two processes
that submit into one results folder take turns.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError, JobPaths

from sweepkit import fsio
from sweepkit.config.schema import LauncherConfig, SlurmConfig
from sweepkit.launch import claims, job
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.reopen import reopen
from sweepkit.launch.slurm import cluster, losses, shards, snapshot, submissions
from sweepkit.launch.slurm.cluster import ClusterError
from sweepkit.launch.slurm.shards import Resources, Shard
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.launch.slurm.task import Task
from sweepkit.plan.run_plan import RunPlan

_TURN_S = 120.0
_LOOK_AGAIN_S = (0.0, 2.0, 5.0)


@dataclass
class Submitted:
    """What a call of ``submit`` found and did, in runs."""

    done: int = 0
    queued: int = 0  # waiting or running already
    submitted: int = 0
    held_back: int = 0  # over the cluster's submit limit; the next call, or the gate, submits them
    given_up: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)  # ids of the arrays that are still to end
    seconds: float = 0.0

    @property
    def is_pending(self) -> bool:
        """Whether any run has yet to end."""
        return bool(self.queued or self.submitted or self.held_back)

    def __str__(self) -> str:
        parts = [
            (self.submitted, f"submitted in {self.seconds:.1f} s"),
            (self.queued, "queued before"),
            (self.done, "done"),
            (self.held_back, "held back by the cluster's submit limit"),
            (len(self.given_up), "given up"),
        ]
        words = [f"{number} {what}" for number, what in parts if number] or ["nothing to submit"]
        return "; ".join(words) + (f" (jobs {', '.join(self.jobs)})" if self.jobs else "")


def submit(
    plans: Sequence[RunPlan],
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    title: str,
    retry_failed: bool = False,
) -> Submitted:
    """Submit every run that is not done and not queued.

    Args:
        plans: the runs wanted; equal run_ids count once.
        title: the sweep's name, or the run's; names of jobs begin with it.
        retry_failed: start failed runs again too.

    Raises:
        ClusterError: no Slurm here, no answer, or a refusal; nothing is submitted twice when tried again.
    """
    started = time.monotonic()
    cluster.check_available()
    results_dir = results_dir.absolute()
    with _turn(results_dir):
        _settle_intents(results_dir)
        ledger = Ledger(plans, results_dir)
        retried = set(reopen(ledger, retry_failed))
        placed = submissions.look(results_dir)
        result = Submitted(done=len(ledger.runs) - len(ledger.open()))
        queued = {run_id for run_id, places in placed.items() if any(item.queued for item in places)}
        result.queued = sum(run.run_id in queued for run in ledger.open())
        free = [run for run in ledger.open() if run.run_id not in queued]
        for loss in losses.find(free, placed, results_dir):
            if loss.run.run_id not in retried and losses.give_up(loss, launcher.max_attempts):
                result.given_up.append(loss.run.run_id)
        wanted = [run.plan for run in free if not run.is_final]
        for resources, some in _arrays(wanted, launcher.slurm, result):
            array = _new_array(title, some, results_dir)
            tasks = [_task(shard, launcher, results_dir) for shard in some]
            submission = place(array, tasks, parameters(launcher.slurm, resources, results_dir), results_dir)
            result.submitted += sum(len(run_ids) for run_ids in submission.tasks)
        result.jobs = _live_arrays(results_dir, set(ledger.runs))
    result.seconds = time.monotonic() - started
    return result


def place(
    submission: Submission, functions: Sequence[Any], parameters: dict[str, Any], results_dir: Path
) -> Submission:
    """Write the intent, call sbatch through submitit, write the job id; the submission with its id.

    Raises:
        ClusterError: sbatch refused, and no job of that name has come to be.
    """
    submissions.write(results_dir, submission)
    executor = SlurmExecutor(folder=submissions.log_folder(results_dir, submission.name))
    executor.update_parameters(job_name=submission.name, **parameters)
    try:
        with executor.batch():
            jobs = [executor.submit(function) for function in functions]
        job_id = jobs[0].job_id.split("_")[0]
    except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError) as error:
        found = _found(submission.name)
        if found is None:
            raise ClusterError(_refusal(submission, error)) from error
        job_id = found
        _write_pickles(replace(submission, job_id=job_id), functions, parameters, results_dir)
    placed = replace(submission, job_id=job_id, submitted_at=job.now())
    submissions.write(results_dir, placed)
    return placed


def parameters(slurm: SlurmConfig, resources: Resources, results_dir: Path) -> dict[str, Any]:
    """What submitit is told of one array."""
    setup = list(slurm.setup)
    if slurm.snapshot:
        setup += snapshot.shell_lines(snapshot.take(submissions.folder(results_dir) / "snapshots"))
    value: dict[str, Any] = {
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "time": resources.time_min,
        "mem": f"{resources.mem_gib}GB",
        "cpus_per_task": resources.cpus,
        "gpus_per_node": resources.gpus or None,
        "nodes": 1,
        "ntasks_per_node": 1,
        "array_parallelism": slurm.max_parallel,
        "signal_delay_s": slurm.signal_delay_s,
        "setup": setup,
        "additional_parameters": dict(item.split("=", 1) for item in slurm.sbatch) | {"requeue": True},
    }
    return {name: item for name, item in value.items() if item is not None}


def job_name(title: str) -> str:
    """A title as part of a job's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", title).strip("-")[:40] or "run"


def _arrays(
    plans: Sequence[RunPlan], slurm: SlurmConfig, result: Submitted
) -> Iterator[tuple[Resources, list[Shard]]]:
    """Shards that ask for the same, in arrays no larger than the cluster takes."""
    packed = shards.pack(plans, slurm)
    limits = cluster.limits()
    if limits.max_submit is not None:
        room = max(0, limits.max_submit - len(cluster.queue()) - 1)  # one is the gate's
        result.held_back = sum(len(shard.plans) for shard in packed[room:])
        packed = packed[:room]
    alike: dict[Resources, list[Shard]] = {}
    for shard in packed:
        alike.setdefault(shards.resources(shard, slurm), []).append(shard)
    for resources, some in alike.items():
        for start in range(0, len(some), limits.max_array_size):
            yield resources, some[start : start + limits.max_array_size]


def _new_array(title: str, some: Sequence[Shard], results_dir: Path) -> Submission:
    """Named by its shards and by how often they were submitted before."""
    names = [shard.name for shard in some]
    for times in range(10_000):
        name = f"{job_name(title)}-{fsio.digest([names, times])[:10]}"
        before = submissions.read(results_dir, name)
        if before is None or before.job_id is None:
            return Submission(name, title, [shard.run_ids for shard in some])
    raise AssertionError("every name is taken")


def _task(shard: Shard, launcher: LauncherConfig, results_dir: Path) -> Task:
    path = shards.write(shard, submissions.folder(results_dir) / "shards")
    slurm = launcher.slurm
    return Task(path, results_dir, slurm.workers_per_task, launcher.max_attempts, slurm.max_requeues)


def _settle_intents(results_dir: Path) -> None:
    """Find out what became of submissions whose process died, or was told no, before it knew the job id."""
    for intent in submissions.read_all(results_dir):
        if intent.job_id is None and (job_id := cluster.job_of_name(intent.name)) is not None:
            submissions.write(results_dir, replace(intent, job_id=job_id, submitted_at=job.now()))


def _found(name: str) -> str | None:
    """The job that a failed sbatch left behind all the same; the controller may need a moment."""
    for wait_s in _LOOK_AGAIN_S:
        time.sleep(wait_s)
        with contextlib.suppress(ClusterError):
            if (job_id := cluster.job_of_name(name)) is not None:
                return job_id
    return None


def _write_pickles(
    submission: Submission, functions: Sequence[Any], parameters: dict[str, Any], results_dir: Path
) -> None:
    """What submitit would have moved into place, had sbatch told it the job's id."""
    log_folder = submissions.log_folder(results_dir, submission.name)
    for index, function in enumerate(functions):
        delayed = DelayedSubmission(function)
        delayed.set_timeout(parameters["time"], 3)
        delayed.dump(JobPaths(log_folder, job_id=submission.full_id(index)).submitted_pickle)


def _refusal(submission: Submission, error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "sbatch" in line), lines[-1] if lines else repr(error))
    return (
        f"sbatch refused {submission.name}: {said.strip()}; correct launcher.slurm.* (docs/slurm.md lists "
        "what clusters refuse) and run the same command again, nothing is submitted twice"
    )


def _live_arrays(results_dir: Path, run_ids: set[str]) -> list[str]:
    """Ids of the arrays that still have to do with these runs."""
    mine = [
        item
        for item in submissions.read_all(results_dir)
        if any(run_id in run_ids for task in item.tasks for run_id in task)
    ]
    live = {task.job_id for task in cluster.queue([item.name for item in mine])}
    return [item.job_id for item in mine if item.job_id in live and item.job_id is not None]


@contextlib.contextmanager
def _turn(results_dir: Path) -> Iterator[None]:
    """One process at a time submits into a results folder.

    Raises:
        ClusterError: another one has been at it for two minutes.
    """
    path = submissions.folder(results_dir) / "claim.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _TURN_S
    while (claim := claims.acquire(path)) is None:
        if time.monotonic() > until:
            raise ClusterError(f"{path} is held by another process that submits; wait for it to end")
        time.sleep(0.2)
    with claim:
        yield
