"""What goes wrong on a cluster, done to a real one: no run is lost, none runs twice, none ends otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from slurm_cluster import LAUNCHER, Cluster, User, fake_sbatch

from tiny_sweep import write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm 2")]

# The scalars' usual rate is too much for thousands of steps of 256 tokens: whether such a run ends is luck.
ONE = "{run: {base: [optimizer.smear.lr=0.02]}}"


def losses(results: Path) -> dict[str, dict[int, float]]:
    """run id → step → training loss; of a step that was done twice, the later one."""
    found: dict[str, dict[int, float]] = {}
    for path in results.glob("runs/*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = {row["step"]: row["loss"] for row in rows if "loss" in row}
    return found


def one_long_run(user: User, num_steps: int = 400) -> str:
    return write_sweep(
        user.folder, seeds=1, num_steps=num_steps, axes=ONE, reference="{run: base}", ladder="none"
    )


def test_a_preempted_run_goes_on_and_loses_nothing(cluster: Cluster, user: User) -> None:
    name = one_long_run(user)
    user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.partition=low")
    here = user.folder / "here"
    undisturbed = user.meanwhile("sweep", name, results=here)
    user.wait_for_step(50)
    cluster.run("sbatch", "-p", "high", "-N", "4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
    cluster.wait_until_idle()

    undisturbed.result()
    assert user.table(name) == user.table(name, here)
    assert losses(user.results) == losses(here)
    assert list(user.attempts().values()) == [2]
    (record,) = [json.loads(path.read_text()) for path in user.results.glob("runs/*/record.json")]
    attempts = [json.loads(path.read_text()) for path in user.results.glob("runs/*/attempts/*.json")]
    # its clock knows nothing of the queue: neither of 3 s of another's job nor of starting anew
    attempts_s = [
        (
            datetime.fromisoformat(item["ended_at"]) - datetime.fromisoformat(item["started_at"])
        ).total_seconds()
        for item in attempts
    ]
    assert record["results"]["train_time_s"] < sum(attempts_s)


def test_a_killed_task_keeps_its_siblings_and_its_own_runs_are_taken_up(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder, seeds=2, num_steps=80, ladder="none")
    user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.runs_per_task=2")
    user.wait_for_step(20)
    (array,) = [item for item in user.submissions() if item["tasks"]]
    cluster.run("scancel", "-s", "KILL", f"{array['job_id']}_0.0")
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    attempts = user.attempts()
    assert sorted(attempts[run_id] for run_id in array["tasks"][1]) == [1, 1]
    assert max(attempts[run_id] for run_id in array["tasks"][0]) == 2
    assert len([item for item in user.submissions() if item["tasks"]]) == 2


def test_a_killed_worker_costs_nothing_but_its_last_steps(cluster: Cluster, user: User) -> None:
    name = one_long_run(user, 200)
    user.sweepkit("sweep", name, *LAUNCHER)
    user.wait_for_step(20)
    (claim,) = [json.loads(path.read_text()) for path in user.results.glob("runs/*/claim.json")]
    os.kill(claim["process"]["pid"], signal.SIGKILL)
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert len([item for item in user.submissions() if item["tasks"]]) == 1  # the same task went on


def test_a_node_that_dies_costs_a_restart(cluster: Cluster, user: User) -> None:
    name = one_long_run(user)
    user.sweepkit("sweep", name, *LAUNCHER)
    user.wait_for_step(20)
    node = cluster.run("squeue", "-h", "-t", "R", "-o", "%N")
    cluster.control("kill-node", node)
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert list(user.attempts().values()) == [2]


def test_a_job_cancelled_behind_our_back_is_not_submitted_again(cluster: Cluster, user: User) -> None:
    name = one_long_run(user, 2000)
    user.sweepkit("sweep", name, *LAUNCHER)
    user.wait_for_step(10)
    (array,) = [item for item in user.submissions() if item["tasks"]]
    cluster.run("scancel", array["job_id"])
    cluster.wait_until_idle()  # its gate has looked by then
    assert set(user.states(name).values()) == {"cancelled"}
    assert len([item for item in user.submissions() if item["tasks"]]) == 1


def test_a_time_limit_costs_a_restart(cluster: Cluster, user: User) -> None:
    name = one_long_run(user, 250)
    user.sweepkit("sweep", name, *LAUNCHER)
    user.wait_for_step(20)
    (array,) = [item for item in user.submissions() if item["tasks"]]
    (claim,) = [json.loads(path.read_text()) for path in user.results.glob("runs/*/claim.json")]
    process = claim["process"]["pid"]
    # Slurm looks every 30 s; the run rests so long, so that it need not have thousands of steps
    os.kill(process, signal.SIGSTOP)
    cluster.run("scontrol", "update", f"JobId={array['job_id']}", "EndTime=now+1")
    running = ("squeue", "-h", "-t", "RUNNING", "-o", "%A", "-j", array["job_id"])
    cluster.wait_for("the limit", lambda: not cluster.run(*running, check=False))
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
    cluster.wait_for("the restart", lambda: max(user.attempts().values()) > 1)
    cluster.run(
        "scontrol", "update", f"JobId={cluster.queue()[0].split('|')[0]}", "TimeLimit=30", check=False
    )
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert [sorted(found) for found in losses(user.results).values()] == [list(range(1, 251))]


def test_cancel_empties_the_queue_and_keeps_checkpoints(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder, seeds=4, num_steps=2000, ladder="none")
    user.sweepkit("sweep", name, *LAUNCHER)
    user.wait_for_step(10)
    (array,) = [item for item in user.submissions() if item["tasks"]]
    seeds = [{run_id.rsplit("-", 1)[1] for run_id in task} for task in array["tasks"]]
    assert seeds == [{f"s{seed}"} for seed in range(1, 5)], "time is judged: a task has a seed's runs"
    assert {len(task) for task in array["tasks"]} == {2}
    before = user.status(name)
    waits = {run["waits_for"] for run in before["runs"] if run["state"] == "queued"}
    assert "JobArrayTaskLimit" in waits
    assert all(run["job"] for run in before["runs"])
    user.sweepkit("cancel", name)
    cluster.wait_until_idle()
    assert set(user.states(name).values()) == {"cancelled"}
    assert list(user.results.glob("runs/*/checkpoints/*"))


def test_killed_between_two_sbatch_calls_nothing_is_submitted_twice_or_forgotten(
    cluster: Cluster, user: User
) -> None:
    name = write_sweep(user.folder, seeds=1, ladder="none")
    path = fake_sbatch(user.folder, 'sbatch "$@" >/dev/null; kill -9 $PPID')
    done = user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.runs_per_task=1", check=False, extra=path)
    assert done.returncode == -signal.SIGKILL
    (intent,) = user.submissions()
    assert intent["job_id"] is None and len(intent["tasks"]) == 2
    said = user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.runs_per_task=1", extra=path).stdout
    assert "2 queued before" in said and "submitted in" not in said
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert set(user.attempts().values()) == {1}


def test_a_frozen_controller_that_runs_the_job_all_the_same(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder, seeds=1, ladder="none")
    pid_file = f"{cluster.settings['SLURMTEST_ROOT']}/run/slurmctld.pid"
    path = fake_sbatch(
        user.folder,
        f'kill -STOP $(cat {pid_file}); sbatch "$@"; code=$?; kill -CONT $(cat {pid_file}); exit $code',
    )
    said = user.sweepkit("sweep", name, *LAUNCHER, extra=path).stdout
    assert "2 submitted" in said
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert set(user.attempts().values()) == {1}
    assert len([item for item in user.submissions() if item["tasks"]]) == 1


def test_a_wrong_partition_is_refused_and_costs_nothing(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder, seeds=1, ladder="none")
    done = user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.partition=nowhere", check=False)
    assert done.returncode == 2
    assert "sbatch refused" in done.stderr and "partition" in done.stderr
    assert "2 submitted" in user.sweepkit("sweep", name, *LAUNCHER).stdout
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}


def test_without_slurm_one_line_says_what_to_do(tmp_path: Path, shared_cache: Path) -> None:
    name = write_sweep(tmp_path, ladder="none")
    (tmp_path / "bin").mkdir()
    environment = {
        "PATH": str(tmp_path / "bin"),
        "HOME": str(tmp_path),
        "SWEEPKIT_CACHE_DIR": str(shared_cache),
    }
    command = [sys.executable, "-m", "sweepkit", "sweep", name, "launcher=slurm"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "sbatch" in line and "launcher=local" in line
