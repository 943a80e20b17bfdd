"""A complete run keeps the weights it ended with, whole, or it is not complete."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_runs import folder, run, stop_after, tiny

from sweepkit.errors import CheckpointError, StorageError
from sweepkit.plan import disk
from sweepkit.results.conditions import KeptWeights
from sweepkit.results.record import FailureClass, RunRecord, RunState
from sweepkit.training import final_weights, tensor_file
from sweepkit.training.session import Session

PLAN = ("horizon.num_steps=3",)


def engine_of(session: Session):  # type: ignore[no-untyped-def]
    assert session._bench.engine is not None
    return session._bench.engine


@pytest.mark.slow
def test_the_file_holds_the_models_parameters_and_the_record_its_digest(
    session: Session, tmp_path: Path
) -> None:
    plan = tiny(*PLAN, "precision.dtype=bf16")
    record = run(session, plan, tmp_path)
    path = folder(plan, tmp_path).weights_path
    content = path.read_bytes()
    assert record.weights == KeptWeights(hashlib.sha256(content).hexdigest(), len(content))
    tensors = load_file(path)
    parameters = dict(engine_of(session).model.named_parameters())
    assert set(tensors) == {f"raw.{name}" for name in parameters}
    for name, parameter in parameters.items():
        kept = tensors[f"raw.{name}"]
        assert kept.dtype is parameter.dtype and torch.equal(kept, parameter.detach()), name
    assert {parameter.dtype for parameter in parameters.values()} == {torch.bfloat16, torch.float32}
    assert not list(path.parent.glob(".*.tmp"))


def test_a_run_that_is_not_to_keep_them_or_not_complete_has_none(session: Session, tmp_path: Path) -> None:
    without = tiny(*PLAN, "trainer.keep_weights=false")
    assert run(session, without, tmp_path).weights is None
    stopped = tiny("horizon.num_steps=5")
    assert run(session, stopped, tmp_path, should_stop=stop_after(3)).weights is None
    for plan in (without, stopped):
        assert not folder(plan, tmp_path).weights_path.exists()


@pytest.mark.slow
def test_a_disk_that_is_full_then_makes_it_no_answer_and_the_run_is_done_again(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny(*PLAN, "trainer.checkpoint_every_steps=2")
    path = folder(plan, tmp_path).weights_path
    real = tensor_file.save_file

    def full(tensors: object, target: Path) -> None:
        if "weights" not in target.name:
            return real(tensors, target)  # type: ignore[arg-type]
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensor_file, "save_file", full)
        record = run(session, plan, tmp_path)
    assert (record.state, record.failure_class) == (RunState.failed, FailureClass.disk_full)
    assert str(path) in (record.failure_message or "") and record.weights is None
    assert not path.exists() and not list(path.parent.glob(".*.tmp"))
    killed = path.with_name(f".{path.name}.0123456789ab.tmp")
    killed.write_bytes(b"half")  # a writer that was killed
    again = run(session, plan, tmp_path, attempt=2)
    assert again.state is RunState.complete and again.weights.num_bytes == path.stat().st_size
    assert not killed.exists()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def edited(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, edited, Path.unlink])
def test_only_what_was_written_is_loaded(
    session: Session, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    plan = tiny(*PLAN)
    record = run(session, plan, tmp_path)
    run_dir, engine = folder(plan, tmp_path), engine_of(session)
    ended_with = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    engine.renew(plan)
    assert not all(torch.equal(p, ended_with[name]) for name, p in engine.model.named_parameters())
    (raw,) = final_weights.load(run_dir, record).values()
    final_weights.put(raw, engine, run_dir)
    assert all(torch.equal(p, ended_with[name]) for name, p in engine.model.named_parameters())
    damage(run_dir.weights_path)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors .*--rerun"):
        final_weights.load(run_dir, record)


def test_weights_of_another_run_are_refused(session: Session, tmp_path: Path) -> None:
    plan, other = tiny(*PLAN), tiny(*PLAN, "model.mlp.ratio=2")
    for item in (other, plan):
        run(session, item, tmp_path)
    stranger = folder(other, tmp_path).read_record()
    assert isinstance(stranger, RunRecord)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        (raw,) = final_weights.load(folder(other, tmp_path), stranger).values()
        final_weights.put(raw, engine_of(session), folder(other, tmp_path))


def test_storage_that_gives_no_reason_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise tensor_file.SafetensorError("no reason")

    monkeypatch.setattr(tensor_file, "save_file", broken)
    with pytest.raises(StorageError, match="could not be written"):
        tensor_file.write(tmp_path / "x.safetensors", {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=muon", "precision.dtype=fp32"),
        ("optimizer=adamw", "precision.dtype=bf16"),
        ("optimizer=muon", "precision.dtype=bf16", "optimizer.adam_every_steps=2", "optimizer.ema_decay=0.9"),
        ("optimizer=adamw", "precision.dtype=fp32", "optimizer.adam_every_steps=2"),
    ],
)
def test_the_plan_says_how_much_disk_weights_and_a_checkpoint_take(
    session: Session, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    plan = tiny(*overrides, "horizon.num_steps=2", "trainer.keep_checkpoints=true")
    run(session, plan, tmp_path)
    run_dir = folder(plan, tmp_path)
    (state,) = run_dir.checkpoints_path.glob("*/state.safetensors")
    for path, planned in (
        (run_dir.weights_path, disk.weights_bytes(plan)),
        (state, disk.checkpoint_bytes(plan)),
    ):
        header = int.from_bytes(path.read_bytes()[:8], "little") + 8
        assert path.stat().st_size - header == pytest.approx(planned, rel=0.01), path.name
