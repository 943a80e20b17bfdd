"""What Slurm's commands answer (fakes of them, on PATH), and what becomes of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_fakes import make_plan
from slurm_commands import Commands

from sweepkit import fsio
from sweepkit.errors import StorageError
from sweepkit.launch.execute import Failure, LaunchSummary
from sweepkit.launch.ledger import Run
from sweepkit.launch.slurm import (
    cluster,
    elsewhere,
    endings,
    losses,
    retries,
    shards,
    submissions,
)
from sweepkit.launch.slurm.command import Command
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.launch.slurm.submissions import Submission
from sweepkit.launch.slurm.task import Task
from sweepkit.results.record import Attempt, FailureClass, RunDir, RunState

# JobID|State|ExitCode|MaxRSS|ReqMem, as sacct -n -P of Slurm 22 to 24 writes them
ACCOUNTING = """\
7|OUT_OF_MEMORY|0:125||4G
7.batch|OUT_OF_MEMORY|0:125|4194304K|
7.extern|COMPLETED|0:0|0|
8_0|FAILED|1:0||4G
8_0.batch|FAILED|1:0|2000K|
8_0.0|OUT_OF_MEMORY|0:125|4194000K|
8_1|CANCELLED by 1000|0:0||4G
8_1.batch|CANCELLED|0:15|2000K|
8_2|NODE_FAIL|1:0||4Gn
8_3|FAILED|9:0||4G
8_3.0|FAILED|0:9|1000K|
8_4|FAILED|1:0||4G
8_4.0|FAILED|0:9|4100000K|
8_[5-9%2]|PENDING|0:0||4G"""


def test_a_step_that_a_control_group_killed_makes_its_job_out_of_memory(commands: Commands) -> None:
    commands.answer("sacct", f"cat <<'END'\n{ACCOUNTING}\nEND")
    assert endings.final_states(["7", "8_0", "8_1", "8_2", "8_3", "8_4", "9"]) == {
        "7": "OUT_OF_MEMORY",
        "8_0": "OUT_OF_MEMORY",
        "8_1": "CANCELLED",
        "8_2": "NODE_FAIL",
        "8_3": "FAILED",
        "8_4": "OUT_OF_MEMORY",  # held nearly all of what it had asked for
    }


def test_a_row_of_tasks_that_never_started_is_all_of_them(commands: Commands) -> None:
    """As a cluster answers whose user cancelled the rest of an array, a whole one, one task of a third."""
    rows = "157_0|COMPLETED|0:0||4G\n157_[1,3-11%2]|CANCELLED by 0|0:0||4G\n158|CANCELLED by 0|0:0||4G"
    commands.answer(
        "sacct",
        f"printf '{rows.replace('%', '%%')}\n159_0|COMPLETED|0:0||4G\n159_[2-3%%2]|PENDING|0:0||4G\n'",
    )
    asked = [*(f"157_{task}" for task in range(12)), "158_0", "158_1", "159_0", "159_1", "159_2"]
    assert endings.final_states(asked) == {
        "157_0": "COMPLETED",
        **{f"157_{task}": "CANCELLED" for task in (1, *range(3, 12))},
        "158_0": "CANCELLED",
        "158_1": "CANCELLED",
        "159_0": "COMPLETED",
    }


@given(st.lists(st.integers(0, 30), min_size=1, unique=True), st.integers(1, 40))
def test_every_way_to_write_a_list_of_tasks_is_read(tasks: list[int], limit: int) -> None:
    tasks.sort()
    runs: list[list[int]] = []
    for task in tasks:
        if runs and task == runs[-1][-1] + 1:
            runs[-1].append(task)
        else:
            runs.append([task])
    written = ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    for row in (f"9_[{written}]", f"9_[{written}%{limit}]"):
        assert list(endings.tasks_of(row)) == [f"9_{task}" for task in tasks]


def test_a_task_that_was_cancelled_alone_before_it_started_leaves_no_trace_and_is_cancelled(
    commands: Commands, tmp_path: Path
) -> None:
    commands.answer("sacct", "echo '7_0|COMPLETED|0:0||4G'")
    runs = {name: Run(make_plan(name), RunDir.of(tmp_path, name)) for name in ("begun", "waited")}
    array = Submission("a", "s", 10, [["x"], ["begun"], ["waited"]], job_id="7", submitted_at="2026-01-01")
    log = submissions.log_folder(tmp_path, "a") / "7_1_0_log.err"  # Slurm makes it when the task starts
    log.parent.mkdir(parents=True)
    log.touch()
    found = losses.find(list(runs.values()), submissions.places([array], []), tmp_path)
    assert [loss.failure_class for loss in found] == [FailureClass.lost, FailureClass.cancelled]
    assert not losses.give_up(found[0], 3, tmp_path), "its job vanished: it is submitted again"
    assert losses.give_up(found[1], 3, tmp_path)
    record = runs["waited"].run_dir.read_record()
    assert record is not None and record.state is RunState.cancelled


def test_jobs_that_each_got_further_do_not_use_up_the_tries(commands: Commands, tmp_path: Path) -> None:
    commands.answer("sacct", 'for n in 1 2 3 4; do echo "$n|NODE_FAIL|1:0||4G"; done')
    run = Run(make_plan("a"), RunDir.of(tmp_path, "a"))
    jobs = [
        Submission(f"j{n}", "s", 10, [["a"]], job_id=str(n), submitted_at=f"2026-01-0{n}")
        for n in range(1, 5)
    ]
    for number, steps in ((1, (1, 5)), (2, (3, 9)), (3, (8, 12)), (4, (11, 12))):
        run.run_dir.write_attempt(Attempt(number, job=str(number)))
        for step in steps:
            fsio.append_line(run.run_dir.metrics_path, {"step": step, "attempt": number})
        (loss,) = losses.find([run], submissions.places(jobs[:number], []), tmp_path)
        assert loss.num_jobs == (1 if number < 4 else 2)


def test_a_question_is_asked_again_and_a_refusal_is_not(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(retries, "sleep", waited.append)
    once = commands.folder / "once"
    commands.answer("squeue", f"if mkdir {once} 2>/dev/null; then echo 'Unable to contact' >&2; exit 1; fi")
    assert cluster.queue() == [] and waited == [1.0]
    commands.answer("squeue", "echo no >&2; exit 1")
    del waited[:]
    with pytest.raises(ClusterError, match="squeue"):
        cluster.queue()
    assert sum(waited) <= 6.0, "a person waits some seconds"
    del waited[:]
    monkeypatch.setenv(retries.IS_JOB, "1")
    with pytest.raises(ClusterError):
        cluster.queue()
    assert 500.0 < sum(waited) <= 600.0 and max(waited) == 60.0, "a gate, ten minutes"
    del waited[:]
    commands.answer("scontrol", "echo 'Job is no longer pending execution' >&2; exit 1")
    assert not cluster.requeue("7") and waited == []


def test_a_job_out_of_memory_speaks_only_of_the_runs_it_had_begun(commands: Commands, tmp_path: Path) -> None:
    """Three runs shared the task; it did one, was killed on the second, and never came to the third."""
    commands.answer("sacct", "echo '7_1|OUT_OF_MEMORY|0:125||4G'")
    runs = {name: Run(make_plan(name), RunDir.of(tmp_path, name)) for name in ("culprit", "innocent")}
    array = Submission("a", "s", 10, [["x"], ["done", *runs]], job_id="7", submitted_at="2026-01-01T00:00:00")
    placed = submissions.places([array], [])

    def attempt(name: str, number: int, job: str, node: str) -> None:
        runs[name].run_dir.write_attempt(Attempt(number, node=node, job=job))

    attempt("innocent", 1, "6_1", "n1")  # preempted, in an earlier job
    attempt("culprit", 1, "7_1", "n1")
    found = {item.run.run_id: item for item in losses.find(list(runs.values()), placed, tmp_path)}
    assert {name: item.failure_class for name, item in found.items()} == {
        "culprit": FailureClass.oom,
        "innocent": FailureClass.lost,
    }
    assert not any(losses.give_up(item, 3, tmp_path) for item in found.values())
    assert elsewhere.avoided(runs["culprit"].run_dir) == ("n1",)
    assert elsewhere.avoided(runs["innocent"].run_dir) == ()
    (granted,) = losses.find([runs["culprit"]], placed, tmp_path)
    assert not losses.give_up(granted, 3, tmp_path), "whoever looks again, or the task itself had granted it"

    attempt("culprit", 2, "7_1", "n2")
    (again,) = losses.find([runs["culprit"]], placed, tmp_path)
    assert losses.give_up(again, 3, tmp_path)
    record = runs["culprit"].run_dir.read_record()
    assert record is not None and record.failure_class is FailureClass.oom
    assert "OUT_OF_MEMORY" in str(record.failure_message)


@pytest.mark.parametrize("name", [r"a\nb", r"\xfcbung", r"a|b", r"a\nb|c|d|e|f", r"\xe2\x80\xa8x", ""])
def test_other_jobs_may_have_any_name(name: str, commands: Commands) -> None:
    others = f"5|N/A|{name}|RUNNING|None|n1"
    commands.answer("squeue", f"printf '{others}\\n3|0|mine|PENDING|Resources|\\n{others}\\n'")
    assert [task.job_id for task in cluster.queue(["mine"])] == ["3"]


def test_what_a_user_has_squeue_leave_out_is_asked_for_all_the_same(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    commands.answer("squeue", 'test -z "$SQUEUE_STATES" && echo "3|0|mine|PENDING|Resources|"')
    (task,) = cluster.queue(["mine"])
    assert (task.full_id, task.state, task.reason) == ("3_0", "PENDING", "Resources")


def test_a_command_that_fails_says_what_to_do(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "sleep", lambda seconds: None)
    commands.answer("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ClusterError, match=r"Unable to contact .* but must work .* sinfo .* again"):
        cluster.queue()


def test_a_torn_submission_is_said_and_how_to_go_on(tmp_path: Path) -> None:
    submissions.write(tmp_path, Submission("a", "s", 10, [["x"]]))
    assert [item.name for item in submissions.read_all(tmp_path)] == ["a"]
    (tmp_path / ".slurm" / "jobs" / "a.json").write_text('{"name": "a", ')
    with pytest.raises(ClusterError, match=r"a\.json cannot be read .*scancel --name a.* again"):
        submissions.read_all(tmp_path)


def test_a_gate_says_what_is_wrong_in_one_line_though_hydra_submitted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as left:
        Command(("resume", "never"), tmp_path, 1)()
    assert left.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("sweepkit: sweep is 'never'")


def test_where_no_cluster_answers_it_is_said_in_one_line(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "sleep", lambda seconds: None)
    commands.answer(
        "squeue", "printf 'squeue: error: Unknown host\\n\\nsqueue: fatal: no configuration\\n' >&2; exit 1"
    )
    with pytest.raises(ClusterError) as raised:
        cluster.queue()
    assert "failed (squeue: error: Unknown host; squeue: fatal: no configuration)" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("error", [None, StorageError("the disk is full")])
def test_a_task_that_failed_ends_with_its_reason_and_no_traceback(
    error: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit lets SystemExit pass; a string as its code goes to the log, and the status is 1."""

    def execute(*_: object, **__: object) -> LaunchSummary:
        if error is not None:
            raise error
        return LaunchSummary(failures=[Failure("a", FailureClass.crash, "broken", tmp_path / "log.txt")])

    monkeypatch.setattr("sweepkit.launch.execute.execute", execute)
    name = shards.write(shards.Shard((make_plan("a"),)), tmp_path)
    with pytest.raises(SystemExit) as raised:
        Task(tmp_path / name, tmp_path, num_workers=1, max_attempts=3, max_requeues=3)()
    assert raised.value.code == (
        "sweepkit: the disk is full" if error else "1 of 1 runs failed\na: crash: broken"
    )
