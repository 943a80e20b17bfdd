"""One submission: written down, handed to sbatch by submitit, written down again with its job id.

A process may die after sbatch and before it has read the id, and a controller may report failure and run the
job all the same. Both leave an intent without an id, which is looked up by its name before anything else is
submitted, and adopted.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError, JobPaths

from sweepkit import fsio
from sweepkit.code import tree
from sweepkit.config import variables
from sweepkit.config.schema import SlurmConfig
from sweepkit.errors import invalid
from sweepkit.launch import claims, job
from sweepkit.launch.slurm import cluster, command, snapshot, submissions
from sweepkit.launch.slurm.retries import ClusterError, patient
from sweepkit.launch.slurm.shards import Resources
from sweepkit.launch.slurm.submissions import Submission

_TURN_S = 120.0
#: Settings that are submitit's under the same name.
_NAMES = ("partition", "account", "qos", "constraint")
#: What Slurm sets in a job, and what of it is not of the job but of the cluster.
_OF_A_JOB = ("SLURM_", "SBATCH_CPU_BIND", "SBATCH_MEM_BIND", "SUBMITIT_")
_OF_THE_CLUSTER = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS"})
_LOOK_AGAIN_S = (0.0, 2.0, 5.0)
#: How sbatch refuses what it would refuse again.
_REFUSED = re.compile(
    r"invalid|not available|denied|not permitted|limit|violates|unrecogni|exceed|no such file|unknown",
    re.IGNORECASE,
)
_UNUSABLE = frozenset("%\\:")


def place(submission: Submission, parameters: dict[str, Any], results_dir: Path) -> Submission:
    """Write the intent, call sbatch through submitit, write the job id; the submission with its id.

    Raises:
        ClusterError: sbatch refused, and no job of that name has come to be.
    """
    submissions.write(results_dir, submission)

    def submit() -> Submission:
        executor = SlurmExecutor(folder=submissions.log_folder(results_dir, submission.name))
        executor.update_parameters(job_name=submission.name, **parameters)
        try:
            with _from_outside(), executor.batch():
                jobs = [executor.submit(call) for call in command.calls_of(submission, results_dir)]
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError) as error:
            found = _found(submission.name)
            if found is None:
                raise ClusterError(_refusal(submission, error)) from error
            return _adopt(submission, found, results_dir)
        return _placed(submission, jobs[0].job_id.split("_")[0], results_dir)

    return patient(submit, is_refusal=lambda error: _REFUSED.search(str(error.__cause__)) is not None)


def check_folder(results_dir: Path) -> None:
    """Raises ConfigError where jobs could not be started from a folder of that name, or write into it.

    sbatch replaces ``%`` and ``\\`` in the names of logs, and PYTHONPATH is split at colons.
    """
    bad = sorted({item for item in str(results_dir) if item in _UNUSABLE or not item.isprintable()})
    if bad:
        raise invalid(
            "SWEEPKIT_RESULTS_DIR",
            str(results_dir),
            f"have no {' and no '.join(map(repr, bad))} in it, which Slurm's jobs cannot take",
            "choose another folder",
        )


def check_time(slurm: SlurmConfig) -> int | None:
    """The longest time limit, in minutes, that a task may have; None where there is none.

    Raises:
        ConfigError: it is asked for more than partition and QOS give; such a job would wait for ever.
    """
    partition, qos = (variables.filled(name or "") or None for name in (slurm.partition, slurm.qos))
    longest_min = cluster.max_time_min(partition, qos)
    if not isinstance(slurm.time_min, int):
        return longest_min
    if longest_min is not None and slurm.time_min > longest_min:
        raise invalid(
            "launcher.slurm.time_min",
            slurm.time_min,
            f"be at most {longest_min}, the limit of the partition or of a QOS",
            "leave it at auto (what takes longer goes on after a requeue), or name another partition or QOS",
        )
    return slurm.time_min


def settle_intents(results_dir: Path) -> None:
    """Find out what became of submissions whose process died, or was told no, before it knew the job id."""
    for intent in submissions.read_all(results_dir):
        if intent.job_id is None and (job_id := cluster.job_of_name(intent.name)) is not None:
            _adopt(intent, job_id, results_dir)


def parameters(
    slurm: SlurmConfig, resources: Resources, results_dir: Path, name: str | None = None
) -> dict[str, Any]:
    """What submitit is told of one array; of runs with frozen code, with the name of their tree."""
    setup = list(slurm.setup)
    if name is not None:
        setup += snapshot.tree_lines(tree.find(tree.root(results_dir), name))
    elif slurm.snapshot:
        setup += snapshot.shell_lines(snapshot.take(submissions.folder(results_dir) / "snapshots"))
    value: dict[str, Any] = {
        **{name: variables.filled(getattr(slurm, name) or "") or None for name in _NAMES},
        "time": resources.time_min,
        "mem": f"{resources.mem_gib}GB",
        "cpus_per_task": resources.cpus,
        "gpus_per_node": resources.gpus or None,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.processes_per_node,
        # A rank that dies must not leave the others waiting.
        "srun_args": ["--kill-on-bad-exit=1"],
        "array_parallelism": slurm.max_parallel,
        "signal_delay_s": slurm.signal_delay_s,
        "setup": setup,
        "additional_parameters": _options(slurm.sbatch) | {"requeue": True},
    }
    return {name: item for name, item in value.items() if item is not None}


def job_name(title: str, results_dir: Path) -> str:
    """What the names of a sweep's jobs begin with; no other sweep's do, nor those of another results folder.

    Jobs are looked up by name: in the queue, where all of a user's jobs are, and in the accounting, which
    also has those of a folder that was deleted since.
    """
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", title).strip("-")[:40] or "run"
    return f"{readable}-{fsio.digest([title, submissions.folder_id(results_dir)])[:6]}"


@contextlib.contextmanager
def submitting(slurm: SlurmConfig, results_dir: Path) -> Iterator[int | None]:
    """This process's turn to submit runs, with what others began settled; the longest time limit in minutes.

    Raises:
        ClusterError: no Slurm here, no answer, or another process has been at it for long.
        ConfigError: the results folder's name, or a time limit, that a job cannot have.
    """
    cluster.check_available()
    check_folder(results_dir)
    longest_min = check_time(slurm)
    with turn(results_dir):
        settle_intents(results_dir)
        yield longest_min


@contextlib.contextmanager
def turn(results_dir: Path) -> Iterator[None]:
    """One process at a time submits into a results folder.

    Raises:
        ClusterError: another one has been at it for two minutes.
    """
    path = submissions.folder(results_dir) / "claim.json"
    fsio.make_folder(path.parent)
    until = time.monotonic() + _TURN_S
    while (claim := claims.acquire(path)) is None:
        if time.monotonic() > until:
            raise ClusterError(f"{path} is held by another process that submits; wait for it to end")
        time.sleep(0.2)
    with claim:
        yield


@contextlib.contextmanager
def _from_outside() -> Iterator[None]:
    """As if this process were in no job.

    What Slurm tells a gate, or a user's interactive job, about itself is not meant for jobs submitted there:
    srun would heed it.
    """
    hidden = {}
    if "SLURM_JOB_ID" in os.environ:  # elsewhere all is the user's own
        names = [name for name in os.environ if name.startswith(_OF_A_JOB) and name not in _OF_THE_CLUSTER]
        hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _options(items: Sequence[str]) -> dict[str, Any]:
    """``reservation=x`` and ``exclusive``, as submitit takes them."""
    pairs = (variables.filled(item).partition("=") for item in items)
    return {name.lstrip("-"): value if equals else True for name, equals, value in pairs}


def _adopt(intent: Submission, job_id: str, results_dir: Path) -> Submission:
    """Make a job known that sbatch started without anybody reading its id.

    submitit moves what each task is to call into place after sbatch; its tasks wait a minute for that.
    """
    placed = _placed(intent, job_id, results_dir)
    log_folder = submissions.log_folder(results_dir, intent.name)
    for index, call in enumerate(command.calls_of(intent, results_dir)):
        path = JobPaths(log_folder, job_id=placed.full_id(index)).submitted_pickle
        if not path.exists():
            delayed = DelayedSubmission(call)
            delayed.set_timeout(intent.time_min, 0)
            delayed.dump(path)
    return placed


def _placed(submission: Submission, job_id: str, results_dir: Path) -> Submission:
    placed = replace(submission, job_id=job_id, submitted_at=job.now())
    submissions.write(results_dir, placed)
    return placed


def _found(name: str) -> str | None:
    """The job that a failed sbatch left behind all the same; the controller may need a moment."""
    for wait_s in _LOOK_AGAIN_S:
        time.sleep(wait_s)
        with contextlib.suppress(ClusterError):
            if (job_id := cluster.job_of_name(name)) is not None:
                return job_id
    return None


def _refusal(submission: Submission, error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "sbatch" in line), lines[-1] if lines else repr(error))
    return (
        f"sbatch refused {submission.name}: {said.strip()}; correct launcher.slurm.* (docs/slurm.md lists "
        "what clusters refuse) and run the same command again, nothing is submitted twice"
    )
