"""A run that was cut goes on as if it had not been, whatever state its checkpoints are in."""

from __future__ import annotations

import errno
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
from sweepkit.config import sources
from sweepkit.errors import DiskFullError, StorageError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import FailureClass, RunState
from sweepkit.training import checkpoint
from sweepkit.training.engine import Engine
from sweepkit.training.journal import Journal
from sweepkit.training.session import Session

EVERY_FOUR = "trainer.checkpoint_every_steps=4"


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
    fsio.write_json(plan_path, plan.to_json())
    code = (
        "import sys; from pathlib import Path; from sweepkit import fsio\n"
        "import torch; torch.set_num_threads(1)\n"
        "from sweepkit.plan.run_plan import RunPlan; from sweepkit.results.record import RunDir\n"
        "from sweepkit.training.session import Session\n"
        "plan = RunPlan.from_json(fsio.read_json(Path(sys.argv[1])))\n"
        "Session().run(plan, RunDir.of(Path(sys.argv[2]), plan.run_id), 1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(plan_path), str(tmp_path / "cut")])
    checkpoints = folder(plan, tmp_path / "cut").checkpoints_path
    until = time.monotonic() + 120
    while not list(checkpoints.glob("step_00004*")) and process.poll() is None:
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


@pytest.fixture
def cut(session: Session, tmp_path: Path) -> tuple[RunPlan, list[Path]]:
    """A run stopped after its checkpoints of steps 4 and 8; newest first."""
    plan = tiny(EVERY_FOUR)
    record = run(session, plan, tmp_path, should_stop=stop_after(9))
    assert record.step == 8
    found = sorted(folder(plan, tmp_path).checkpoints_path.iterdir(), reverse=True)
    assert [path.name for path in found] == ["step_000008", "step_000004"]
    return plan, found


def damage(path: Path, how: str) -> None:
    state = path / "state.safetensors"
    if how == "flipped":
        content = bytearray(state.read_bytes())
        content[-1] ^= 1
        state.write_bytes(content)
    elif how == "truncated":
        state.write_bytes(state.read_bytes()[:1000])
    elif how == "no state":
        state.unlink()
    elif how == "no meta":
        (path / "meta.json").write_text("{")
    elif how == "another step":
        meta = path / "meta.json"
        meta.write_text(meta.read_text().replace('"step": 8', '"step": 9'))


@pytest.mark.parametrize("how", ["flipped", "truncated", "no state", "no meta", "another step"])
def test_a_corrupt_checkpoint_is_passed_over(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], how: str
) -> None:
    plan, (newest, _) = cut
    damage(newest, how)
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete
    assert read(folder(plan, tmp_path).attempts_path / "2.json")["first_step"] == 4
    assert "step_000008" in record.resolved["notes"][0]
    uncut = run(session, plan, tmp_path / "uncut")
    assert losses(plan, tmp_path) == losses(plan, tmp_path / "uncut")
    assert record.results["val_bpb"] == uncut.results["val_bpb"]


def test_with_all_checkpoints_corrupt_the_run_starts_again_and_says_so(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]]
) -> None:
    plan, found = cut
    for path in found:
        damage(path, "flipped")
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete
    assert "starting again from step 0" in record.resolved["notes"][-1]
    run(session, plan, tmp_path / "uncut")
    assert losses(plan, tmp_path) == losses(plan, tmp_path / "uncut")


def test_a_checkpoint_in_another_dtype_is_not_used(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = cut
    monkeypatch.setenv("SWEEPKIT_DTYPE", "bf16")
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete
    assert any("torch.float32" in note for note in record.resolved["notes"])


def test_checkpoints_of_other_code_are_not_continued(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 0, to the numbers of a run that nobody stopped, and the log says why."""
    plan, _ = cut
    written = sources.digest()
    monkeypatch.setattr(sources, "digest", lambda: "f" * 16)
    record = run(session, plan, tmp_path, attempt=2)
    assert record.state is RunState.complete and record.sources == "f" * 16
    log = folder(plan, tmp_path).log_path.read_text()
    assert f"was written by other code (sources {written})" in log and "starting again from step 0" in log
    whole = tmp_path / "whole"
    run(session, plan, whole)
    assert losses(plan, tmp_path) == losses(plan, whole)


def test_a_full_disk_leaves_the_last_good_checkpoint(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny(EVERY_FOUR)
    real, calls = checkpoint._write_tensors, iter(range(1, 100))

    def full(path: Path, engine: object) -> str:
        if next(calls) == 2:
            path.mkdir()
            (path / "state.safetensors").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return real(path, engine)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_tensors", full)
        record = run(session, plan, tmp_path)
    assert (record.state, record.failure_class) == (RunState.failed, FailureClass.disk_full)
    assert "disk is full" in (record.failure_message or "")
    assert [path.name for path in folder(plan, tmp_path).checkpoints_path.iterdir()] == ["step_000004"]
    resumed = run(session, plan, tmp_path, attempt=2)
    assert resumed.state is RunState.complete
    assert read(folder(plan, tmp_path).attempts_path / "2.json")["first_step"] == 4


@pytest.mark.parametrize(
    "reason",
    ["No space left on device (os error 28)", f"Disk quota exceeded (os error {errno.EDQUOT})"],
)
def test_what_safetensors_says_of_a_full_disk_is_understood(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    import safetensors.torch
    from safetensors import SafetensorError

    def full(*_: object, **__: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: {reason}")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    record = run(session, tiny(EVERY_FOUR), tmp_path)
    assert record.failure_class is FailureClass.disk_full
    assert "disk is full" in (record.failure_message or "")


def test_a_disk_too_full_for_metrics_ends_the_run_without_raising(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise DiskFullError(f"{path} could not be written: the disk is full")

    monkeypatch.setattr(fsio, "append_line", full)
    record = run(session, tiny(), tmp_path)
    assert record.failure_class is FailureClass.disk_full


def test_the_last_two_are_kept_while_a_run_lives_and_all_if_asked(session: Session, tmp_path: Path) -> None:
    plan = tiny("trainer.checkpoint_every_steps=2", "trainer.keep_checkpoints=true")
    run(session, plan, tmp_path)
    names = sorted(path.name for path in folder(plan, tmp_path).checkpoints_path.iterdir())
    assert names == ["step_000010", "step_000012"]


def test_a_torn_metrics_row_costs_one_row(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]]
) -> None:
    plan, _ = cut
    with folder(plan, tmp_path).metrics_path.open("a") as file:
        file.write('{"step": 9, "attempt": 1, "lo')
    run(session, plan, tmp_path, attempt=2)
    assert len(losses(plan, tmp_path)) == 12


def test_a_run_stopped_before_its_first_step_leaves_no_checkpoint(session: Session, tmp_path: Path) -> None:
    record = run(session, tiny(), tmp_path, should_stop=lambda: True)
    assert (record.state, record.step) == (RunState.preempted, 0)
    assert not folder(tiny(), tmp_path).checkpoints_path.exists()


def test_those_passed_over_push_out_none_of_those_saved_after(
    session: Session, tmp_path: Path, cut: tuple[RunPlan, list[Path]]
) -> None:
    _, found = cut
    for path in found:
        damage(path, "flipped")
    often = tiny("trainer.checkpoint_every_steps=1")
    stopped = run(session, often, tmp_path, attempt=2, should_stop=stop_after(4))
    assert stopped.step == 3
    names = sorted(path.name for path in folder(often, tmp_path).checkpoints_path.iterdir())
    assert names == ["step_000002", "step_000003"]
    run(session, often, tmp_path, attempt=3)
    assert read(folder(often, tmp_path).attempts_path / "3.json")["first_step"] == 3


def test_found_checkpoints_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for name in ("step_000002", "step_1000000", "step_999999", "step_000002.bak", "step_000003"):
        (tmp_path / name).mkdir()
    found = checkpoint.Checkpoints(tmp_path, tiny(), print).found()
    assert [path.name for path in found] == ["step_1000000", "step_999999", "step_000003", "step_000002"]


def test_a_finished_run_whose_record_does_not_fit_keeps_its_checkpoints(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny(EVERY_FOUR)
    with monkeypatch.context() as patch:

        def full(journal: Journal) -> None:
            raise StorageError("record.json could not be written: the disk is full")

        patch.setattr(Journal, "end", full)
        run(session, plan, tmp_path)
    resumed = run(session, plan, tmp_path, attempt=2)
    assert resumed.state is RunState.complete
    assert read(folder(plan, tmp_path).attempts_path / "2.json")["first_step"] == 8
    assert not folder(plan, tmp_path).checkpoints_path.exists()


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
    assert resumed.resolved["num_threads"] == here + 1
    assert f"goes on with {here + 1} threads" in resumed.resolved["notes"][0]
    assert resumed.environment_fingerprint == uncut.environment_fingerprint
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "uncut")
    assert resumed.results["val_bpb"] == uncut.results["val_bpb"]


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


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_storage_that_fails_for_long_is_no_crash(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("sweepkit.patience.DELAYS_S", (0.0,))
    calls, real = iter(range(1_000)), os.fsync

    def fail(descriptor: int) -> None:
        if next(calls) > 12:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    plan = tiny("trainer.checkpoint_every_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        record = run(session, plan, tmp_path)
    assert (record.state, record.failure_class) == (RunState.failed, FailureClass.storage)
    assert "storage failed" in (record.failure_message or "")
    resumed = run(session, plan, tmp_path, attempt=2)
    assert resumed.state is RunState.complete
    assert read(folder(plan, tmp_path).attempts_path / "2.json")["first_step"] > 0
