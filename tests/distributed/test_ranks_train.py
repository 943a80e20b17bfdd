"""Several processes train one run: the same losses however many, checkpoints that fit any number, and what
happens when one of them fails."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepkit import exit_status
from sweepkit.config import typed
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import core_outcomes, diagnosed, document_losses
from sweepkit.results.record import RunDir

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import leader_process
from training_runs import MANY_PARTS, TINY, losses, tiny

pytestmark = pytest.mark.xdist_group("ranks")

SCRIPT = Path(__file__).with_name("leader_process.py")
NUM_STEPS = 12
NEVER = 10_000


@functools.cache
def eight_micro_batches() -> RunPlan:
    """12 steps of 8 micro-batches of one row, everything in fp32, with all that the baseline has."""
    return tiny(
        "model=d4",
        f"horizon.num_steps={NUM_STEPS}",
        "horizon.device_batch_size=1",
        "logging.diagnostics_every_steps=10",
        "evaluation.max_bytes=20000",
        "evaluation.every_steps=10",
        "evaluation=core",
        "evaluation.core.max_per_task=6",
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "training-cache"


def train(
    results: Path,
    cache: Path,
    num_ranks: int,
    trouble: str = "none",
    stop_after: int = NEVER,
    plan: RunPlan | None = None,
) -> subprocess.CompletedProcess[str]:
    plan_path = results / "plan.json"
    results.mkdir(parents=True, exist_ok=True)
    plan_path.write_text(json.dumps(typed.dump(plan or eight_micro_batches())))
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(results), str(plan_path), str(num_ranks), trouble, str(stop_after)],
        env=os.environ | {"SWEEPKIT_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    value: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def run_dir(results: Path) -> RunDir:
    return RunDir.of(results, eight_micro_batches().run_id)


@pytest.fixture(scope="module")
def alone(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of one process that accumulates."""
    results = tmp_path_factory.mktemp("alone")
    assert said(train(results, cache, 1))[0] == "complete"
    return results


@pytest.mark.slow
def test_the_losses_are_those_of_one_process_and_a_checkpoint_fits_any_number(
    alone: Path, cache: Path, tmp_path: Path
) -> None:
    expected = losses(eight_micro_batches(), alone)
    assert said(train(tmp_path, cache, 2, stop_after=5))[0] == "preempted"
    stopped = run_dir(tmp_path).read_record()
    assert stopped is not None and 0 < stopped.step < NUM_STEPS
    assert [path.name for path in run_dir(tmp_path).checkpoints_path.iterdir()] == [
        f"step_{stopped.step:06d}"
    ]
    assert said(train(tmp_path, cache, 4, stop_after=4))[0] == "preempted"
    assert said(train(tmp_path, cache, 1))[0] == "complete"
    found = losses(eight_micro_batches(), tmp_path)
    assert len(found) == NUM_STEPS
    assert found == pytest.approx(expected, abs=1e-4)
    one, several = (run_dir(path).read_record() for path in (alone, tmp_path))
    assert one is not None and several is not None
    assert several.results["val_bpb"] == pytest.approx(one.results["val_bpb"], abs=1e-4)
    rows = [
        [row for row in run_dir(path).metrics() if "grad_norm" in row and row["step"] == 10]
        for path in (alone, tmp_path)
    ]
    for name, value in rows[0][0].items():
        if name == "grad_norm" or "log10" in name:
            assert rows[1][0][name] == pytest.approx(value, rel=1e-3), name
    one_row, several_row = (
        next(row for row in diagnosed.read(run_dir(path)) if row.step == 10) for path in (alone, tmp_path)
    )
    for name, moved in one_row.parameters.items():
        assert several_row.parameters[name].update == pytest.approx(moved.update, rel=2e-3), name
        assert several_row.parameters[name].grad == pytest.approx(moved.grad, rel=2e-3), name
    for name, values in one_row.layers.items():
        assert [value is None for value in several_row.layers[name]] == [value is None for value in values]
        pairs = zip(several_row.layers[name], values, strict=True)
        assert all(a == pytest.approx(b, rel=1e-3) for a, b in pairs if b is not None), name


@pytest.mark.slow
def test_experts_have_one_load_and_one_bias_whatever_ranks_there_are(cache: Path, tmp_path: Path) -> None:
    """And all else that the baseline has not, by one process and by two that are stopped and go on as one."""
    plan = tiny(*MANY_PARTS, "horizon.num_steps=8", "horizon.device_batch_size=1")
    alone, several = tmp_path / "alone", tmp_path / "several"
    assert said(train(alone, cache, 1, plan=plan))[0] == "complete"
    assert said(train(several, cache, 2, stop_after=5, plan=plan))[0] == "preempted"
    assert said(train(several, cache, 1, plan=plan))[0] == "complete"
    assert losses(plan, several) == pytest.approx(losses(plan, alone), abs=1e-4)
    loads = [
        [row["expert_load_max"] for row in RunDir.of(path, plan.run_id).metrics() if "loss" in row]
        for path in (alone, several)
    ]
    assert loads[1] == pytest.approx(loads[0], abs=0.02) and len(loads[0]) == 8


@pytest.mark.slow
def test_a_run_of_two_ranks_says_so_and_that_they_wait_for_the_slower_one(
    alone: Path, cache: Path, tmp_path: Path
) -> None:
    assert said(train(tmp_path, cache, 2, "slow"))[0] == "complete"
    record, single = run_dir(tmp_path).read_record(), run_dir(alone).read_record()
    assert record is not None and single is not None
    assert losses(eight_micro_batches(), tmp_path) == pytest.approx(
        losses(eight_micro_batches(), alone), abs=1e-4
    )
    # The leader waits for four micro-batches' sleep in nearly all of its time, the other hardly ever.
    assert 0.1 < record.results["communication_frac"] < 0.6
    assert "communication_frac" not in single.results
    key = eight_micro_batches().evaluation_key
    both = [
        document_losses.read(run_dir(path), key, it.results)["validation"]
        for path, it in ((tmp_path, record), (alone, single))
    ]
    items = [core_outcomes.read(run_dir(path), key) for path in (tmp_path, alone)]
    assert items[0] is not None and items[1] is not None
    assert items[0].models[""].tasks == items[1].models[""].tasks and len(items[0].models[""].tasks) == 3
    assert both[0].nats_N == pytest.approx(both[1].nats_N, rel=1e-3)
    assert both[0].text.bytes_N.tolist() == both[1].text.bytes_N.tolist()
    assert record.resolved.num_ranks == 2 and len(record.resolved.hosts) == 1
    assert record.environment_fingerprint != single.environment_fingerprint
    assert [row["step"] for row in run_dir(tmp_path).metrics() if "loss" in row] == [*range(1, NUM_STEPS + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["memory", "stuck"])
def test_a_rank_that_fails_ends_the_run_with_its_error(trouble: str, cache: Path, tmp_path: Path) -> None:
    done = train(tmp_path, cache, 2, trouble)
    assert done.returncode == (0 if trouble == "memory" else exit_status.STOPPED), done.stderr
    record = run_dir(tmp_path).read_record()
    assert record is not None
    assert (record.state, record.failure_class) == ("failed", "oom")
    assert "rank 1: out of memory" in (record.failure_message or "")
    assert record.step == leader_process.STEP
    assert 'raise MemoryError("Default' in run_dir(tmp_path).log_path.read_text()


@pytest.mark.slow
def test_a_rank_that_is_killed_takes_the_leader_along_and_the_run_goes_on(
    alone: Path, cache: Path, tmp_path: Path
) -> None:
    done = train(tmp_path, cache, 2, "kill")
    assert done.returncode == exit_status.VANISHED
    assert "rank 1 was killed by SIGKILL" in done.stderr
    record = run_dir(tmp_path).read_record()
    assert record is not None and record.state == "running"  # as if the leader had been killed
    assert said(train(tmp_path, cache, 2))[0] == "complete"
    assert losses(eight_micro_batches(), tmp_path) == pytest.approx(
        losses(eight_micro_batches(), alone), abs=1e-4
    )


def torchrun(folder: Path, cache: Path, *program: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Two ranks; what came of them, and the record."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, *program, "train", *TINY, "horizon.num_steps=4", "horizon.device_batch_size=1"],
        cwd=folder,
        env=os.environ | {"SWEEPKIT_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    (record,) = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/record.json")]
    return done, record


@pytest.mark.slow
def test_torchrun_starts_the_ranks(cache: Path, tmp_path: Path) -> None:
    done, record = torchrun(tmp_path, cache, "-m", "sweepkit")
    assert done.returncode == 0, done.stderr
    assert (record["state"], record["resolved"]["num_ranks"]) == ("complete", 2)
    assert done.stdout.count("complete: ") == 1  # the leader speaks alone


@pytest.mark.slow
def test_torchrun_does_not_end_the_leader_before_a_failure_is_recorded(cache: Path, tmp_path: Path) -> None:
    """It ends those who are left once one has ended; here the leader takes its time."""
    done, record = torchrun(tmp_path, cache, str(SCRIPT), "--torchrun", "crash")
    assert done.returncode != 0
    assert (record["state"], record["failure_class"]) == ("failed", "crash"), done.stderr
    assert record["failure_message"] == "rank 1: ValueError: no such thing"
