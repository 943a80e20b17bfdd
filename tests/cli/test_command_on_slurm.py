"""A command's runs on Slurm: submitted as arrays, gone on with by a gate, requeued where one is stopped."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import made_up_slurm
import pytest
import yaml  # type: ignore[import-untyped]

from sweepkit import exit_status
from sweepkit.cli.main import main
from sweepkit.config.schema import LauncherConfig, SlurmConfig
from sweepkit.errors import ConfigError
from sweepkit.launch.slurm import cluster, shards, submissions
from sweepkit.launch.slurm.task import CHECKPOINT_SIGNAL, Task
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results import store
from sweepkit.results.record import RunDir, RunState

SLURM = ["launcher=slurm", "launcher.slurm.gpus=0"]
COUNT = """n=$(cat "$0/n" 2>/dev/null || echo 0); echo from $n >> "$0/begun"
while [ $n -lt {steps} ]; do n=$((n+1)); echo $n > "$0/part"; mv "$0/part" "$0/n"; sleep 0.05; done
echo "{{\\"loss\\": {rate}.$1, \\"steps\\": $n}}" > "$0/result.json\""""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "results"


def write(steps: int) -> str:
    content = {
        "command": ["sh", "-c", COUNT, "{run_dir}", "{seed}"],
        "params": {"rate": 2, "steps": steps},
        "metric": {"name": "loss", "read": "result.json"},
        "resume": True,
        "axes": {"rate": [1]},
        "seeds": [1, 2],
        "decision": {"direction": "lower", "min_effect": 0.1},
    }
    Path("count.yaml").write_text(yaml.safe_dump(content))
    return "./count.yaml"


@pytest.mark.slow
def test_runs_are_submitted_once_and_a_gate_decides(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = made_up_slurm.install(monkeypatch)
    command = [
        "promote",
        write(1),
        "launcher=slurm",
        "launcher.slurm.gpus=0",
        "launcher.slurm.runs_per_task=4",
    ]
    assert main(command) == 0
    assert "4 submitted" in capsys.readouterr().out
    array = next(item for item in submissions.read_all(results) if item.tasks)
    assert (len(array.tasks), len(array.tasks[0])) == (1, 4)
    assert array.time_min == 240  # nobody knows
    assert main(command) == 0
    assert "4 queued before" in capsys.readouterr().out
    assert slurm.carry_out(results, monkeypatch) == 0
    table = store.load("count", results)
    assert set(table["state"]) == {"complete"} and sorted(table["loss"]) == [1.1, 1.2, 2.1, 2.2]
    assert (results / "count" / "verdicts.json").exists()


@pytest.mark.slow
def test_a_task_that_is_told_to_stop_is_requeued_and_goes_on(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up_slurm.install(monkeypatch)
    assert main(["sweep", write(60), *SLURM, "launcher.slurm.runs_per_task=1"]) == 0
    array = next(item for item in submissions.read_all(results) if item.tasks)
    path = submissions.folder(results) / "shards" / array.shards[0]
    (plan,) = shards.read(path).plans
    assert isinstance(plan, CommandPlan)
    run_dir, requeued = RunDir.of(results, plan.run_id), list[str]()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(cluster, "requeue", requeued.append)

    def tell() -> None:
        for _ in range(12_000):
            if (run_dir.path / "output" / "n").exists():
                os.kill(os.getpid(), getattr(signal, CHECKPOINT_SIGNAL))
                return
            threading.Event().wait(0.05)

    task = Task(path, results, num_workers=1, max_attempts=3, max_requeues=3)
    threading.Thread(target=tell).start()
    with pytest.raises(SystemExit) as stopped:
        task()
    assert (stopped.value.code, requeued) == (exit_status.STOPPED, ["7"])
    record = run_dir.read_record()
    assert record is not None and record.state is RunState.preempted
    assert task() == {"complete": 1}
    begun = (run_dir.path / "output" / "begun").read_text().split()[1::2]
    assert begun[0] == "0" and len(begun) == 2 and 0 < int(begun[1]) < 60


def test_a_command_is_started_by_one_process_however_many_it_has(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up_slurm.install(monkeypatch)
    assert main(["sweep", write(1), *SLURM, "launcher.slurm.runs_per_task=1"]) == 0
    array = next(item for item in submissions.read_all(results) if item.tasks)
    path = submissions.folder(results) / "shards" / array.shards[0]
    launcher = LauncherConfig(processes_per_run=8, slurm=SlurmConfig(gpus=8, cpus=4))
    needed = shards.resources(shards.read(path), launcher)
    assert (needed.gpus, needed.cpus, needed.mem_gib, needed.processes_per_node) == (8, 32, 32, 1)
    launcher.slurm.nodes = 2
    with pytest.raises(ConfigError, match="nodes is 2, but must be 1 for a command"):
        shards.resources(shards.read(path), launcher)
    monkeypatch.setenv("SLURM_PROCID", "1")
    task = Task(path, results, num_workers=1, max_attempts=3, max_requeues=3, processes_per_run=2)
    assert task() == {}
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert task() == {"complete": 1}
