"""More trials on the same study: an amendment beside the frozen plan, which stays as it was."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import optuna
import pytest
from search_fakes import BASE, BETA, LR, FormulaSession, freeze, ran

from sweepkit.cli import main
from sweepkit.config import typed
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.launch.sweep_status import status
from sweepkit.search import drive, raising, study
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.frozen import Frozen

NUM = "optimizer.matrix.num_iterations"


def search(sweep: Frozen) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, session_factory=FormulaSession,
        prepare=lambda config: None,
    )  # fmt: skip


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def test_more_trials_go_on_as_one_longer_search_would_have(results: Path, tmp_path: Path) -> None:
    search(freeze(results, n_trials=6))
    before = {path.name: path.read_bytes() for path in (results / "s").iterdir()}
    item = raising.raise_to(13, "s", results)
    assert item is not None and (item.number, item.before, item.n_trials) == (1, 6, 13)
    for name in ("frozen.json", "plan.jsonl", "trials.jsonl"):
        assert (results / "s" / name).read_bytes() == before[name]
    more = frozen.load_frozen(results, "s")
    assert more.search is not None and more.search.n_trials == 13
    search(more)
    whole = freeze(tmp_path / "whole", n_trials=13)
    search(whole)
    params = [[trial.params for trial in trials.load(one.sweep_dir)] for one in (more, whole)]
    assert params[0] == params[1]
    assert len(study.load(more.sweep_dir).get_trials()) == 13
    (note, raised) = status(results, "s")[0].notes
    assert "13 of 13 trials proposed" in note
    assert raised == "n_trials was raised from 6 to 13 by amendment 1"


def test_the_file_may_say_what_was_frozen_or_what_was_amended(results: Path) -> None:
    sweep = freeze(results, n_trials=3)
    search(sweep)
    with pytest.raises(FrozenPlanError, match="add --amend-to 5, which records it"):
        freeze(results, n_trials=5)
    raising.raise_to(5, "s", results)
    for n_trials in (3, 5):
        again = freeze(results, n_trials=n_trials)
        assert again.search is not None and again.search.n_trials == 5
        assert (again.sha256, again.identity) == (sweep.sha256, sweep.identity)
    with pytest.raises(FrozenPlanError, match="is changed"):
        freeze(results, n_trials=2)


def test_an_end_holds_until_an_amendment(results: Path) -> None:
    """Every point was tried, and another one is found by nobody: the search ends again, and says so."""
    sweep = freeze(results, space={LR: [0.01, 0.02]}, n_trials=5)
    search(sweep)
    assert "it has ended" in status(results, "s")[0].notes[0]
    assert raising.raise_to(5, "s", results) is not None, "asked again for as many: it had ended before them"
    assert "it has ended" not in status(results, "s")[0].notes[0]
    search(frozen.load_frozen(results, "s"))
    assert "2 of 5 trials proposed; it has ended: every point" in status(results, "s")[0].notes[0]
    assert len(ran(results)) == 2


def test_what_cannot_be_raised_is_refused(results: Path) -> None:
    freeze(results, n_trials=4)
    assert raising.raise_to(4, "s", results) is None
    with pytest.raises(ConfigError, match="--amend-to is 3, but must be 4 or more"):
        raising.raise_to(3, "s", results)
    raising.raise_to(6, "s", results)
    path = results / "s" / "more-trials-1.json"
    path.write_text(path.read_text().replace("6", "7"))
    with pytest.raises(FrozenPlanError, match=r"more-trials-1\.json is missing, edited"):
        frozen.load_frozen(results, "s")
    path.unlink()
    raising.raise_to(6, "s", results)
    raising.raise_to(8, "s", results)
    path.unlink()
    with pytest.raises(FrozenPlanError, match=r"more-trials-1\.json is missing"):
        frozen.load_frozen(results, "s")


def test_on_the_command_line(results: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    sweep = freeze(results, n_trials=3)
    search(sweep)
    inner = drive.search
    monkeypatch.setattr(
        drive, "search",
        lambda *args, **given: inner(*args, **given | {"session_factory": FormulaSession,
                                                       "prepare": lambda config: None}),
    )  # fmt: skip
    assert main.main(["resume", "s", "--amend-to", "5"]) == 0
    said = capsys.readouterr().out
    assert "s: n_trials was raised from 3 to 5 by amendment 1; recorded in" in said
    assert "5 trials: 5 complete" in said
    (results.parent / "sweeps").mkdir()
    block = typed.dump(sweep.search) | {"n_trials": 7}
    (results.parent / "sweeps" / "s.yaml").write_text(json.dumps({"base": BASE, "search": block}))
    assert main.main(["sweep", "s"]) == 2
    assert "add --amend-to 7" in capsys.readouterr().err
    assert main.main(["sweep", "s", "--amend-to", "7", "--reuse-runs"]) == 0
    assert "7 trials: 7 complete" in capsys.readouterr().out
    assert main.main(["sweep", "s", "--amend-to", "7"]) == 0
    assert "7 trials were asked for already" in capsys.readouterr().out


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "grid"])
def test_points_that_are_enqueued_from_outside_come_first(sampler: str, results: Path) -> None:
    """By anybody who opens the journal with Optuna; a repeat or a point outside is none."""
    steps = {"low": 3, "high": 5}
    space = {LR: [0.01, 0.02, 0.03] if sampler == "grid" else {"low": 0.01, "high": 0.05}, NUM: steps}
    space |= {BETA: {"low": 0.7, "high": 0.9, "step": 0.1} if sampler == "grid" else [0.7, 0.8, 0.9]}
    search(freeze(results, space=space, n_trials=3, sampler=sampler))
    backend = optuna.storages.journal.JournalFileBackend(str(results / "s" / study.FILE))
    outside = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    tried = [line.params for line in trials.load(results / "s")]
    wanted = next(item for beta in (0.8, 0.9) if (item := {LR: 0.03, NUM: 5, BETA: beta}) not in tried)
    for point in (trials.load(results / "s")[0].params, wanted | {BETA: 0.5}, wanted, {NUM: 4}):
        outside.enqueue_trial(point)
    raising.raise_to(6, "s", results)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Optuna's, of the point outside
        search(frozen.load_frozen(results, "s"))
    lines = trials.load(results / "s")
    assert lines[3].params == wanted
    assert lines[4].params[NUM] == 4
    assert [line.counts for line in lines] == [True] * 6
    states = [item.state.name for item in outside.get_trials()]
    assert states.count("FAIL") >= 2 and states.count("COMPLETE") == 6 and "WAITING" not in states


def test_what_is_missing_is_asked_for_in_a_way_that_brings_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search that has had all its trials has nothing to resume."""
    sweep = freeze(results, n_trials=3)
    assert main.main(["results", "s", "--importances"]) == 2
    assert capsys.readouterr().err.endswith("run: sweepkit resume s\n")
    search(sweep)
    assert main.main(["results", "s", "--importances"]) == 2
    assert "(it has 3); run: sweepkit resume s --amend-to 5" in capsys.readouterr().err
