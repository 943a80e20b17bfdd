"""Killed for want of memory, or just killed: what the kernel counts, what is recorded; another node once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit import fsio
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig, SlurmConfig
from sweepkit.launch import cgroup, execute, job
from sweepkit.launch.ledger import Run
from sweepkit.launch.slurm import cluster, elsewhere, losses, submit
from sweepkit.launch.slurm.losses import Loss
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.results.record import Attempt, FailureClass, Retry, RunDir, RunState

VERSION_1 = "4:memory:/slurm/uid_0/job_7\n2:cpuacct:/\n0::/\n"
VERSION_2 = "0::/system.slice/job_7\n"


@pytest.mark.parametrize(
    ("groups", "files", "found"),
    [
        (VERSION_1, {"memory/slurm/uid_0/job_7/memory.oom_control": "under_oom 0\noom_kill 3\n"}, 3),
        (VERSION_1, {"memory/memory.oom_control": "under_oom 0\noom_kill 4\n"}, 4),
        (VERSION_2, {"system.slice/job_7/memory.events": "oom 9\noom_kill 5\noom_group_kill 0\n"}, 5),
        (VERSION_2, {"memory.events": "oom 9\noom_kill 6\n"}, 6),
        (VERSION_1, {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 1),  # an old kernel
        (VERSION_2, {}, 1),
        (None, {}, 1),
    ],
)
def test_the_kernels_count_is_found_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str | None, files: dict[str, str], found: int
) -> None:
    proc, mounted = tmp_path / "proc", tmp_path / "cgroup"
    for path, text in {
        **{mounted / name: text for name, text in files.items()},
        proc / "vmstat": "oom_kill 1\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if groups is not None:
        (proc / "self").mkdir()
        (proc / "self" / "cgroup").write_text(groups)
    monkeypatch.setattr(cgroup, "_PROC", proc)
    monkeypatch.setattr(cgroup, "_CGROUP", mounted)
    assert cgroup.num_kills() == found
    (proc / "vmstat").unlink()
    assert cgroup.num_kills() == (found if files and found > 1 else None)


@pytest.mark.slow
@pytest.mark.parametrize(("for_memory", "recorded"), [(True, FailureClass.oom), (False, FailureClass.lost)])
def test_a_worker_that_the_kernel_kills_for_memory_is_no_lost_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, for_memory: bool, recorded: FailureClass
) -> None:
    counter = tmp_path / "oom_kills"
    monkeypatch.setattr(cgroup, "num_kills", lambda: len(counter.read_text()) if counter.exists() else 0)
    summary = execute.execute(
        [
            # giving back much memory takes the kernel longer than the driver takes to look
            make_plan("big", step_s=0.3, dies_always=True, for_memory=for_memory, dying_s=0.6),
            make_plan("small"),
        ],
        LauncherConfig(kind=LauncherKind.local, num_workers=2, max_attempts=2),
        results_dir=tmp_path,
        worker_command=(sys.executable, str(Path(__file__).with_name("fake_worker.py"))),
        prepare=lambda config: None,
    )
    (failure,) = summary.failures
    assert failure.failure_class is recorded
    assert ("out of memory" in failure.message) == for_memory
    classes = [
        fsio.read_json(path).get("failure_class") for path in (tmp_path / "runs/big/attempts").glob("*.json")
    ]
    assert classes == [FailureClass.oom if for_memory else None] * 2
    assert summary.counts == {"failed": 1, "complete": 1}


def test_a_memory_kill_noticed_too_late_puts_the_record_right(tmp_path: Path) -> None:
    plan = make_plan("r")
    run_dir = RunDir.of(tmp_path, "r")
    run_dir.path.mkdir(parents=True)
    job.mark_failed(plan, run_dir, FailureClass.lost, "its process died 3 times in a row")
    job.out_of_memory(plan, run_dir, 3)
    record = run_dir.read_record()
    assert record is not None and record.failure_class is FailureClass.oom


def attempt(results: Path, number: int, node: str | None) -> None:
    RunDir.of(results, "r").write_attempt(Attempt(number, node=node))


def test_another_node_is_granted_once_and_said_in_the_attempt(tmp_path: Path) -> None:
    plan, run_dir = make_plan("r"), RunDir.of(tmp_path, "r")
    attempt(tmp_path, 9, "n1")
    attempt(tmp_path, 10, "n2")
    job.mark_failed(plan, run_dir, FailureClass.oom, "out of memory")
    assert not elsewhere.grant(plan, tmp_path, FailureClass.crash)
    assert elsewhere.grant(plan, tmp_path, FailureClass.oom)
    assert run_dir.read_record() is None, "it is as if it had not been started"
    assert elsewhere.avoided(run_dir) == ("n2",)
    assert fsio.read_json(run_dir.attempts_path / "10.json")["retry"] == {"because": "oom", "not_on": ["n2"]}
    other = make_plan("other")
    assert elsewhere.apart([other, plan], tmp_path) == {(): [other], ("n2",): [plan]}
    attempt(tmp_path, 11, "n3")
    job.mark_failed(plan, run_dir, FailureClass.oom, "out of memory")
    assert not elsewhere.grant(plan, tmp_path, FailureClass.oom), "once"


@pytest.mark.parametrize(("failure", "num_tries"), [(FailureClass.oom, 2), (FailureClass.timeout, 3)])
def test_jobs_out_of_memory_or_time_are_tried_elsewhere_before_they_count(
    tmp_path: Path, failure: FailureClass, num_tries: int
) -> None:
    plan, run_dir = make_plan("r"), RunDir.of(tmp_path, "r")
    tries = 0
    while True:
        tries += 1
        attempt(tmp_path, tries, f"n{tries}")
        run = Run(plan, run_dir)
        run.refresh()
        if losses.give_up(Loss(run, tries, failure, "", None), 3, tmp_path):
            break
        assert elsewhere.avoided(run_dir) == ("n1",)
    assert tries == num_tries
    record = run_dir.read_record()
    assert record is not None and (record.state, record.failure_class) == (RunState.failed, failure)


def test_where_no_node_is_known_nothing_is_granted(tmp_path: Path) -> None:
    attempt(tmp_path, 1, None)
    assert not elsewhere.grant(make_plan("r"), tmp_path, FailureClass.oom)


def test_what_shared_a_task_that_was_killed_has_one_of_its_own_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[list[list[str]]] = []
    monkeypatch.setattr(submit, "place", lambda array, *_: placed.append(array.tasks) or array)
    monkeypatch.setattr(cluster, "check_available", lambda: None)
    monkeypatch.setattr(cluster, "queue", lambda names=None: [])
    monkeypatch.setattr(cluster, "max_time_min", lambda partition, qos: None)
    monkeypatch.setattr(cluster, "limits", lambda: cluster.Limits(1000, None))
    for name in ("a", "b"):
        retried = Attempt(1, node="n1", retry=Retry(FailureClass.oom, ["n1"]))
        RunDir.of(tmp_path, name).write_attempt(retried)
    launcher = LauncherConfig(slurm=SlurmConfig(runs_per_task=4, workers_per_task=2, snapshot=False))
    submit.submit([make_plan(name) for name in "abcd"], launcher, results_dir=tmp_path, title="s")
    assert placed == [[["a"], ["b"]], [["c", "d"]]]


@pytest.mark.parametrize("refusal", ["Requested node configuration is not available", "Invalid account"])
def test_where_the_cluster_has_no_other_node_the_same_one_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    asked = []

    def place(array: Submission, values: dict[str, str], results_dir: Path) -> Submission:
        asked.append(values)
        if "exclude" in values:
            raise ClusterError(f"sbatch refused x: error: Batch job submission failed: {refusal}")
        return array

    monkeypatch.setattr(submit, "place", place)
    array = Submission("x", "x", 10)
    if refusal.startswith("Requested"):
        assert submit._place(array, {"mem": "4GB"}, ["n1", "n2"], tmp_path) == array
        assert asked == [{"mem": "4GB", "exclude": "n1,n2"}, {"mem": "4GB"}]
    else:
        with pytest.raises(ClusterError, match="Invalid account"):
            submit._place(array, {"mem": "4GB"}, ["n1"], tmp_path)
