"""Workers and threads for a machine; what the progress shows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import FakeSession, make_plan
from rich.console import Console

from sweepkit import fsio
from sweepkit.config.choices import Device, LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.launch import cgroup, claims, job, machine
from sweepkit.launch.display import LiveDisplay, PlainDisplay, display
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.launch.view import Viewer, outcome
from sweepkit.results.record import FailureClass, RunDir


def local(num_workers: int | str) -> LauncherConfig:
    return LauncherConfig(kind=LauncherKind.local, num_workers=num_workers)


def test_auto_is_one_worker_a_core_or_gpu_as_far_as_runs_and_memory_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "num_cores", lambda: 8)
    monkeypatch.setattr(machine, "memory_gib", lambda: 64.0)
    plans = [make_plan(f"r{i}") for i in range(20)]
    assert machine.num_workers(local("auto"), plans, []) == 8
    assert machine.num_workers(local("auto"), plans[:3], []) == 3
    assert machine.num_workers(local("auto"), plans, ["0", "1"]) == 2
    big = [replace(plan, estimated_peak_memory_gib=20.0) for plan in plans]
    assert machine.num_workers(local("auto"), big, []) == 2
    huge = [replace(plan, estimated_peak_memory_gib=500.0) for plan in plans]
    assert machine.num_workers(local("auto"), huge, []) == 1
    assert machine.num_workers(local(5), big, []) == 5
    for wrong in (0, -1, "two"):
        with pytest.raises(ConfigError, match=r"launcher\.num_workers"):
            machine.num_workers(local(wrong), plans, [])


def test_cores_are_divided_and_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "num_cores", lambda: 8)
    for name in machine._THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    environment = machine.worker_environment(1, 4, ["5", "7"])
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("2", "3")
    assert environment["CUDA_VISIBLE_DEVICES"] == "7"
    assert machine.worker_environment(0, 16, [])["OMP_NUM_THREADS"] == "1"


def test_concurrency_is_what_was_launched_and_what_the_node_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 64)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert machine.side_by_side(4) == 4
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")  # of the task
    assert machine.side_by_side(2) == 16
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")  # the node for itself
    assert machine.side_by_side(2) == 2
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "128")  # hyperthreads that the system does not show
    assert machine.side_by_side(2) == 2


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_torch_has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert machine.gpus(Device.auto) == ["2", "3"]
    assert machine.gpus(Device.cpu) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpus(Device.cuda) == []
    monkeypatch.setattr(machine, "_torch_has_cuda", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine.gpus(Device.auto) == []


def _half_way(results: Path) -> tuple[Ledger, Viewer]:
    """One run done before, one half way, one not started."""
    plans = [make_plan("before"), make_plan("now", num_steps=10), make_plan("later", num_steps=10)]
    run = {"driver": "d", "max_attempts": 3, "stop": lambda: False}
    job.carry_out(plans[0], results, FakeSession(), **run)  # type: ignore[arg-type]
    ledger = Ledger(plans, results)
    viewer = Viewer(ledger, "d", {"now": "d2 [x] seed 1"})
    run_dir = RunDir.of(results, "now")
    assert claims.claim(run_dir, driver="d") is not None
    progress = {"step": 5, "phase": "training", "loss": 2.5, "tokens_per_s": 1234.5, "eta_s": 61.0}
    fsio.write_text(run_dir.progress_path, json.dumps(progress))
    ledger.refresh()
    return ledger, viewer


def test_the_view_counts_work_not_runs(own_results_dir: Path) -> None:
    ledger, viewer = _half_way(own_results_dir)
    view = viewer.look()
    assert (view.total, view.done, view.skipped, view.finished) == (3, 1, 1, [])
    assert view.work_frac == pytest.approx(0.25)
    (live,) = view.live
    assert (live.label, live.step, live.num_steps, live.elsewhere) == ("d2 [x] seed 1", 5, 10, None)
    plan = ledger.runs["later"].plan
    job.carry_out(plan, own_results_dir, FakeSession(), driver="d", max_attempts=3, stop=lambda: False)
    ledger.refresh()
    view = viewer.look()
    assert [run.run_id for run in view.finished] == ["later"]
    assert viewer.look().finished == []
    assert view.work_frac == pytest.approx(0.75)
    assert view.eta_s is not None and view.eta_s >= 61.0  # not less than the run that is at work


def test_plain_lines_where_there_is_no_terminal(
    own_results_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, viewer = _half_way(own_results_dir)
    screen = display("title")
    assert isinstance(screen, PlainDisplay)
    screen.show(viewer.look(), viewer)
    assert capsys.readouterr().err == ""
    plan = ledger.runs["later"].plan
    job.carry_out(plan, own_results_dir, FakeSession(), driver="d", max_attempts=3, stop=lambda: False)
    ledger.refresh()
    monkeypatch.setattr("sweepkit.launch.display._PLAIN_EVERY_S", 0.0)
    screen.show(viewer.look(), viewer)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "title: [2/3] later: complete, val_bpb 0.1000, 0 s"
    assert second.startswith("title: 2/3 done, 0 s so far")
    assert "d2 [x] seed 1 5/10 1,234 tok/s, loss 2.500, 61 s left" in second


def test_a_long_reason_is_cut_where_one_sees_it(own_results_dir: Path) -> None:
    plan = make_plan("a")
    for reason, shown in (("x" * 200 + "\nmore", "x" * 159 + "…"), ("short\nmore", "short")):
        run = Run(plan, RunDir.of(own_results_dir, "a"))
        job.mark_failed(plan, run.run_dir, FailureClass.crash, reason)
        run.refresh()
        assert outcome(run) == f"failed, {shown}"


def test_bars_on_a_terminal(own_results_dir: Path) -> None:
    _, viewer = _half_way(own_results_dir)
    screen = LiveDisplay("title")
    screen.close()
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    console.print(screen._render(viewer.look()))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1/3 runs" in text
    assert "d2 [x] seed 1" in text
    assert "5/10" in text


@pytest.mark.parametrize(
    ("groups", "unlimited", "limited"),
    [
        ("0::/", {"memory.max": "max"}, "memory.max"),  # a container
        ("0::/slurm/job_7/step_0", {"slurm/job_7/step_0/memory.max": "max"}, "slurm/job_7/memory.max"),
        (
            "4:memory:/slurm/job_7/step_0\n0::/",
            {"memory/slurm/job_7/step_0/memory.limit_in_bytes": str(2**63 - 4096)},
            "memory/slurm/job_7/memory.limit_in_bytes",
        ),
    ],
)
def test_memory_is_that_of_the_container_or_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, unlimited: dict[str, str], limited: str
) -> None:
    proc, mounted = tmp_path / "proc", tmp_path / "cgroup"
    monkeypatch.setattr(cgroup, "_PROC", proc)
    monkeypatch.setattr(cgroup, "_CGROUP", mounted)
    whole = machine.memory_gib()
    files = {proc / "self" / "cgroup": groups} | {mounted / name: text for name, text in unlimited.items()}
    for path, text in files.items():
        path.parent.mkdir(parents=True)
        path.write_text(f"{text}\n")
    assert machine.memory_gib() == whole
    (mounted / limited).write_text(f"{2**30 // 2}\n")
    assert machine.memory_gib() == 0.5


def test_cores_are_those_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert machine.num_cores() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [{"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "3"}, {"MKL_NUM_THREADS": "2"}]
)
def test_a_worker_has_the_threads_that_the_user_asked_for(
    asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as torch takes in a process of the user's own, whatever the share of cores."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(machine, "num_cores", lambda: 4)

    def threads(environment: dict[str, str]) -> int:
        code = "import torch; print(torch.get_num_threads())"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        return int(done.stdout)

    assert threads(machine.worker_environment(0, 1, [])) == threads(dict(os.environ))


def test_the_time_left_is_by_runs_that_are_done_and_does_not_compile_again(own_results_dir: Path) -> None:
    """The first of five took 28 s to compile and 2 s to train: 8 s are left, and not four times 30."""
    plans = [make_plan(f"r{place}", num_steps=10) for place in range(5)]
    run = {"driver": "d", "max_attempts": 3, "stop": lambda: False}
    job.carry_out(plans[0], own_results_dir, FakeSession(), **run)  # type: ignore[arg-type]
    path = RunDir.of(own_results_dir, "r0").record_path
    record = fsio.read_json(path)
    record["results"]["compile_time_s"] = 28.0
    record |= {"started_at": "2026-01-01T00:00:00+00:00", "ended_at": "2026-01-01T00:00:30+00:00"}
    fsio.write_json(path, record)
    assert Viewer(Ledger(plans, own_results_dir), "d", {}).look().eta_s == pytest.approx(8.0)
    fresh = [*plans, make_plan("other", num_steps=10, compile_key="other")]
    assert Viewer(Ledger(fresh, own_results_dir), "d", {}).look().eta_s == pytest.approx(8.0 + 28.0 + 2.0)
    searched = Ledger(plans, own_results_dir)
    searched.to_come = 10
    assert Viewer(searched, "d", {}).look().eta_s == pytest.approx(8.0 + 10 * 2.0)
