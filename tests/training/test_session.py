"""A session trains real runs, and a run does not depend on what ran before it in the same process."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_runs import folder, losses, read, run, stop_after, tiny

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.distributed.ranks import Ranks
from sweepkit.results.record import FailureClass, RunState
from sweepkit.training import engine as engines
from sweepkit.training import journal
from sweepkit.training.session import Session

HERE = Path(__file__).parent


@pytest.mark.slow
def test_the_loss_goes_down_on_real_text(session: Session, tmp_path: Path) -> None:
    plan = tiny("horizon.num_steps=60")
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete, record.failure_message
    curve = losses(plan, tmp_path)
    assert len(curve) == 60
    assert sum(curve[-5:]) / 5 < curve[0] - 1.0
    untrained = run(session, tiny("horizon.num_steps=1"), tmp_path)
    assert record.results["val_bpb"] < untrained.results["val_bpb"] - 0.5


def test_the_record_of_a_finished_run_is_complete(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PROGRESS_EVERY_S", 0.0)
    phases: list[str] = []
    said = journal.Journal.progress
    monkeypatch.setattr(
        journal.Journal,
        "progress",
        lambda self, phase, *given, **named: phases.append(phase) or said(self, phase, *given, **named),
    )
    plan = tiny("evaluation.sample_tokens=5", "logging.diagnostics_every_steps=4", "evaluation.every_steps=5")
    record = run(session, plan, tmp_path)
    run_dir = folder(plan, tmp_path)
    stored = read(run_dir.record_path)
    assert stored == json.loads(json.dumps(typed.dump(record)))
    missing = {name for name, value in stored.items() if value in (None, {}, [])}
    assert missing == {"failure_class", "failure_message", "accepted"}
    assert {name for name, value in stored["results"].items() if value is None} == set()
    assert stored["results"]["val_bpb"] == stored["results"]["bpb_validation"]
    assert stored["resolved"]["dtype"] == "fp32" and stored["resolved"]["is_compiled"] is False
    assert stored["sample"].startswith("The capital of")
    assert set(stored["evaluation_fingerprints"]) == {"validation", "probe"}
    attempt = read(run_dir.attempts_path / "1.json")
    assert (attempt["state"], attempt["last_step"]) == ("complete", 12)
    rows = run_dir.metrics()
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "val_bpb" in row] == [5, 10, 12]
    diagnosed = next(row for row in rows if row["step"] == 8)
    assert diagnosed["grad_norm"] > 0 and -5 < diagnosed["update_data_log10_matrix"] < 0
    assert {"attempt", "loss", "lr", "tokens_per_s", "mfu", "train_time_s"} <= set(diagnosed)
    progress = fsio.read_open_json(run_dir.path / "progress.json")
    assert {"step", "num_steps", "tokens_per_s", "eta_s", "loss", "phase", "updated_at"} <= set(progress)
    moving = [phase for phase in phases if phase.startswith("evaluating ")]
    assert len(set(moving)) > 2 and "evaluating 0%" in moving, "an evaluation does not stand still"
    log = run_dir.log_path.read_text()
    assert "fp32 (precision.dtype=fp32)" in log and "eager (trainer.compile=false)" in log


@pytest.mark.slow
def test_a_reused_session_gives_the_bits_of_a_fresh_process(session: Session, tmp_path: Path) -> None:
    other = tiny("seed=7", "optimizer.matrix.lr=0.05", "model.mlp.init_scale=0.7", "horizon.num_steps=5")
    plan = tiny("precision.dtype=bf16", "model.mlp.init_scale=0.4")
    before = tiny("precision.dtype=bf16", "seed=7", "optimizer.matrix.lr=0.05", "model.mlp.init_scale=0.7")
    assert before.compile_key == plan.compile_key != other.compile_key
    for used in (other, before, plan):
        assert run(session, used, tmp_path / "reused").state is RunState.complete
    fresh_plan = tmp_path / "plan.json"
    fsio.write_json(fresh_plan, typed.dump(plan))
    fresh_process(fresh_plan, tmp_path / "fresh")
    assert losses(plan, tmp_path / "reused") == losses(plan, tmp_path / "fresh")
    results = [folder(plan, tmp_path / kind).read_record().results for kind in ("reused", "fresh")]
    assert results[0]["val_bpb"] == results[1]["val_bpb"]


def fresh_process(plan_path: Path, results: Path) -> None:
    """Run a plan in a new interpreter."""
    code = (
        "import sys; from pathlib import Path; from sweepkit import fsio; from sweepkit.config import typed\n"
        "import torch; torch.set_num_threads(1)\n"
        "from sweepkit.plan.run_plan import RunPlan; from sweepkit.results.record import RunDir\n"
        "from sweepkit.training.session import Session\n"
        "plan = typed.load(RunPlan, fsio.read_json(Path(sys.argv[1])))\n"
        "record = Session().run(plan, RunDir.of(Path(sys.argv[2]), plan.run_id), 1)\n"
        "assert record.state == 'complete', record"
    )
    subprocess.run([sys.executable, "-c", code, str(plan_path), str(results)], check=True, timeout=600)


@pytest.mark.slow
def test_micro_steps_add_up_to_one_batch(session: Session, tmp_path: Path) -> None:
    whole, parts = tiny("horizon.device_batch_size=8"), tiny("horizon.device_batch_size=2")
    assert whole.total_batch_size == parts.total_batch_size and parts.device_batch_size == 2
    for plan, name in ((whole, "whole"), (parts, "parts")):
        assert run(session, plan, tmp_path / name).state is RunState.complete
    assert losses(parts, tmp_path / "parts") == pytest.approx(losses(whole, tmp_path / "whole"), abs=2e-3)


def test_an_absurd_learning_rate_ends_as_diverged(session: Session, tmp_path: Path) -> None:
    groups = ("matrix", "embedding", "unembedding", "value_embedding")
    plan = tiny(
        *(f"optimizer.{group}.lr=1000" for group in groups),
        "trainer.max_loss_ratio=1.2",
        "horizon.num_steps=30",
    )
    record = run(session, plan, tmp_path)
    assert (record.state, record.failure_class) == (RunState.diverged, FailureClass.diverged)
    assert record.failure_message is not None and f"step {record.step}" in record.failure_message
    assert 0 < record.step < 30
    assert record.results["val_bpb"] is None
    assert folder(plan, tmp_path).metrics()[-1]["step"] == record.step


def test_a_loss_that_is_not_a_number_ends_as_diverged(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engines.Engine.backward

    def poisoned(
        self: engines.Engine, inputs: torch.Tensor, targets: torch.Tensor, share: float, last: bool = False
    ) -> torch.Tensor:
        loss = real(self, inputs, targets, share, last)
        return loss * float("nan") if poison.pop() else loss

    poison = [True] + [False] * 5  # the warm-up takes one
    monkeypatch.setattr(engines.Engine, "backward", poisoned)
    record = run(session, tiny(), tmp_path)
    assert record.state is RunState.diverged and "nan at step 5" in (record.failure_message or "")
    assert folder(tiny(), tmp_path).metrics()[-1]["loss"] is None


def test_bad_data_and_bad_configuration_end_in_the_record(session: Session, tmp_path: Path) -> None:
    text = tmp_path / "mine"
    text.mkdir()
    (text / "part.parquet").write_text("no parquet file")
    plan = tiny("dataset=files", f"dataset.path={text}")
    (text / "part.parquet").write_text("edited since")
    record = run(session, plan, tmp_path)
    assert record.state is RunState.failed
    assert record.failure_class is FailureClass.bad_data
    assert "must be the one it was planned with" in (record.failure_message or "")
    shutil.rmtree(text)
    record = run(session, plan, tmp_path)
    assert record.failure_class is FailureClass.bad_data and f"{text}" in (record.failure_message or "")
    assert "Traceback" in folder(plan, tmp_path).log_path.read_text()


def test_running_out_of_memory_is_told_apart_and_the_session_goes_on(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(*_: object) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

        patch.setattr(engines.Engine, "backward", full)
        record = run(session, tiny(), tmp_path)
    assert (record.state, record.failure_class) == (RunState.failed, FailureClass.oom)
    assert "device_batch_size" in (record.failure_message or "")
    assert run(session, tiny(), tmp_path, attempt=2).state is RunState.complete


def test_a_run_that_cannot_fit_ends_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.Engine, "__init__", lambda *_: pytest.fail("it was built"))
    record = run(Session(main_memory_gib=0.001), tiny(), tmp_path)
    assert (record.state, record.failure_class) == (RunState.failed, FailureClass.oom)
    assert "the run needs about 0." in (record.failure_message or "")
    assert "device_batch_size" in (record.failure_message or "")


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """As in a worker: the tests' own ``gc.freeze`` undone for a while."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_frozen")
def test_the_garbage_collector_comes_back(session: Session, tmp_path: Path) -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    run(session, tiny(), tmp_path)
    assert gc.isenabled() and gc.get_freeze_count() <= frozen
    run(session, tiny("seed=2"), tmp_path, should_stop=stop_after(4))
    assert gc.isenabled() and gc.get_freeze_count() <= frozen


def test_what_somebody_else_has_frozen_stays_frozen(session: Session, tmp_path: Path) -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    run(session, tiny("horizon.num_steps=2"), tmp_path)
    assert gc.isenabled() and 0.99 * frozen < gc.get_freeze_count() <= frozen, "some of it may have ended"


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_frozen")
def test_the_garbage_collector_rests_from_the_second_step_on(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = engines.Engine.backward, []

    def watched(*args: object, **given: object) -> torch.Tensor:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 10_000))
        return real(*args, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(engines.Engine, "backward", watched)
    run(session, tiny(), tmp_path)
    _warm_up, first, *later = seen
    assert first == (True, False) and set(later) == {(False, True)}


def test_without_a_compiler_the_run_is_eager_and_says_so(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    record = run(session, tiny("trainer.compile=true"), tmp_path)
    assert record.state is RunState.complete
    assert record.resolved.is_compiled is False
    assert record.resolved.eager_reason == "no C++ compiler (no-such-compiler) on the PATH"


def test_a_compiler_that_fails_is_given_up(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def broken(self: engines.Engine, plan: object) -> None:
        if self.key.compile:
            raise TorchDynamoException("no header Python.h")

    monkeypatch.setattr(engines.Engine, "warm_up", broken)
    record = run(session, tiny("trainer.compile=true"), tmp_path)
    assert record.state is RunState.complete
    assert record.resolved.is_compiled is False
    assert "Python.h" in record.resolved.eager_reason
    assert any("eagerly" in note for note in record.resolved.notes)


def test_a_crash_while_stopping_is_no_verdict_on_the_run(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: engines.Engine, plan: object) -> None:
        raise OSError("helper was interrupted")

    monkeypatch.setattr(engines.Engine, "warm_up", interrupted)
    for stopping, state in ((False, RunState.failed), (True, RunState.preempted)):
        record = run(session, tiny(), tmp_path, should_stop=lambda stopping=stopping: stopping)
        assert (record.state, record.failure_class is None) == (state, stopping)
        assert folder(tiny(), tmp_path).read_record() == record


def test_another_rank_than_the_leader_leaves_the_checkpoints_alone(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done before the leader has written the record: killed in between, the leader would need them."""
    plan = tiny("horizon.num_steps=4")
    run(session, plan, tmp_path, should_stop=stop_after(3))
    with monkeypatch.context() as patched:
        patched.setattr(Ranks, "leads", False)
        assert run(session, plan, tmp_path).state is RunState.complete
    assert list(folder(plan, tmp_path).checkpoints_path.iterdir())
    run(session, plan, tmp_path, attempt=2)
    assert not folder(plan, tmp_path).checkpoints_path.exists()


@pytest.mark.parametrize(("then", "recorded"), [(3, 3), (1, None)])
def test_a_run_that_went_on_among_other_runs_has_no_one_concurrency(
    tmp_path: Path, then: int, recorded: int | None
) -> None:
    plan = tiny("horizon.num_steps=4")
    assert run(Session(concurrency=3), plan, tmp_path, should_stop=stop_after(3)).state is RunState.preempted
    for attempt in (2, 3):  # once not known, it stays so
        should_stop = stop_after(1) if attempt == 2 else lambda: False
        record = run(Session(concurrency=then), plan, tmp_path, attempt, should_stop)
    assert record.state is RunState.complete
    assert record.environment.concurrency == recorded


def test_a_process_that_stood_still_while_another_did_the_run_does_not_undo_it(tmp_path: Path) -> None:
    """Its machine was suspended, and it was taken for dead."""
    plan = tiny("horizon.num_steps=4")
    run_dir = folder(plan, tmp_path)

    def stand_still() -> bool:
        if run_dir.attempt_numbers() == [1]:
            assert run(Session(), plan, tmp_path, attempt=2).state is RunState.complete
        return True

    assert run(Session(), plan, tmp_path, should_stop=stand_still).state is RunState.preempted
    record = run_dir.read_record()
    assert record is not None
    assert (record.state, record.attempt) == (RunState.complete, 2)
    ends = [(item.attempt, item.state) for item in run_dir.attempts()]
    assert ends == [(1, RunState.preempted), (2, RunState.complete)]
