"""What a cluster gives and denies: memory, accounts, accounting and how much may be queued at once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import LAUNCHER, Cluster, User, running_cluster

from tiny_sweep import write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm 2")]

ENFORCING = "AccountingStorageEnforce=limits,qos"
MAX_SUBMIT = 4
EACH_ALONE = "launcher.slurm.runs_per_task=1"  # by itself a seed's runs share a task


def test_runs_side_by_side_on_a_node_and_those_it_has_no_memory_for(cluster: Cluster, user: User) -> None:
    axes = "{mlp: {small: [], huge: [model.mlp.ratio=10000000]}}"  # no machine has terabytes
    name = write_sweep(user.folder, axes=axes, reference="{mlp: small}", num_steps=80, ladder="none")
    packed = ("launcher.slurm.runs_per_task=2", "launcher.slurm.workers_per_task=2")
    user.sweepkit("sweep", name, *LAUNCHER, *packed)
    cluster.wait_until_idle()

    rows = {(row["variant"], row["seed"]): row for row in user.table(name)}
    attempts = {
        variant: [
            [
                json.loads(path.read_text())
                for path in sorted(user.results.glob(f"runs/{run_id}/attempts/*.json"))
            ]
            for run_id in [row["run_id"] for (of, _), row in rows.items() if of == variant]
        ]
        for variant in ("reference", "mlp=huge")
    }
    assert {row["state"] for (variant, _), row in rows.items() if variant == "reference"} == {"complete"}
    ((first,), (second,)) = attempts["reference"]
    assert first["pid"] != second["pid"] and first["node"] == second["node"]
    assert max(first["started_at"], second["started_at"]) < min(first["ended_at"], second["ended_at"])

    assert {rows["mlp=huge", seed]["failure_class"] for seed in (1, 2)} == {"oom"}
    for first, second in attempts["mlp=huge"]:  # once more, on another node, and only then it counts
        assert first["retry"] == {"because": "oom", "not_on": [first["node"]]}
        assert second["node"] != first["node"] and second.get("retry") is None
    frame = user.python(
        f"from sweepkit.results import store; f = store.load('{name}'); "
        "print(f[f.state == 'failed'][['failed_attempts', 'failed_hosts']].to_numpy().tolist())"
    )
    assert frame == "[[2, 2], [2, 2]]"
    assert len([item for item in user.submissions() if item["tasks"]]) == 2


def test_a_job_that_slurm_kills_over_its_memory_is_out_of_memory(cluster: Cluster, user: User) -> None:
    greedy = "import time; x = bytearray(300 << 20); x[::4096] = x[::4096]; time.sleep(60)"
    command = (
        "sbatch",
        "--parsable",
        "--mem=100M",
        "-o",
        "/dev/null",
        "--wrap",
        f"{sys.executable} -c '{greedy}'",
    )
    job_id = cluster.run(*command)
    innocent = cluster.run(
        "sbatch", "--parsable", "--mem=100M", "-o", "/dev/null", "--wrap", "sleep 1; kill -9 $$"
    )
    cluster.wait_until_idle()
    asking = (
        f"from sweepkit.launch.slurm import endings; print(endings.final_states(['{job_id}', '{innocent}']))"
    )
    until = time.monotonic() + 300  # accounting lags
    while True:
        said = user.python(asking)
        if "OUT_OF_MEMORY" in said or time.monotonic() > until:
            break
    assert said == str({job_id: "OUT_OF_MEMORY", innocent: "FAILED"})


def test_three_hundred_runs_split_at_the_array_limit(cluster: Cluster, user: User) -> None:
    with cluster.held():
        name = write_sweep(user.folder, seeds=150, ladder="none")
        said = user.sweepkit("sweep", name, *LAUNCHER, EACH_ALONE).stdout
        assert "300 submitted" in said
        arrays = [item for item in user.submissions() if item["tasks"]]
        assert sorted(len(item["tasks"]) for item in arrays) == [49, 251]
        assert len({run for item in arrays for task in item["tasks"] for run in task}) == 300
        assert len(cluster.queue()) == 301  # and the gate
        assert "300 queued before" in user.sweepkit("sweep", name, *LAUNCHER, EACH_ALONE).stdout
        user.sweepkit("cancel", name)
        assert not cluster.queue()


@pytest.fixture(scope="module")
def enforcing_cluster() -> Iterator[Cluster]:
    """Has accounts with limits, and submits nothing for those without."""
    with running_cluster(extra=ENFORCING) as cluster:
        for words in (
            "add qos quick",
            "add account lab",
            f"add user {cluster.run('id', '-un')} account=lab qos=normal,quick MaxSubmitJobs={MAX_SUBMIT}",
        ):
            cluster.run("sacctmgr", "-i", *words.split())
        yield cluster


def test_accounts_and_the_submit_limit(
    enforcing_cluster: Cluster, tmp_path: Path, shared_cache: Path
) -> None:
    (tmp_path / "home").mkdir()
    user = User(enforcing_cluster, tmp_path, shared_cache)
    name = write_sweep(user.folder, seeds=2, num_steps=5, ladder="none")
    refused = user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.account=nobodys", check=False)
    assert refused.returncode == 2
    assert "sbatch refused" in refused.stderr and "account" in refused.stderr

    given = (*LAUNCHER, EACH_ALONE, "launcher.slurm.account=lab", "launcher.slurm.qos=quick")
    said = user.sweepkit("sweep", name, *given).stdout
    assert f"{MAX_SUBMIT - 1} submitted" in said and "1 held back by the cluster's submit limit" in said
    assert len(enforcing_cluster.queue()) <= MAX_SUBMIT
    accounts = set(enforcing_cluster.run("squeue", "-h", "-o", "%a %q").splitlines())
    assert accounts == {"lab quick"}, "the gate's too"
    enforcing_cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
    assert set(user.attempts().values()) == {1}


@pytest.fixture(scope="module")
def bare_cluster() -> Iterator[Cluster]:
    """Without accounting: sacct fails."""
    with running_cluster(accounting=False) as cluster:
        yield cluster


def test_without_accounting(bare_cluster: Cluster, tmp_path: Path, shared_cache: Path) -> None:
    (tmp_path / "home").mkdir()
    user = User(bare_cluster, tmp_path, shared_cache)
    name = write_sweep(user.folder, seeds=1, num_steps=150, ladder="none")
    user.sweepkit("sweep", name, *LAUNCHER, EACH_ALONE)
    user.wait_for_step(20)
    (array,) = [item for item in user.submissions() if item["tasks"]]
    bare_cluster.run("scancel", "-s", "KILL", f"{array['job_id']}_0.0")
    assert any("accounting" in note for note in user.status(name)["notes"])
    bare_cluster.wait_until_idle()
    assert {row["state"] for row in user.table(name)} == {"complete"}
