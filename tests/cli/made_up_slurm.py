"""A cluster inside this process: it takes what sbatch would, and carries it out when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sweepkit.cli.main import main
from sweepkit.config.schema import LauncherConfig
from sweepkit.launch import execute, job
from sweepkit.launch.slurm import cluster, endings, retries, shards, submissions, submit
from sweepkit.launch.slurm.cluster import Limits, QueuedTask
from sweepkit.launch.slurm.submissions import Submission


@dataclass
class MadeUpSlurm:
    """Jobs wait until ``carry_out``; all that have ended are COMPLETED unless ``endings`` says otherwise."""

    waiting: list[Submission] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)
    num_jobs: int = 0

    def place(self, submission: Submission, parameters: dict[str, Any], results_dir: Path) -> Submission:
        self.num_jobs += 1
        placed = replace(submission, job_id=str(self.num_jobs), submitted_at=job.now())
        submissions.write(results_dir, placed)
        self.waiting.append(placed)
        return placed

    def queue(self, names: Any = None) -> list[QueuedTask]:
        return [
            QueuedTask(str(item.job_id), index if item.tasks else None, item.name, "PENDING", None, None)
            for item in self.waiting
            if names is None or item.name in names
            for index in range(max(1, len(item.tasks)))
        ]

    def final_states(self, full_ids: list[str], started: set[str]) -> dict[str, str]:
        return {full_id: self.endings.get(full_id, "COMPLETED") for full_id in full_ids}

    def carry_out(self, results_dir: Path, monkeypatch: pytest.MonkeyPatch) -> int:
        """Everything, and what gates submit, until the queue is empty; the last gate's exit status."""
        status = 0
        while self.waiting:
            job_ = self.waiting.pop(0)
            for name in job_.shards:
                shard = shards.read(submissions.folder(results_dir) / "shards" / name)
                execute.execute(
                    shard.plans,
                    LauncherConfig(),
                    results_dir=results_dir,
                    unattended=True,
                    watch=shard.watch,
                )
            if job_.is_gate:
                with monkeypatch.context() as patch:
                    patch.setenv(retries.IS_JOB, "1")
                    status = main(job_.command)
        return status


def install(monkeypatch: pytest.MonkeyPatch) -> MadeUpSlurm:
    """In place of the commands of a real one."""
    slurm = MadeUpSlurm()
    monkeypatch.setattr(cluster, "check_available", lambda: None)
    monkeypatch.setattr(cluster, "has_accounting", lambda: True)
    monkeypatch.setattr(cluster, "limits", lambda: Limits(1000, None))
    monkeypatch.setattr(cluster, "queue", slurm.queue)
    monkeypatch.setattr(cluster, "job_of_name", lambda name: None)
    monkeypatch.setattr(cluster, "max_time_min", lambda partition, qos: None)
    monkeypatch.setattr(endings, "final_states", slurm.final_states)
    monkeypatch.setattr(submit, "place", slurm.place)
    return slurm
