"""Runs that several processes on several nodes train together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from slurm_cluster import LAUNCHER, Cluster, User

from tiny_sweep import write_sweep

ONE = "{run: {base: [horizon.device_batch_size=2]}}"
TWO_NODES = ("launcher.processes_per_run=2", "launcher.slurm.nodes=2")


def losses(results: Path) -> list[float]:
    (path,) = results.glob("runs/*/metrics.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return list({row["step"]: row["loss"] for row in rows if "loss" in row}.values())


def process_of_rank(job_id: str, rank: int) -> int:
    """The training process of a rank: what submitit started, by its environment."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (path / "environ").read_text().split("\0")
            is_rank = {f"SLURM_JOB_ID={job_id}", f"SLURM_PROCID={rank}"} <= set(variables)
            if is_rank and "submitit.core._submit" in (path / "cmdline").read_text():
                return int(path.name)
    raise AssertionError(f"no process of rank {rank} of job {job_id}")


@pytest.mark.slow
@pytest.mark.xdist_group("slurm 2")
def test_two_nodes_train_one_run_through_a_preemption_and_a_dead_rank(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder, seeds=1, num_steps=300, axes=ONE, reference="{run: base}", ladder="none")
    user.sweepkit("sweep", name, *LAUNCHER, *TWO_NODES, "launcher.slurm.partition=low")

    here = user.folder / "here"
    undisturbed = user.meanwhile(
        "sweep", name, "launcher=local", "launcher.processes_per_run=2", results=here
    )
    user.wait_for_step(20)
    (array,) = [item for item in user.submissions() if item["tasks"]]
    (line,) = cluster.run("squeue", "-h", "-j", array["job_id"], "-o", "%D|%A").splitlines()
    num_nodes, job_id = line.split("|")
    assert num_nodes == "2"
    cluster.run("sbatch", "-p", "high", "-N", "4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
    cluster.wait_for("the requeued run", lambda: max(user.attempts().values(), default=0) == 2)
    user.wait_for_step(max(user.steps().values()) + 20)
    os.kill(process_of_rank(job_id, 1), signal.SIGKILL)
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert list(user.attempts().values()) == [3]

    undisturbed.result()
    assert losses(user.results) == losses(here)
    (record,) = [json.loads(path.read_text()) for path in user.results.glob("runs/*/record.json")]
    assert record["resolved"]["num_ranks"] == 2
