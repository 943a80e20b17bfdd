"""Launching: inline and local, two drivers, dead workers, failures, preparation."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_fakes import FakeSession, make_plan, ran, told

from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import StorageError, SweepkitError
from sweepkit.launch import claims, job
from sweepkit.launch.execute import LaunchSummary, execute
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import FailureClass, RunDir, RunState

FAKE_WORKER = (sys.executable, str(Path(__file__).parent / "fake_worker.py"))
INLINE = LauncherConfig()
FORK = multiprocessing.get_context("fork")


def local(num_workers: int = 2, **settings: Any) -> LauncherConfig:
    return LauncherConfig(kind=LauncherKind.local, num_workers=num_workers, **settings)


def launch(
    plans: list[RunPlan], results: Path, launcher: LauncherConfig = INLINE, **more: Any
) -> LaunchSummary:
    settings: dict[str, Any] = {
        "prepare": lambda config: None,
        "session_factory": FakeSession,
        "worker_command": FAKE_WORKER,
    }
    return execute(plans, launcher, results_dir=results, **(settings | more))


@pytest.mark.parametrize("launcher", [INLINE, local()])
def test_every_run_is_run_once_and_a_second_launch_runs_nothing(
    launcher: LauncherConfig, own_results_dir: Path
) -> None:
    plans = [make_plan(f"r{i}", compile_key=f"k{i % 2}") for i in range(6)]
    summary = launch([*plans, plans[0]], own_results_dir, launcher)
    assert summary.counts == {"complete": 6}
    assert sorted(row["run_id"] for row in ran(own_results_dir)) == [f"r{i}" for i in range(6)]

    again = launch(plans, own_results_dir, launcher, session_factory=None, prepare=None)
    assert (again.skipped, again.counts) == (6, {"complete": 6})
    assert len(ran(own_results_dir)) == 6
    assert not any(run.name.startswith("claim") for run in own_results_dir.glob("runs/*/*"))
    assert list((own_results_dir / ".workers").iterdir()) == []


def test_inline_keeps_compiled_shapes_together_in_stable_order(own_results_dir: Path) -> None:
    plans = [make_plan(f"r{i}", compile_key=key) for i, key in enumerate("abacb")]
    launch(plans, own_results_dir)
    assert [row["run_id"] for row in ran(own_results_dir)] == ["r0", "r2", "r1", "r4", "r3"]


def test_local_gives_each_shape_to_one_worker(own_results_dir: Path) -> None:
    """A worker that starts, however late, takes a shape that no other is at work on while there is one."""
    plans = [make_plan(f"r{i}", compile_key=f"k{i % 2}", step_s=0.05) for i in range(8)]
    launch(plans, own_results_dir, local())
    rows = ran(own_results_dir)
    keys = {pid: [row["key"] for row in rows if row["pid"] == pid] for pid in {row["pid"] for row in rows}}
    assert all(sum(a != b for a, b in itertools.pairwise(of_one)) <= 1 for of_one in keys.values())
    late = next((at for at, row in enumerate(rows) if row["pid"] != rows[0]["pid"]), None)
    if late is not None:
        at_work = rows[late - 1]["key"]
        assert rows[late]["key"] != at_work or all(row["key"] == at_work for row in rows[late:])


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [INLINE, local()])
def test_failures_are_listed_and_do_not_stop_the_others(
    launcher: LauncherConfig, own_results_dir: Path
) -> None:
    plans = [make_plan("bad", raises="broken"), make_plan("good"), make_plan("nan", state="diverged")]
    summary = launch(plans, own_results_dir, launcher)
    assert summary.counts == {"failed": 1, "complete": 1, "diverged": 1}
    (failure,) = [item for item in summary.failures if item.run_id == "bad"]
    assert failure.failure_class is FailureClass.crash
    assert "broken" in failure.message
    assert "RuntimeError: broken" in failure.log_path.read_text()

    launch(plans, own_results_dir, launcher)
    assert len(ran(own_results_dir)) == 3
    launch(plans, own_results_dir, launcher, retry_failed=True)
    assert [row["run_id"] for row in ran(own_results_dir)][3:] == ["bad"]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_run_goes_on_from_its_checkpoint(own_results_dir: Path) -> None:
    plans = [make_plan("dies", dies_at=3, deaths=2), make_plan("other")]
    summary = launch(plans, own_results_dir, local())
    assert summary.counts == {"complete": 2}
    run_dir = RunDir.of(own_results_dir, "dies")
    assert [row["step"] for row in run_dir.metrics()] == [1, 2, 3, 4, 5]
    record = run_dir.read_record()
    assert record is not None
    assert record.results["val_bpb"] == 1 / 5
    assert record.attempt == 2


@pytest.mark.slow
def test_a_run_that_kills_every_worker_is_lost_after_max_attempts(own_results_dir: Path) -> None:
    plans = [make_plan("kills", dies_always=True, num_steps=50), make_plan("good")]
    summary = launch(plans, own_results_dir, local(max_attempts=2))
    assert summary.counts == {"failed": 1, "complete": 1}
    assert summary.failures[0].failure_class is FailureClass.lost
    assert "launcher.max_attempts" in summary.failures[0].message
    assert sum(row["run_id"] == "kills" for row in ran(own_results_dir)) == 2


@pytest.mark.slow
def test_a_run_that_gets_further_with_every_kill_is_not_lost(own_results_dir: Path) -> None:
    """Six kills, and max_attempts of 2: preemption without a signal must not use up the tries."""
    summary = launch(
        [make_plan("kills", dies_each_step=True, num_steps=6)], own_results_dir, local(max_attempts=2)
    )
    assert summary.counts == {"complete": 1}
    assert len(ran(own_results_dir)) == 7


def test_lost_runs_are_run_again_by_whoever_asks_next(own_results_dir: Path) -> None:
    plan = make_plan("kills", dies_at=1, deaths=0)
    job.mark_failed(plan, RunDir.of(own_results_dir, "kills"), FailureClass.lost, "its process died 3 times")
    assert launch([plan], own_results_dir, local()).counts == {"complete": 1}


def test_workers_that_cannot_start_end_the_launch_with_their_log(own_results_dir: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no such trainer')")
    with pytest.raises(SweepkitError, match="no such trainer"):
        launch([make_plan("a"), make_plan("b")], own_results_dir, local(), worker_command=command)


def _drive(results: Path, kind: str) -> None:
    import test_execute

    from sweepkit.config.schema import RunConfig
    from sweepkit.launch import execute as module

    module._config = lambda plan: RunConfig()
    test_execute.launch(two_driver_plans(), results, local() if kind == "local" else INLINE)


def two_driver_plans() -> list[RunPlan]:
    return [make_plan(f"r{i}", compile_key=f"k{i % 3}", step_s=0.01) for i in range(12)]


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("inline", "inline"), ("local", "inline")])
def test_two_drivers_never_run_a_run_twice_and_both_wait_for_the_end(
    kinds: tuple[str, str], own_results_dir: Path
) -> None:
    own_results_dir.mkdir()
    drivers = [FORK.Process(target=_drive, args=(own_results_dir, kind)) for kind in kinds]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(60)
        assert driver.exitcode == 0
    starts = [row["run_id"] for row in ran(own_results_dir)]
    assert sorted(starts) == sorted(plan.run_id for plan in two_driver_plans())
    if "local" not in kinds:  # a worker may not have started before the other driver is through
        assert len({row["pid"] for row in ran(own_results_dir)}) >= 2


def test_a_driver_waits_for_a_run_another_holds_and_takes_over_when_that_dies(own_results_dir: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sweepkit.launch import claims;"
        "from sweepkit.results.record import RunDir;"
        f"claims.claim(RunDir.of(Path({str(own_results_dir)!r}), 'a'));"
        "print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()

        def kill_once_b_has_begun() -> None:
            wait_for(lambda: bool(ran(own_results_dir)))
            other.kill()

        killer = threading.Thread(target=kill_once_b_has_begun)
        killer.start()
        summary = launch([make_plan("a"), make_plan("b")], own_results_dir)
        killer.join()
    assert summary.counts == {"complete": 2}
    assert [row["run_id"] for row in ran(own_results_dir)] == ["b", "a"]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 500.0  # for what hangs; a busy machine may take a minute for anything
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("launcher", [INLINE, local()])
def test_a_signal_stops_with_a_checkpoint_and_the_next_launch_goes_on(
    launcher: LauncherConfig, how: signal.Signals, own_results_dir: Path
) -> None:
    plans = [make_plan("a", num_steps=500, step_s=0.02), make_plan("b", num_steps=500, step_s=0.02)]
    run_dir = RunDir.of(own_results_dir, "a")

    def interrupt() -> None:
        wait_for((run_dir.path / "step").exists)
        os.kill(os.getpid(), how)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        launch(plans, own_results_dir, launcher)
    thread.join()
    record = run_dir.read_record()
    assert record is not None
    assert record.state is RunState.preempted
    assert 0 < record.step < 500
    assert claims.holder(run_dir.claim_path) is None

    plans = [told(plan) for plan in plans]
    assert launch(plans, own_results_dir, launcher).counts == {"complete": 2}
    assert [row["step"] for row in run_dir.metrics()] == list(range(1, 501))


@pytest.mark.slow
def test_workers_end_after_a_checkpoint_when_their_driver_is_killed(own_results_dir: Path) -> None:
    own_results_dir.mkdir()
    driver = FORK.Process(target=_drive_slowly, args=(own_results_dir,))
    driver.start()
    run_dirs = [RunDir.of(own_results_dir, name) for name in ("a", "b")]
    wait_for(lambda: all((run_dir.path / "step").exists() for run_dir in run_dirs))
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    wait_for(lambda: all(claims.holder(run_dir.claim_path) is None for run_dir in run_dirs))
    states = [record.state for run_dir in run_dirs if (record := run_dir.read_record())]
    assert states == [RunState.preempted, RunState.preempted]
    plans = [make_plan(name, num_steps=500) for name in ("a", "b")]
    assert launch(plans, own_results_dir, local()).counts == {"complete": 2}


def _drive_slowly(results: Path) -> None:
    from sweepkit.config.schema import RunConfig
    from sweepkit.launch import execute as module

    module._config = lambda plan: RunConfig()
    # the first goes on until the second has begun, which may be long on a busy machine
    launch([make_plan(name, num_steps=500, step_s=0.5) for name in ("a", "b")], results, local())


def test_a_finished_launch_imports_no_torch(own_results_dir: Path) -> None:
    launch([make_plan("a")], own_results_dir)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path;"
        "from launch_fakes import make_plan; from sweepkit.launch.execute import execute;"
        "from sweepkit.config.schema import LauncherConfig;"
        f"summary = execute([make_plan('a')], LauncherConfig(), results_dir=Path({str(own_results_dir)!r}));"
        "assert summary.skipped == 1;"
        "assert not {'torch', 'pandas', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [INLINE, local()])
def test_a_full_disk_ends_the_launch_and_the_next_one_goes_on(
    launcher: LauncherConfig, own_results_dir: Path
) -> None:
    plans = [make_plan(name, state="failed", failure_class="disk_full") for name in ("a", "b", "c", "d", "e")]
    with pytest.raises(StorageError, match="disk is full"):
        launch(plans, own_results_dir, launcher)
    assert len(ran(own_results_dir)) < 5
    plans = [told(plan) for plan in plans]
    assert launch(plans, own_results_dir, launcher).counts == {"complete": 5}


def test_a_second_interrupt_does_not_wait_for_the_checkpoint(own_results_dir: Path) -> None:
    class Stubborn(FakeSession):
        def run(self, *args: Any, **more: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(600)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch([make_plan("a")], own_results_dir, session_factory=Stubborn)
    assert time.monotonic() - started < 500
    assert claims.holder(RunDir.of(own_results_dir, "a").claim_path) is None


def _drive_plans(results: Path, kind: str, steps: int) -> None:
    from sweepkit.config.schema import RunConfig
    from sweepkit.launch import execute as module

    os.setpgid(0, 0)
    module._config = lambda plan: RunConfig()
    launch(_small_plans(steps), results, local() if kind == "local" else INLINE)


def _small_plans(steps: int) -> list[RunPlan]:
    return [make_plan(f"r{i}", compile_key=f"k{i % 2}", num_steps=steps, step_s=0.01) for i in range(5)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_launch_killed_again_and_again_ends_as_if_it_never_had_been(
    kind: str, own_results_dir: Path
) -> None:
    """SIGKILL to the driver's whole process group at random moments, twelve times, then in peace."""
    own_results_dir.mkdir()
    chance = random.Random(3)
    for _ in range(12):
        driver = FORK.Process(target=_drive_plans, args=(own_results_dir, kind, 60))
        driver.start()
        time.sleep(chance.uniform(0.05, 0.6))
        assert driver.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.join()
    plans = _small_plans(60)
    assert launch(plans, own_results_dir, local()).counts == {"complete": 5}
    for plan in plans:
        run_dir = RunDir.of(own_results_dir, plan.run_id)
        assert [row["step"] for row in run_dir.metrics()] == list(range(1, 61))
        holder = claims.holder(run_dir.claim_path)  # killed between the record and the release: dead
        assert holder is None or not holder.alive
    completed = [row["run_id"] for row in ran(own_results_dir, "end") if row["state"] == "complete"]
    assert len(completed) == len(set(completed))
