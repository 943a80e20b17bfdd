"""A search on Slurm: array tasks that each ask, run and tell until there is nothing left to ask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import invalid
from sweepkit.launch.slurm import cluster, shards, submissions
from sweepkit.launch.slurm.place import job_name, parameters, place, submitting
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.launch.slurm.shards import Shard
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.launch.slurm.submit import Submitted
from sweepkit.plan.command_plan import Plan


def submit_workers(
    title: str,
    command: Sequence[str],
    num_workers: int,
    num_done: int,
    plan: Plan,
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    automatic: bool,
) -> Submitted:
    """Submit a search's workers, unless some are queued; each asks for trials until there are none left.

    Args:
        title: the sweep.
        command: what sweepkit is to be called with.
        num_workers: array tasks, at the most ``max_parallel``.
        num_done: trials that have ended: workers that end one after the other without any are not replaced.
        plan: one of the runs, to ask for memory and time by.
        automatic: no person asked.

    Raises:
        ClusterError: as ``submit``, or workers end without finishing a trial.
    """
    started = time.monotonic()
    results_dir = results_dir.absolute()
    slurm = launcher.slurm
    if slurm.nodes > 1:
        raise invalid(
            "launcher.slurm.nodes", slurm.nodes, "be 1 for a search (a run stays on the node of its worker)",
            "leave it out, with launcher.processes_per_run up to the GPUs of a node",
        )  # fmt: skip
    with submitting(slurm, results_dir) as longest_min:
        before = [
            item for item in submissions.read_all(results_dir) if item.is_search and item.title == title
        ]
        live = {task.job_id for task in cluster.queue([item.name for item in before])}
        if live:
            return Submitted(queued=num_workers, jobs=sorted(live))
        idle = [item for item in before[-launcher.max_attempts :] if item.settings["num_done"] == num_done]
        if automatic and len(idle) >= launcher.max_attempts:
            where = submissions.log_folder(results_dir, idle[-1].name)
            raise ClusterError(
                f"{len(idle)} times workers of {title} ended without finishing a trial, but must finish one "
                f"(launcher.max_attempts); see {where}, correct what they say and resume the sweep"
            )
        needed = shards.resources(Shard((plan,)), launcher, longest_min)
        # A worker is one task, which starts the other processes of its runs itself.
        cpus = needed.cpus * needed.processes_per_node
        time_min = max(needed.time_min, slurm.task_min)
        time_min = time_min if longest_min is None else min(time_min, longest_min)
        needed = replace(needed, time_min=time_min, cpus=cpus, processes_per_node=1)
        settings = {"max_requeues": slurm.max_requeues, "num_done": num_done}
        name = f"{job_name(title, results_dir)}-search-{sum(item.job_id is not None for item in before) + 1}"
        tasks: list[list[str]] = [[] for _ in range(min(num_workers, slurm.max_parallel))]
        array = Submission(name, title, needed.time_min, tasks, settings=settings, command=list(command))
        placed = place(array, parameters(slurm, needed, results_dir), results_dir)
    jobs = [placed.job_id] if placed.job_id else []
    return Submitted(submitted=len(tasks), jobs=jobs, seconds=time.monotonic() - started)
