"""Kept weights are evaluated without training, to the bits of the training's own final evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_runs import folder, run, stop_after, tiny

from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import asked
from sweepkit.results.record import FailureClass, RunState
from sweepkit.training import final_weights
from sweepkit.training.engine import Engine
from sweepkit.training.session import Session

STEPS = "horizon.num_steps=3"
PROBE_TOO, VALIDATION, LESS = (
    "evaluation.streams=[validation,probe]",
    "evaluation.streams=[validation]",
    "evaluation.max_bytes=20000",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [["precision.dtype=fp32"], ["precision.dtype=bf16", "optimizer.ema_decay=0.7"]]
)
def test_the_same_text_gives_the_bits_of_the_trainings_own_evaluation(
    session: Session, tmp_path: Path, how: list[str]
) -> None:
    first, second = tiny(STEPS, *how, VALIDATION, LESS), tiny(STEPS, *how, PROBE_TOO)
    assert first.run_id == second.run_id and first.evaluation_key != second.evaluation_key
    trained = {
        plan.evaluation_key: run(session, plan, tmp_path / plan.evaluation_key) for plan in (first, second)
    }
    for plan, other in ((first, second), (second, first)):
        results = tmp_path / plan.evaluation_key
        again = Session().evaluate(other, folder(plan, results))
        assert again.state is RunState.complete, again.failure_message
        own = trained[other.evaluation_key]
        losses = {name: value for name, value in own.results.items() if asked.is_loss(name)}
        assert {name: again.results[name] for name in losses} == losses
        assert any(name.startswith("ema_") for name in losses) == (len(how) > 1)
        assert again.evaluation_fingerprints == own.evaluation_fingerprints
        assert again.environment_fingerprint == own.environment_fingerprint
        assert folder(plan, results).read_record() == trained[plan.evaluation_key], "its own record stands"
        seen = asked.read(folder(plan, results), other.evaluation_key)
        assert seen is not None and seen.state is RunState.complete
        assert {name: seen.results[name] for name in losses} == losses
        assert seen.results["train_time_s"] == trained[plan.evaluation_key].results["train_time_s"]


@pytest.mark.slow
def test_nothing_is_trained_and_the_engine_is_not_compiled_for_it(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny(STEPS, VALIDATION)
    run(session, plan, tmp_path)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an evaluation takes no step")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "backward", never)
        fresh = Session()
        record = fresh.evaluate(tiny(STEPS, PROBE_TOO), folder(plan, tmp_path))
        assert record.state is RunState.complete, record.failure_message
    assert run(fresh, tiny(STEPS, "seed=2"), tmp_path).state is RunState.complete, "and then it can train"


def test_an_evaluation_that_is_stopped_leaves_nothing_and_is_made_again(
    session: Session, tmp_path: Path
) -> None:
    plan, other = tiny(STEPS, VALIDATION), tiny(STEPS, PROBE_TOO)
    run(session, plan, tmp_path)
    run_dir = folder(plan, tmp_path)
    record = session.evaluate(other, run_dir, stop_after(2))
    assert record.state is RunState.preempted
    assert not run_dir.evaluation_path(other.evaluation_key).exists()
    seen = asked.read(run_dir, other.evaluation_key)
    assert seen is not None and seen.state is RunState.trained and not any(map(asked.is_loss, seen.results))
    assert session.evaluate(other, run_dir).state is RunState.complete


def evaluated(session: Session, other: RunPlan, tmp_path: Path) -> tuple[RunState, FailureClass | None, str]:
    session.evaluate(other, folder(other, tmp_path))
    seen = asked.read(folder(other, tmp_path), other.evaluation_key)
    assert seen is not None
    return seen.state, seen.failure_class, seen.failure_message or ""


@pytest.mark.slow
def test_what_is_wrong_is_kept_beside_the_run_and_says_nothing_against_it(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, other = tiny(STEPS, VALIDATION), tiny(STEPS, PROBE_TOO)
    record = run(session, plan, tmp_path)
    run_dir = folder(plan, tmp_path)
    path = run_dir.weights_path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    state, failure_class, message = evaluated(session, other, tmp_path)
    assert (state, failure_class) == (RunState.failed, FailureClass.evaluation)
    assert "is damaged" in message and "--rerun" in message
    path.write_bytes(content)

    def oom(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(final_weights, "put", oom)
        state, failure_class, message = evaluated(session, other, tmp_path)
    assert (state, failure_class) == (RunState.failed, FailureClass.evaluation) and "out of memory" in message
    assert run_dir.read_record() == record

    def blown_up(_: object, engine: Engine, *__: object) -> None:
        with torch.no_grad():
            for parameter in engine.model.parameters():
                parameter.fill_(float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(final_weights, "put", blown_up)
        state, failure_class, message = evaluated(session, other, tmp_path)
    assert (state, failure_class) == (RunState.diverged, FailureClass.diverged)
    assert "of its kept weights is nan" in message


def test_a_run_that_is_not_complete_has_nothing_to_evaluate(session: Session, tmp_path: Path) -> None:
    plan = tiny("horizon.num_steps=5")
    run(session, plan, tmp_path, should_stop=stop_after(3))
    record = session.evaluate(plan, folder(plan, tmp_path))
    assert record.state is RunState.failed and "has no complete run" in (record.failure_message or "")
