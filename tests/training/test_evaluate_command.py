"""Another evaluation of a run that was trained, from the command line: without training, and once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import TINY

import sample
from sweepkit import fsio
from sweepkit.cli.evaluate import _evaluated
from sweepkit.cli.main import main
from sweepkit.config import sources
from sweepkit.config.compose import compose
from sweepkit.config.facts import Identity, fields_of
from sweepkit.config.schema import EvaluationConfig, RunConfig
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import document_losses, store
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep import sealed_text
from sweepkit.training.engine import Engine

CORE = ("evaluation=core", "evaluation.core.max_per_task=2")
RUN = (*TINY, "horizon.num_steps=2", "evaluation.streams=[validation]", *CORE)
#: Another value of every field of the schema that is marked as one of evaluation.
OTHERS = {
    "evaluation.streams": "evaluation.streams=[validation,probe]",
    "evaluation.max_bytes": "evaluation.max_bytes=20000",
    "evaluation.rows": "evaluation.rows=best_fit",
    "evaluation.core.bundle": "evaluation.core.bundle=null",
    "evaluation.core.tasks": "evaluation.core.tasks=[endings]",
    "evaluation.core.max_per_task": "evaluation.core.max_per_task=3",
}


def plan(*overrides: str) -> RunPlan:
    return build(compose([*RUN, *overrides]))


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every micro-batch that is trained on."""
    counted: list[int] = []
    real = Engine.backward

    def count(self: Engine, *args: object, **given: object) -> object:
        counted.append(1)
        return real(self, *args, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "backward", count)
    return counted


def kept(run_dir: RunDir) -> None:
    pass


def dropped(run_dir: RunDir) -> None:
    assert main(["weights", "drop", run_dir.run_id]) == 0


def damaged(run_dir: RunDir) -> None:
    content = bytearray(run_dir.weights_path.read_bytes())
    content[-2] ^= 1
    run_dir.weights_path.write_bytes(content)


def test_every_field_of_evaluation_has_another_value_here() -> None:
    marked = {
        key for key, field in fields_of(RunConfig).items() if field.facts.identity is Identity.evaluation
    }
    assert marked == set(OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("weights", sample.sample([kept, dropped, damaged], 3))
@pytest.mark.parametrize("field", sample.sample(sorted(OTHERS), 2))
def test_train_evaluates_the_kept_weights_or_asks_for_rerun(
    field: str,
    weights: Callable[[RunDir], None],
    own_results_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, other = plan(), plan(OTHERS[field])
    run_dir = RunDir.of(own_results_dir, first.run_id)
    assert main(["train", *RUN]) == 0
    trained = run_dir.read_record()
    weights(run_dir)
    capsys.readouterr()
    counted = steps(monkeypatch)
    status, said = say(capsys, "train", *RUN, OTHERS[field])
    assert run_dir.read_record() == trained and not counted, "nothing is trained unasked"
    if weights is kept:
        assert status == 0 and "its kept weights are evaluated" in said
    else:
        assert status != 0 and "--rerun" in said
        assert "no weights are there" in said if weights is dropped else "is damaged" in said
        status, said = say(capsys, "train", *RUN, OTHERS[field], "--rerun")
        assert status == 0, said
        assert counted and "trained again" in said
    row = store.of_plans([other], own_results_dir).iloc[0]
    assert row["state"] == RunState.complete and row["evaluation_key"] == other.evaluation_key
    before = len(counted)
    status, said = say(capsys, "train", *RUN, OTHERS[field])
    assert status == 0 and "already complete" in said and len(counted) == before
    again = store.of_plans([first], own_results_dir).iloc[0]
    if weights is kept:
        assert again["val_bpb"] == trained.results["val_bpb"] if trained else None
        assert (
            again["evaluation_fingerprint"] != row["evaluation_fingerprint"]
            or field.endswith("streams")
            or ".core." in field
        )
    else:  # what was made again was evaluated as asked, and not as before
        assert again["state"] == RunState.trained and again.isna()["val_bpb"]


@pytest.mark.slow
def test_evaluate_makes_losses_by_document_again_and_changes_nothing_else(
    own_results_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = plan(), plan(OTHERS["evaluation.max_bytes"])
    run_dir = RunDir.of(own_results_dir, own.run_id)
    assert main(["train", *RUN]) == 0
    assert main(["evaluate", own.run_id, "evaluation.max_bytes=20000"]) == 0
    paths = [document_losses.path(run_dir, key) for key in (own.evaluation_key, other.evaluation_key)]
    whole = [path.read_bytes() for path in paths]
    records = {
        path: path.read_bytes() for path in run_dir.path.rglob("*.json") if path.name != "progress.json"
    }
    paths[0].unlink()
    paths[1].write_bytes(whole[1][:100])
    for words in ((), ("evaluation.max_bytes=20000",)):
        status, said = say(capsys, "evaluate", own.run_id, *words)
        assert status == 0 and f"[1/1] {own.run_id}: kept" in said
        assert "by document" not in say(capsys, "evaluate", own.run_id, *words)[1], "once"
    assert [path.read_bytes() for path in paths] == whole
    assert {path: path.read_bytes() for path in run_dir.path.rglob("*.json") if path in records} == records
    assert len(list(run_dir.evaluations_path.iterdir())) == 1
    paths[0].unlink()
    monkeypatch.setattr(document_losses, "SAME_SUM", 0.0)  # as where other hardware sums otherwise
    monkeypatch.setattr(document_losses.DocumentLosses, "bits_per_byte", 1.0)
    assert "its losses are others here" in say(capsys, "evaluate", own.run_id)[1]


@pytest.mark.slow
def test_evaluate_keeps_refuses_and_shows_what_was_measured(
    own_results_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, other = plan().run_id, plan(OTHERS["evaluation.max_bytes"])
    run_dir = RunDir.of(own_results_dir, run_id)
    assert main(["train", *RUN]) == 0
    counted = steps(monkeypatch)
    for _ in range(2):
        status, said = say(capsys, "evaluate", run_id, "evaluation.max_bytes=20000")
        assert status == 0 and other.evaluation_key in said, said
    assert not counted
    assert [path.stem for path in run_dir.evaluations_path.iterdir()] == [other.evaluation_key]
    status, said = say(
        capsys, "results", "all", "--evaluation", other.evaluation_key, "--select", "evaluated_apart,val_bpb"
    )
    found = run_dir.read_evaluation(other.evaluation_key)
    assert found is not None and f"{found.results['val_bpb']:.5f}" in said and "True" in said
    for words, refusal in (
        (["model.depth=3"], "must be of evaluation or launcher"),
        (["evaluation.every_steps=7"], "evaluation.every_steps is 7, but must stay"),
    ):
        status, said = say(capsys, "evaluate", run_id, *words)
        assert status == 2 and refusal in said
    held_back = "evaluation.streams=[validation,validation_holdout]"
    for command in (["evaluate", run_id, held_back], ["train", *RUN, held_back]):
        status, said = say(capsys, *command)
        assert status == 2 and "held back for runs of a last rung alone" in said
    refused = fsio.read_lines(own_results_dir / sealed_text.FILE)
    assert [row["runs"] for row in refused] == [[run_id], [run_id]]
    assert [row["streams"] for row in refused] == [["validation", "validation_holdout"]] * 2
    # an evaluation of other code is not handed out
    monkeypatch.setattr(sources, "digest", lambda: "e" * 16)
    status, said = say(capsys, "train", *RUN, "evaluation.max_bytes=20000")
    assert status == 2 and "made by other code" in said
    status, said = say(capsys, "train", *RUN, "evaluation.max_bytes=20000", "--accept-code")
    assert status == 0 and "already complete" in said
    accepted = [run_dir.read_record(), run_dir.read_evaluation(other.evaluation_key)]
    assert all(record is not None and record.is_of("e" * 16) for record in accepted) and not counted


@pytest.mark.parametrize("name", OTHERS)
def test_a_field_that_is_named_stands_beside_an_option_also_at_its_default(name: str) -> None:
    default = functools.reduce(getattr, name.split(".")[1:], EvaluationConfig())
    said = "null" if default is None else str(getattr(default, "value", default)).replace("'", "")
    asked = _evaluated(plan(OTHERS[name]), ["evaluation=core", f"{name}={said}"])
    assert functools.reduce(getattr, name.split("."), asked.config) == default


@pytest.mark.slow
def test_the_runs_of_a_sweep_are_known_by_their_variants(
    shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("COLUMNS", "160")
    words = [item for item in RUN if item not in CORE]
    status, said = say(capsys, "train", "-m", *words, "optimizer.unembedding.lr=0.004,0.008", "--name=two")
    assert status == 0, said
    status, said = say(capsys, "evaluate", "two", *CORE, OTHERS["evaluation.streams"])
    assert status == 0 and "bpb_probe" in said, said
    runs, losses = said.split("bpb_validation")
    for table in (runs, *losses.split("core_subset")):
        assert "unembedding.lr=0.008" in table and "reference" in table
    (key,) = set(store.load("two", tmp_path / "results").evaluation_key)
    assert f"evaluation {key}" not in said and "sweepkit results two --evaluation" in said
