"""A disk that is full, or storage that fails, costs no checkpoint that was good before."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from training_runs import folder, read, run, tiny

from sweepkit import fsio
from sweepkit.errors import DiskFullError, StorageError
from sweepkit.results.record import FailureClass, RunState
from sweepkit.training import checkpoint, tensor_file
from sweepkit.training.journal import Journal
from sweepkit.training.session import Session

EVERY_FOUR = "trainer.checkpoint_every_steps=4"


@pytest.mark.slow
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
    from safetensors import SafetensorError

    def full(*_: object, **__: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: {reason}")

    monkeypatch.setattr(tensor_file, "save_file", full)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
