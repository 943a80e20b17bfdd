"""How a command ends is how its run ends: by its status, its signal, its result, or because it was asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import DataError
from sweepkit.launch import job
from sweepkit.launch.command_session import OUTPUT, VARIABLE, CommandSession
from sweepkit.plan import command_files
from sweepkit.plan.command_plan import CommandPlan, MetricRead, Program
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState

Carry = Callable[..., RunRecord]
TOLD = 'echo "{\\"loss\\": 1.5}" > "$0/result.json"'


@pytest.fixture
def carry(tmp_path: Path) -> Carry:
    """Carries out a line of shell in a run's folder, which is its $0."""
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "train.py").write_text("a = 1\n")

    def carry(
        line: str,
        stop: Callable[[], bool] = lambda: False,
        resume: bool = False,
        read: str = "result.json",
    ) -> RunRecord:
        folder = tmp_path / "program"
        program = Program(
            command=("sh", "-c", line.replace("{", "{{").replace("}", "}}"), "{run_dir}"),
            folder=str(folder),
            code=command_files.code(folder),
            metric=MetricRead("loss", read=read),
            resume=resume,
        )
        plan = CommandPlan(
            run_id="c-0-s1", variant_id="0", seed=1, pair_key="", compile_key="", params={},
            program=program, launcher=LauncherConfig(),
        )  # fmt: skip
        found = job.carry_out(plan, tmp_path, CommandSession(), driver="here", max_attempts=3, stop=stop)
        assert found is not None and found == RunDir.of(tmp_path, "c-0-s1").read_record()
        return found

    return carry


def test_a_command_that_tells_its_result_is_complete(carry: Carry, tmp_path: Path) -> None:
    found = carry(f'echo hello; pwd; echo "to $SWEEPKIT_RUN_DIR"; {TOLD}')
    assert (found.state, found.results) == (RunState.complete, {"loss": 1.5})
    assert found.sources == command_files.code(tmp_path / "program")
    log = RunDir.of(tmp_path, "c-0-s1").log_path.read_text()
    output = RunDir.of(tmp_path, "c-0-s1").path / OUTPUT
    assert "hello" in log and str(tmp_path / "program") in log and f"to {output}" in log


@pytest.mark.parametrize(
    ("line", "expected", "words"),
    [
        ("exit 3", FailureClass.crash, "ended with status 3"),
        ("echo boom >&2; exit 1", FailureClass.crash, "boom"),
        ("kill -SEGV $$", FailureClass.crash, "SIGSEGV"),
        ("kill -TERM $$", FailureClass.preempted, "SIGTERM"),
        ("exit 143", FailureClass.preempted, "the scheduler or somebody else ended it"),
        ("echo torch.OutOfMemoryError: CUDA out of memory; exit 1", FailureClass.oom, "CUDA"),
        ("exec nothing-of-that-name", FailureClass.bad_config, "nothing-of-that-name"),
        ("true", FailureClass.no_result, "result.json is missing"),
        ('echo "{" > "$0/result.json"', FailureClass.no_result, "cannot be read"),
    ],
)
def test_each_other_end_has_its_class(carry: Carry, line: str, expected: FailureClass, words: str) -> None:
    found = carry(line)
    assert (found.state, found.failure_class) == (RunState.failed, expected)
    assert words in str(found.failure_message) and found.results == {}


def test_a_result_that_is_not_finite_has_diverged(carry: Carry) -> None:
    found = carry('echo "{\\"loss\\": NaN}"', read="stdout")
    assert (found.state, found.failure_class) == (RunState.diverged, FailureClass.diverged)
    assert found.failure_message == "loss is nan" and found.results == {}


def test_asked_to_stop_it_has_time_and_goes_on_only_where_it_can(carry: Carry, tmp_path: Path) -> None:
    """Whatever it had told by then is not the result."""
    line = f'echo x >> "$0/begun"; trap "echo saved >> $0/begun; exit 0" TERM; {TOLD}; sleep 30 & wait'
    begun = RunDir.of(tmp_path, "c-0-s1").path / OUTPUT / "begun"
    for resume, expected in ((False, "x\nsaved\n"), (True, "x\nsaved\nx\nsaved\n")):
        found = carry(line, stop=lambda: begun.exists() and begun.read_text().endswith("x\n"), resume=resume)
        assert found.state is RunState.preempted and found.results == {}
        assert begun.read_text() == expected
    found = carry(f'cat "$0/begun"; {TOLD}', resume=True)
    assert found.state is RunState.complete and begun.exists()


def test_a_result_that_could_not_be_read_is_read_again_before_anything_is_run(
    carry: Carry, tmp_path: Path
) -> None:
    output = RunDir.of(tmp_path, "c-0-s1").path / OUTPUT
    assert carry('echo x >> "$0/begun"').failure_class is FailureClass.no_result
    (output / "result.json").write_text('{"loss": 2.0}')
    plan = RunDir.of(tmp_path, "c-0-s1").read_plan()
    assert job.reopen(plan, tmp_path)
    found = job.carry_out(plan, tmp_path, CommandSession(), driver="here", max_attempts=3, stop=lambda: False)
    assert found is not None and (found.state, found.results) == (RunState.complete, {"loss": 2.0})
    assert (output / "begun").read_text() == "x\n"


def test_files_that_changed_since_it_was_planned_are_refused(carry: Carry, tmp_path: Path) -> None:
    carry("exit 3")
    plan = RunDir.of(tmp_path, "c-0-s1").read_plan()
    assert isinstance(plan, CommandPlan)
    (tmp_path / "program" / "notes.md").write_text("no program\n")
    command_files.check(plan.program)
    (tmp_path / "program" / "train.py").write_text("a = 2\n")
    with pytest.raises(DataError, match="files were edited"):
        command_files.check(plan.program)
    job.reopen(plan, tmp_path)
    found = job.carry_out(plan, tmp_path, CommandSession(), driver="here", max_attempts=3, stop=lambda: False)
    assert found is not None and found.failure_class is FailureClass.bad_data


def test_what_a_killed_attempt_left_running_is_ended_first(carry: Carry, tmp_path: Path) -> None:
    output = RunDir.of(tmp_path, "c-0-s1").path / OUTPUT
    orphan = subprocess.Popen(["sleep", "1000"], env=os.environ | {VARIABLE: str(output)})
    other = subprocess.Popen(["sleep", "1000"], env=os.environ | {VARIABLE: f"{output}-2"})
    try:
        assert carry(TOLD).state is RunState.complete
        assert orphan.wait(600) == -signal.SIGKILL and other.poll() is None
    finally:
        orphan.kill()
        other.kill()
        other.wait()


def test_what_it_leaves_in_a_session_of_its_own_ends_with_it(carry: Carry, tmp_path: Path) -> None:
    for line in (TOLD, "exit 3"):
        carry(f'setsid sh -c "echo \\$\\$ > $0/../pid.part; mv $0/../pid.part $0/../pid; exec sleep 1000" & '
              f'while [ ! -e "$0/../pid" ]; do sleep 0.05; done; {line}')  # fmt: skip
        pid = RunDir.of(tmp_path, "c-0-s1").path / "pid"
        until = time.monotonic() + 60
        while Path(f"/proc/{pid.read_text().strip()}/exe").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid.read_text().strip()}/exe").exists()
        pid.unlink()
        shutil.rmtree(tmp_path / "runs")


def test_a_curve_that_is_begun_anew_is_whole(carry: Carry, tmp_path: Path) -> None:
    """As by a trainer that cuts its log back to its checkpoint, and writes the columns of a step in two."""

    def rows(*steps: int) -> str:
        return "; ".join(f'echo "{{\\"step\\": {step}, \\"loss\\": 1.{step}}}"' for step in steps)

    log = '"$0/metrics.jsonl"'
    line = f'({rows(1, 2, 3, 4)}; printf "{{half") > {log}; sleep 1; ({rows(3, 4, 5, 6)}) > {log}; '
    line += f'echo "{{\\"step\\": 6, \\"lr\\": 0.5}}" >> {log}; {TOLD}'
    for is_resumed in (False, True):
        carry("exit 3" if is_resumed else line, resume=True)
        found = RunDir.of(tmp_path, "c-0-s1").metrics()
        assert [(row["step"], row["loss"]) for row in found] == [
            (step, 1 + step / 10) for step in range(1, 7)
        ]
        assert found[-1]["lr"] == 0.5
        written = RunDir.of(tmp_path, "c-0-s1").metrics_path.read_text().splitlines()
        assert len(written) == 7


def test_it_ends_with_the_process_that_follows_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    line = f"echo $$ > {mark}.part; mv {mark}.part {mark}; exec sleep 1000"
    code = (
        "import sys; from pathlib import Path; from sweepkit.launch.command_session import _start\n"
        "_start(['sh', '-c', sys.argv[1]], '/', (), Path('/'), Path(sys.argv[2])).wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, line, f"{mark}.log"])
    until = time.monotonic() + 600
    while not mark.exists() and parent.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = int(mark.read_text())
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        status = Path(f"/proc/{child}/stat")
        if status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    assert time.monotonic() < until


def test_a_program_that_is_not_on_this_machine_is_no_fault_of_the_variant(
    carry: Carry, tmp_path: Path
) -> None:
    carry("exit 3")
    plan = RunDir.of(tmp_path, "c-0-s1").read_plan()
    assert isinstance(plan, CommandPlan)
    missing = replace(plan, run_id="c-1-s1", program=replace(plan.program, command=("no-such-program",)))
    found = job.carry_out(
        missing, tmp_path, CommandSession(), driver="here", max_attempts=3, stop=lambda: False
    )
    assert found is not None and found.failure_class is FailureClass.bad_config
    assert "command is 'no-such-program', but must be a program" in str(found.failure_message)
