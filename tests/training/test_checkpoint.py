"""A run that was cut goes on as if it had not been, bit for bit."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_runs import folder, losses, read, run, stop_after, tiny

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.results.record import RunState
from sweepkit.training import checkpoint
from sweepkit.training.engine import Engine
from sweepkit.training.session import Session

EVERY_FOUR = "trainer.checkpoint_every_steps=4"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_stopped_run_goes_on_bit_for_bit(session: Session, tmp_path: Path, dtype: str) -> None:
    plan = tiny(f"precision.dtype={dtype}", "evaluation.every_steps=5")
    uncut = run(session, plan, tmp_path / "uncut")
    stopped = run(session, plan, tmp_path / "cut", should_stop=stop_after(6))
    assert stopped.state is RunState.preempted and 0 < stopped.step < 12
    assert len(list(folder(plan, tmp_path / "cut").checkpoints_path.iterdir())) == 1
    resumed = run(Session(), plan, tmp_path / "cut", attempt=2)
    assert resumed.state is RunState.complete and resumed.attempt == 2
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "uncut")
    for name in ("val_bpb", "bpb_probe", "final_train_loss", "num_timed_steps"):
        assert resumed.results[name] == uncut.results[name], name
    assert not folder(plan, tmp_path / "cut").checkpoints_path.exists()
    second = read(folder(plan, tmp_path / "cut").attempts_path / "2.json")
    assert second["first_step"] == stopped.step


@pytest.mark.slow
def test_a_stop_during_the_evaluation_loses_no_step(session: Session, tmp_path: Path) -> None:
    plan = tiny()
    stopped = run(session, plan, tmp_path, should_stop=stop_after(13))
    assert stopped.state is RunState.preempted and stopped.step == 12
    assert "evaluating" in (stopped.failure_message or "")
    resumed = run(session, plan, tmp_path, attempt=2)
    assert resumed.state is RunState.complete and resumed.results["val_bpb"] is not None


@pytest.mark.slow
def test_a_killed_process_goes_on_bit_for_bit(session: Session, tmp_path: Path) -> None:
    plan = tiny("horizon.num_steps=400", EVERY_FOUR)
    plan_path = tmp_path / "plan.json"
    fsio.write_json(plan_path, typed.dump(plan))
    code = (
        "import sys; from pathlib import Path; from sweepkit import fsio; from sweepkit.config import typed\n"
        "import torch; torch.set_num_threads(1)\n"
        "from sweepkit.plan.run_plan import RunPlan; from sweepkit.results.record import RunDir\n"
        "from sweepkit.training.session import Session\n"
        "plan = typed.load(RunPlan, fsio.read_json(Path(sys.argv[1])))\n"
        "Session().run(plan, RunDir.of(Path(sys.argv[2]), plan.run_id), 1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(plan_path), str(tmp_path / "cut")])
    checkpoints = folder(plan, tmp_path / "cut").checkpoints_path
    until = time.monotonic() + 600
    while max((path.name for path in checkpoints.glob("step_*")), default="") < "step_000040":
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    found = folder(plan, tmp_path / "cut").read_record()
    assert found is not None and found.state is RunState.running
    resumed = run(session, plan, tmp_path / "cut", attempt=2, should_stop=steps_from_now(40))
    assert resumed.step >= 76
    uncut = run(session, plan, tmp_path / "uncut", should_stop=steps_from_now(resumed.step))
    assert uncut.step == resumed.step
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "uncut")


def steps_from_now(num_steps: int):  # type: ignore[no-untyped-def]
    """The loop polls once before every step."""
    return stop_after(num_steps + 1)


def test_the_last_two_are_kept_while_a_run_lives_and_all_if_asked(session: Session, tmp_path: Path) -> None:
    plan = tiny("trainer.checkpoint_every_steps=2", "trainer.keep_checkpoints=true")
    run(session, plan, tmp_path)
    names = sorted(path.name for path in folder(plan, tmp_path).checkpoints_path.iterdir())
    assert names == ["step_000010", "step_000012"]


def test_a_run_stopped_before_its_first_step_leaves_no_checkpoint(session: Session, tmp_path: Path) -> None:
    record = run(session, tiny(), tmp_path, should_stop=lambda: True)
    assert (record.state, record.step) == (RunState.preempted, 0)
    assert not folder(tiny(), tmp_path).checkpoints_path.exists()


def test_found_checkpoints_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for name in ("step_000002", "step_1000000", "step_999999", "step_000002.bak", "step_000003"):
        (tmp_path / name).mkdir()
    found = checkpoint.Checkpoints(tmp_path, tiny(), print).found()
    assert [path.name for path in found] == ["step_1000000", "step_999999", "step_000003", "step_000002"]


@pytest.mark.slow
def test_a_run_keeps_the_number_of_threads_that_it_was_begun_with(tmp_path: Path) -> None:
    plan, here = tiny(EVERY_FOUR), torch.get_num_threads()
    torch.set_num_threads(here + 1)
    try:
        uncut = run(Session(), plan, tmp_path / "uncut")
        run(Session(), plan, tmp_path / "cut", should_stop=stop_after(7))
    finally:
        torch.set_num_threads(here)
    resumed = run(Session(), plan, tmp_path / "cut", attempt=2)
    assert torch.get_num_threads() == here
    assert resumed.resolved.num_threads == here + 1
    assert f"goes on with {here + 1} threads" in resumed.resolved.notes[0]
    assert resumed.environment_fingerprint == uncut.environment_fingerprint
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "uncut")
    assert resumed.results["val_bpb"] == uncut.results["val_bpb"]


@pytest.mark.slow
def test_checkpoints_come_by_minutes_as_well(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = checkpoint.Checkpoints.save

    def noted(self: checkpoint.Checkpoints, state: checkpoint.TrainState, engine: Engine) -> None:
        saved.append(state.step)
        save(self, state, engine)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", noted)
    run(session, tiny("trainer.checkpoint_every_min=0"), tmp_path / "never")
    assert saved == []
    run(session, tiny("trainer.checkpoint_every_min=1e-9"), tmp_path / "always")
    assert saved == list(range(1, 12))


def test_a_checkpoint_has_the_mode_that_the_umask_gives(session: Session, tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        plan = tiny(EVERY_FOUR)
        run(session, plan, tmp_path, should_stop=stop_after(6))
    finally:
        os.umask(before)
    found = list(folder(plan, tmp_path).path.rglob("*"))
    assert any(path.name == "state.safetensors" for path in found)
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o775 if path.is_dir() else 0o664), path
