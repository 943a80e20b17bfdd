"""Sweeps and promotions on a real cluster: submitted, left alone, ended as they would have here."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from slurm_cluster import LAUNCHER, Cluster, User

from sweepkit import fsio
from tiny_sweep import write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm 1")]


def test_sixteen_runs_go_as_arrays_and_each_runs_once(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder, seeds=8, ladder="none")
    with cluster.held():
        said = user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.runs_per_task=4").stdout
        again = user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.runs_per_task=4").stdout
    assert "16 submitted" in said
    assert "submitted in" not in again and "queued before" in again
    here = user.folder / "here"
    seeds = write_sweep(user.folder, "few", seeds=2, ladder="none")
    few = user.meanwhile("sweep", seeds, results=here)
    cluster.wait_until_idle()

    rows = user.table(name)
    assert Counter(row["state"] for row in rows) == {"complete": 16}
    assert set(user.attempts().values()) == {1}
    (array,) = [item for item in user.submissions() if item["tasks"]]
    assert [len(task) for task in array["tasks"]] == [4] * 4
    done = user.sweepkit("sweep", name, *LAUNCHER).stdout
    assert "16 done" in done and "gate" not in done

    few.result()
    by_id = {row["run_id"]: row for row in rows}
    for row in user.table(seeds, here):
        assert by_id[row["run_id"]] == row


def test_runs_of_a_seed_share_a_node_where_time_is_judged_and_are_waited_for(
    cluster: Cluster, user: User
) -> None:
    name = write_sweep(user.folder, seeds=2, ladder="none")
    done = user.sweepkit("sweep", name, "--wait", *LAUNCHER)
    assert {row["state"] for row in user.table(name)} == {"complete"}, "it returns when they have ended"
    assert "complete" in done.stderr
    (array,) = [item for item in user.submissions() if item["tasks"]]
    assert [len(task) for task in array["tasks"]] == [2] * 2
    nodes: dict[int, set[str]] = {}
    for row in user.table(name):
        attempt = fsio.read_json(user.results / "runs" / row["run_id"] / "attempts" / "1.json")
        nodes.setdefault(row["seed"], set()).add(attempt["node"])
    assert len(nodes) == 2 and all(len(of_seed) == 1 for of_seed in nodes.values())
    cluster.wait_until_idle()


def test_a_promotion_climbs_by_itself_and_decides_as_one_process_would(cluster: Cluster, user: User) -> None:
    name = write_sweep(user.folder)
    said = user.sweepkit(
        "promote", name, *LAUNCHER, "launcher.slurm.runs_per_task=2"
    ).stdout  # the process that submits ends here
    assert "gate: job" in said
    # the sweep file is gone and the launcher's process too: the gates know all they need
    (user.folder / "sweeps" / f"{name}.yaml").rename(user.folder / f"{name}.yaml")
    here = user.folder / "here"
    one_process = user.meanwhile(
        "promote", str(user.folder / f"{name}.yaml"), "launcher=inline", results=here
    )
    cluster.wait_for("the promotion", (user.results / name / "report.html").exists)
    cluster.wait_until_idle()

    one_process.result()
    for file in ("effects.csv", "promotion.json"):
        assert _without_clocks(user.results / name / file) == _without_clocks(here / name / file), file
    promotion = json.loads((user.results / name / "promotion.json").read_text())
    assert promotion["finished"] and [rung["rung"] for rung in promotion["rungs"]] == ["d2", "d4", "d6"]
    assert set(user.attempts().values()) == {1}


def _without_clocks(path: Path) -> object:
    if path.suffix == ".csv":
        return path.read_text()
    promotion = json.loads(path.read_text())
    return [(final["variant"], final["outcome"], final["rung"]) for final in promotion["finals"]]


def test_a_single_run_and_a_multirun_are_submitted_too(cluster: Cluster, user: User) -> None:
    write_sweep(user.folder, ladder="none")
    text = (user.folder / "sweeps" / "small.yaml").read_text()
    base = [line[4:] for line in text.splitlines() if line.startswith("  - ")]
    with cluster.held():
        assert "1 submitted" in user.sweepkit("train", *base, *LAUNCHER).stdout
        said = user.sweepkit("train", "-m", *base, "seed=1,2", *LAUNCHER).stdout
    assert "1 submitted" in said and "1 queued before" in said  # seed 1 is the run submitted above
    cluster.wait_until_idle()
    records = [json.loads(path.read_text()) for path in user.results.glob("runs/*/record.json")]
    assert [record["state"] for record in records] == ["complete"] * 2
    folder = Path(__file__).parent
    here = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True).strip()
    # the jobs ran a copy of the package, which knows where it came from
    assert {record["environment"]["git_commit"] for record in records} == {here}


def test_broken_runs_fail_alone_and_only_they_are_run_again(cluster: Cluster, user: User) -> None:
    text = user.folder / "text"
    text.mkdir()
    (text / "part.parquet").write_text("not parquet")  # it is there to be planned with, and cannot be read
    axes = (
        "{data: {embedded: [tokenizer=shared], "
        f"folder: [dataset=files, dataset.path={text}, tokenizer=shared]}}}}"
    )
    name = write_sweep(
        user.folder, seeds=1, axes=axes, reference="{data: embedded}", ladder="none", metric="bpb_probe"
    )
    user.sweepkit("sweep", name, *LAUNCHER, "launcher.slurm.runs_per_task=4", "launcher.max_epochs=1000")
    cluster.wait_until_idle()
    rows = {row["variant"]: row for row in user.table(name)}
    assert rows["reference"]["state"] == "complete"
    assert (rows["data=folder"]["state"], rows["data=folder"]["failure_class"]) == ("failed", "bad_data")
    shown = user.sweepkit("status", name).stdout
    assert "bad_data" in shown and "log.txt" in shown

    before = user.attempts()
    said = user.sweepkit("resume", name, *LAUNCHER).stdout
    assert "1 submitted" in said and "1 done" in said
    cluster.wait_until_idle()
    assert user.table(name)[0]["state"] in ("complete", "failed")
    assert user.attempts() == before


def test_a_search_is_carried_out_by_array_tasks_and_its_best_climb(cluster: Cluster, user: User) -> None:
    space = "{optimizer.unembedding.lr: {low: 0.002, high: 0.1}}"
    enqueued = "[[optimizer.unembedding.lr=0.064]]"  # better than the reference's 0.032
    search = f"search: {{sampler: random, n_trials: 5, space: {space}, enqueue: {enqueued}, num_promoted: 1}}"
    write_sweep(user.folder, seeds=1, axes="{}", reference="{}", num_unselected=1, more=search)
    packed = (*LAUNCHER, "launcher.slurm.runs_per_task=3")
    with cluster.held():
        said = user.sweepkit("promote", "small", *packed).stdout
        again = user.sweepkit("promote", "small", *packed).stdout
    assert "2 workers submitted" in said and "gate: job" in said
    assert "queued already" in again and "one is waiting already" in again
    cluster.wait_for("the promotion", (user.results / "small" / "report.html").exists)
    cluster.wait_until_idle()
    trials = (user.results / "small" / "trials.jsonl").read_text().splitlines()
    assert len(trials) == 5
    rows = [row for row in user.table("small") if row["state"] != "planned"]
    assert {row["state"] for row in rows} == {"complete"}
    assert set(user.attempts().values()) == {1}
    assert Counter(row["rung"] for row in rows) == {"d2": 5, "d4": 3, "d6": 3}
    promotion = json.loads((user.results / "small" / "promotion.json").read_text())
    assert promotion["finished"]
    assert [rung["rung"] for rung in promotion["rungs"]] == ["d2", "d4", "d6"]
