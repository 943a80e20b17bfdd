"""What was submitted: ``results/.slurm/jobs/<job name>.json``, one file an array or gate.

A file is written before sbatch is called (the intent, without a job id) and again after it. The name stands
for the content and is also the job's name, so that a process that died in between, or a controller that
reported failure and ran the job all the same, leaves something that can be looked up.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError
from sweepkit.launch.slurm import cluster
from sweepkit.launch.slurm.cluster import QueuedTask
from sweepkit.launch.slurm.retries import ClusterError

FOLDER = ".slurm"
_NO_ID = (
    "cancel the jobs of this results folder that wait or run (squeue --me, scancel), delete it and run the "
    "same command again (finished runs are kept)"
)


@dataclass(frozen=True)
class Submission:
    """One array of shards or of a search's workers, or one gate: all that is needed to submit or find it.

    Attributes:
        name: of the job, unique.
        title: the sweep it belongs to, or the run.
        time_min: the job's time limit.
        tasks: run ids of each array task; empty for a gate. A search's workers choose their runs themselves.
        shards: name of each task's shard.
        settings: what every task is told besides its shard or command.
        command: a gate's, or every worker's.
        job_id: None while it is only an intent.
    """

    name: str
    title: str
    time_min: int
    tasks: list[list[str]] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    job_id: str | None = None
    submitted_at: str | None = None

    @property
    def is_gate(self) -> bool:
        return bool(self.command) and not self.tasks

    @property
    def is_search(self) -> bool:
        return bool(self.command and self.tasks)

    def full_id(self, task: int) -> str | None:
        """Of one array task, as Slurm writes it; submitit submits a single task as a plain job."""
        if self.job_id is None or len(self.tasks) <= 1:
            return self.job_id
        return f"{self.job_id}_{task}"


@dataclass(frozen=True)
class Place:
    """Where a run stands in one submission."""

    submission: Submission
    task: int
    queued: QueuedTask | None  # None: the task has ended, or was never submitted

    @property
    def full_id(self) -> str | None:
        return self.submission.full_id(self.task)

    def log_path(self, results_dir: Path) -> Path | None:
        """What the task printed."""
        if self.full_id is None:
            return None
        return log_folder(results_dir, self.submission.name) / f"{self.full_id}_0_log.err"


def folder(results_dir: Path) -> Path:
    return results_dir / FOLDER


def log_folder(results_dir: Path, name: str) -> Path:
    """submitit's folder of one submission: its files and the tasks' logs."""
    return folder(results_dir) / "logs" / name


def folder_id(results_dir: Path) -> str:
    """A random name that this results folder has, and no other."""
    path = folder(results_dir) / "id.json"
    fsio.make_folder(path.parent)
    if not path.exists():
        fsio.create_json(path, {"id": uuid.uuid4().hex})
    try:
        return str(fsio.read_json(path)["id"])
    except DamagedError as error:
        raise DamagedError(path, error.why, _NO_ID) from None


def write(results_dir: Path, submission: Submission) -> None:
    fsio.write_json(_path(results_dir, submission.name), asdict(submission))


def read(results_dir: Path, name: str) -> Submission | None:
    """The submission of that name; None where there is none."""
    path = _path(results_dir, name)
    return _read(path) if path.exists() else None


def read_all(results_dir: Path) -> list[Submission]:
    """All submissions of a results folder, oldest first."""
    found = [_read(path) for path in (folder(results_dir) / "jobs").glob("*.json")]
    return sorted(found, key=lambda item: item.submitted_at or "~")


def places(submitted: Sequence[Submission], queue: Sequence[QueuedTask]) -> dict[str, list[Place]]:
    """run id → where it stands in each submission that holds it, oldest first."""
    queued = {(task.job_id, task.task or 0): task for task in queue}
    found: dict[str, list[Place]] = {}
    for submission in submitted:
        for index, run_ids in enumerate(submission.tasks):
            task = queued.get((submission.job_id, index)) if submission.job_id is not None else None
            for run_id in run_ids:
                found.setdefault(run_id, []).append(Place(submission, index, task))
    return found


def look(results_dir: Path) -> dict[str, list[Place]]:
    """``places`` of a results folder as the cluster has them now; empty where nothing was ever submitted."""
    submitted = read_all(results_dir)
    if not any(item.job_id for item in submitted):
        return {}
    return places(submitted, cluster.queue([item.name for item in submitted]))


def _read(path: Path) -> Submission:
    try:
        return Submission(**fsio.read_json(path))
    except (DamagedError, TypeError) as error:
        why = error.why if isinstance(error, DamagedError) else error
        raise ClusterError(
            f"{path} cannot be read ({why}), but must say what was submitted; cancel its jobs (scancel "
            f"--name {path.stem}), delete it and run the same command again"
        ) from None


def _path(results_dir: Path, name: str) -> Path:
    return folder(results_dir) / "jobs" / f"{name}.json"
