"""The study is a copy of what trials and run folders say: in whatever state it is, it changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from search_fakes import BETA, LR, FormulaSession, freeze

from damages import damage
from sweepkit.config.schema import LauncherConfig
from sweepkit.search import drive, importances, study
from sweepkit.search.trials_table import table

SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.899, "high": 0.901}}


def search(results: Path, name: str, seed: int) -> Path:
    sweep = freeze(results, name, (seed,), space=SPACE, n_trials=6, sampler="random")
    drive.search(
        sweep, LauncherConfig(), results_dir=results, session_factory=FormulaSession, prepare=lambda c: None
    )
    return sweep.sweep_dir


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    for seed, name in enumerate(("s", "other")):
        search(results, name, seed)
    return results


@pytest.mark.parametrize(
    "how", ["cut", "byte", "no text", "empty", "wrong type", "deep", "gone", "another's"]
)
def test_a_study_in_any_state_is_made_again(kept: Path, tmp_path: Path, how: str) -> None:
    results = tmp_path / "results"
    shutil.copytree(kept, results)
    path = results / "s" / study.FILE
    if how == "another's":
        shutil.copy(results / "other" / study.FILE, path)
    else:
        damage(path, how)
    pd.testing.assert_frame_equal(importances.table(results, "s"), importances.table(kept, "s"))
    search(results, "s", 0)
    pd.testing.assert_frame_equal(table("s", results), table("s", kept))
    values = {tuple(trial.values) for trial in study.load(kept / "s").get_trials() if trial.values}
    told = {tuple(trial.values) for trial in study.load(results / "s").get_trials() if trial.values}
    assert told == values or (how == "byte" and told > values)  # what turned stays beside what is told anew
