"""What a gate does when nobody is there: it asks again, leaves what was cancelled, is missed when gone."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from slurm_cluster import LAUNCHER, Cluster, User

from tiny_sweep import write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm 1")]
EACH_ALONE = "launcher.slurm.runs_per_task=1"


def test_waiting_tasks_that_somebody_cancels_stay_cancelled(cluster: Cluster, user: User) -> None:
    """The whole array, one task, and a range: accounting writes each in another way, or not at all."""
    chosen = {"whole": ("", {0, 1, 2, 3}), "single": ("_1", {1}), "some": ("_[0,2-3]", {0, 2, 3})}
    arrays = {}
    with cluster.held():
        for index, (name, (tasks, _)) in enumerate(chosen.items()):
            write_sweep(user.folder, name, seeds=2, num_steps=10 + index, ladder="none")  # share no runs
            user.sweepkit("sweep", name, *LAUNCHER, EACH_ALONE)
            (arrays[name],) = [item for item in user.submissions() if item["tasks"] and item["title"] == name]
            cluster.run("scancel", f"{arrays[name]['job_id']}{tasks}")
    cluster.wait_until_idle()  # the gates have looked by then
    for name, (_, cancelled) in chosen.items():
        states = user.states(name)
        for task, (run_id,) in enumerate(arrays[name]["tasks"]):
            assert states[run_id] == ("cancelled" if task in cancelled else "complete"), (name, task)
    assert len([item for item in user.submissions() if item["tasks"]]) == 3, "nothing was submitted again"
    again = user.sweepkit("sweep", "single", *LAUNCHER, EACH_ALONE).stdout
    assert "1 submitted" in again and "3 done" in again, "a person asked"
    cluster.wait_until_idle()
    assert set(user.states("single").values()) == {"complete"}


def test_a_promotion_survives_a_failed_answer_and_misses_its_gate(cluster: Cluster, user: User) -> None:
    """squeue, sacct and sbatch fail once inside the gate; then the next gate is cancelled: status says so."""
    name = write_sweep(user.folder, seeds=2)
    (user.folder / "bin").mkdir()
    for command in ("squeue", "sacct", "sbatch"):
        path, real = user.folder / "bin" / command, shutil.which(command)
        path.write_text(  # PATH stays as it is: jobs inherit it
            "#!/bin/bash\n"
            f'if [ -n "$SWEEPKIT_JOB" ] && mkdir {user.folder}/{command}-failed 2>/dev/null; then\n'
            f'echo "{command}: error: Socket timed out on send/recv operation" >&2; exit 1; fi\n'
            f'exec {real} "$@"\n'
        )
        path.chmod(0o755)
    path = {"PATH": f"{user.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin"}
    user.sweepkit("promote", name, *LAUNCHER, extra=path)
    second = f"{name} d4"

    def has_climbed() -> bool:
        return any(item["title"] == second and item["job_id"] for item in user.submissions())

    cluster.wait_for("the next rung", has_climbed)
    assert all((user.folder / f"{command}-failed").is_dir() for command in ("squeue", "sacct", "sbatch"))
    until = time.monotonic() + 900
    while sum(not item["tasks"] and item["job_id"] is not None for item in user.submissions()) < 2:
        assert time.monotonic() < until
        time.sleep(0.3)
    assert "no gate waits" not in user.sweepkit("status", name).stdout
    gates = [item["job_id"] for item in user.submissions() if not item["tasks"]]
    cluster.run("scancel", *gates)
    cluster.wait_until_idle()
    shown = " ".join(user.sweepkit("status", name).stdout.split())
    assert f"no gate waits: run sweepkit resume {name} --climb launcher=slurm" in shown


def test_a_folder_with_an_odd_name_works_or_is_refused_before_anything_is_submitted(
    cluster: Cluster, user: User
) -> None:
    name = write_sweep(user.folder, seeds=1, ladder="none")
    odd = user.folder / 'it\'s "odd", $HOME & ünï'
    user.sweepkit("sweep", name, *LAUNCHER, results=odd)
    cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name, odd)} == {"complete"}
    for letter in "%\\":
        done = user.sweepkit("sweep", name, *LAUNCHER, results=user.folder / f"a{letter}jb", check=False)
        assert done.returncode == 2 and "SWEEPKIT_RESULTS_DIR" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert cluster.queue() == []
