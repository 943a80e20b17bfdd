"""A sweep's table has the losses that it was frozen to be decided by, and never those of other bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_up_runs as made_up
import pandas as pd
import pytest

from sweepkit import fsio
from sweepkit.analysis import comparable
from sweepkit.cli.main import main
from sweepkit.errors import SweepkitError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import answer, store
from sweepkit.results.conditions import KeptWeights
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState

WEIGHTS = KeptWeights("a" * 64, 9)


def trained(folder: Path, run: RunPlan, **changes: object) -> RunRecord:
    """As somebody else's, who evaluates otherwise."""
    record = made_up.record(
        run,
        evaluation_key="theirs",
        weights=WEIGHTS,
        results={"val_bpb": 1.5, "train_time_s": 60.0},
        **changes,
    )
    RunDir.of(folder, run.run_id).write_record(record)
    return record


def evaluated(folder: Path, run: RunPlan, **changes: object) -> None:
    record = made_up.record(run, weights=WEIGHTS, results={"val_bpb": 1.25, "bpb_probe": 2.5})
    RunDir.of(folder, run.run_id).write_evaluation(replace(record, **changes))  # type: ignore[arg-type]


def row(results: Path, run: RunPlan) -> pd.Series:
    return store.of_plans([run], results).iloc[0]


@pytest.fixture
def run() -> RunPlan:
    return made_up.plan(evaluation_key="ours")


def test_until_it_is_evaluated_so_a_run_is_trained_and_no_answer(tmp_path: Path, run: RunPlan) -> None:
    trained(tmp_path, run)
    found = row(tmp_path, run)
    assert found["state"] == RunState.trained and not answer.is_answer(found["state"])
    assert found["train_time_s"] == 60.0 and pd.isna(found["val_bpb"])
    assert pd.isna(found["evaluation_fingerprint"]) and found["evaluation_key"] == "ours"


def test_then_it_has_those_losses_and_the_times_of_its_training(tmp_path: Path, run: RunPlan) -> None:
    trained(tmp_path, run)
    evaluated(tmp_path, run, evaluation_fingerprints={"validation": "0123"})
    found = row(tmp_path, run)
    assert (found["state"], found["val_bpb"], found["bpb_probe"]) == (RunState.complete, 1.25, 2.5)
    assert found["train_time_s"] == 60.0 and found["evaluation_fingerprint"] == "0123"
    assert found["evaluated_apart"] and found["environment_fingerprint"] == "e" * 12
    theirs = row(tmp_path, replace(run, evaluation_key="theirs"))
    assert theirs["val_bpb"] == 1.5 and "bpb_probe" not in theirs and pd.isna(theirs["evaluated_apart"])


@pytest.mark.parametrize("damage", ["other weights", "edited", "cut"])
def test_what_is_not_of_these_weights_or_not_whole_is_none(tmp_path: Path, run: RunPlan, damage: str) -> None:
    trained(tmp_path, run)
    evaluated(tmp_path, run, **({"weights": {"sha256": "b" * 64}} if damage == "other weights" else {}))
    path = RunDir.of(tmp_path, run.run_id).evaluation_path("ours")
    if damage == "edited":
        path.write_text(path.read_text().replace("1.25", "1.15"))
    if damage == "cut":
        path.write_text(path.read_text()[:100])
    found = row(tmp_path, run)
    assert found["state"] == RunState.trained and pd.isna(found["val_bpb"])


def test_a_failure_to_evaluate_is_none_of_the_variants(tmp_path: Path, run: RunPlan) -> None:
    trained(tmp_path, run)
    for failure in (FailureClass.oom, FailureClass.crash, FailureClass.storage):
        evaluated(tmp_path, run, state=RunState.failed, failure_class=failure, results={})
        found = row(tmp_path, run)
        assert (found["state"], found["failure_class"]) == (RunState.failed, FailureClass.evaluation)
        assert not answer.is_answer(found["state"], found["failure_class"]) and pd.isna(found["val_bpb"])
    evaluated(tmp_path, run, state=RunState.diverged, failure_class=FailureClass.diverged, results={})
    found = row(tmp_path, run)
    assert answer.is_answer(found["state"], found["failure_class"])


def test_an_evaluation_that_no_run_has_is_refused(
    tmp_path: Path, run: RunPlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    trained(tmp_path, run)
    evaluated(tmp_path, run, evaluation_key="e1ac0ffee0ff")
    for key, loss in (("theirs", 1.5), ("e1ac0ffee0ff", 1.25)):
        assert store.load(evaluation=key).val_bpb.tolist() == [loss]
    with pytest.raises(SweepkitError, match="did you mean 'e1ac0ffee0ff'"):
        store.load(evaluation="e1ac0ffee0f")
    with pytest.raises(SweepkitError, match="known: e1ac0ffee0ff, theirs"):
        store.load(evaluation="99")
    for words in (["--curves"], ["--importances"], ["--analysis", "probes"]):
        assert main(["results", store.ALL, "--evaluation", "theirs", *words]) == 2
        said = capsys.readouterr().err
        assert "must be left out with " in said and words[-1] in said


def test_losses_of_another_machine_compare_with_others_of_the_same_two_alone(tmp_path: Path) -> None:
    runs = [made_up.plan(seed=seed, evaluation_key="ours") for seed in (1, 2, 3)]
    for run, where in zip(runs, ("f" * 12, "f" * 12, "e" * 12), strict=True):
        trained(tmp_path, run)
        evaluated(tmp_path, run, environment_fingerprint=where)
    frame = store.of_plans(runs, tmp_path).assign(variant="reference")
    comparable.check(frame[:2], "val_bpb")
    with pytest.raises(SweepkitError, match=r"environment_fingerprint differs .*evaluated_on"):
        comparable.check(frame, "val_bpb")


def test_curves_have_no_losses_of_other_text(tmp_path: Path, run: RunPlan) -> None:
    trained(tmp_path, run)
    run_dir = RunDir.of(tmp_path, run.run_id)
    fsio.append_line(run_dir.metrics_path, {"step": 1, "loss": 3.0, "val_bpb": 1.7, "bpb_probe": 1.9})
    for key, losses in (("ours", (True, True)), ("theirs", (False, False))):
        frame = store.of_plans([replace(run, evaluation_key=key)], tmp_path)
        curve = store.curves(None, tmp_path, frame).iloc[0]
        assert curve["loss"] == 3.0
        known = curve.reindex(["val_bpb", "bpb_probe"])
        assert tuple(known.isna()) == losses
