"""The best point of a search: what is printed trains the very run that the trial was."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
from search_fakes import BETA, LR, FormulaSession, freeze, loss_of

import sweepkit.results
from sweepkit.cli import main
from sweepkit.config.compose import compose
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import SweepkitError
from sweepkit.plan import build
from sweepkit.search import drive, study
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen

SPACE = {
    LR: {"low": 0.005, "high": 0.2, "log": True},
    BETA: {"low": 0.7, "high": 0.99},
    "optimizer": ["muon", "adamw"],
}


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frozen:
    """A finished search of two rates and a group, with two seeds."""
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    sweep = freeze(tmp_path / "results", space=SPACE, seeds=(3, 5), n_trials=9, sampler="random")
    drive.search(
        sweep, LauncherConfig(), results_dir=tmp_path / "results", session_factory=FormulaSession,
        prepare=lambda config: None,
    )  # fmt: skip
    return sweep


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.main(["results", "s", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_pasting_the_overrides_or_the_yaml_asks_for_the_same_run(
    searched: Frozen, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    every = trials.load(searched.sweep_dir)
    best = min(every, key=lambda trial: loss_of(trial.cells[0].plan))
    wanted = best.cells[0].plan
    heading, line = printed(capsys, "--best").splitlines()
    assert f"trial {best.number}: val_bpb" in heading and wanted.run_id in heading
    command = shlex.split(line)
    assert command[:2] == ["sweepkit", "train"]
    assert build.build(compose(command[2:])).run_id == wanted.run_id

    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "found.yaml").write_text(printed(capsys, "--best", "yaml"))
    assert build.build(compose(["experiment=found", "seed=3"])).run_id == wanted.run_id
    assert build.build(compose(["experiment=found", "seed=5"])).run_id == best.cells[1].plan.run_id
    rounded = [f"{LR}={best.params[LR]:.4g}" if item.startswith(f"{LR}=") else item for item in command[2:]]
    assert build.build(compose(rounded)).run_id != wanted.run_id, "what a label shows is another run"


def test_tables_from_python(searched: Frozen, capsys: pytest.CaptureFixture[str]) -> None:
    frame = sweepkit.results.trials("s")
    every = trials.load(searched.sweep_dir)
    assert list(frame["trial"]) == list(range(9))
    assert list(frame["state"]) == ["complete"] * 9
    assert list(frame["origin"]) == ["reference"] + ["proposed"] * 8
    assert list(frame["counts"]) == [True] * 9
    assert frame[LR].dtype == "Float64" and frame["optimizer"].dtype == "string"
    for row, trial in zip(frame.to_dict("records"), every, strict=True):
        assert {key: row[key] for key in SPACE} == trial.params
        assert row["val_bpb"] == pytest.approx(sum(loss_of(cell.plan) for cell in trial.cells) / 2)
        assert row["run_ids"].split() == [cell.plan.run_id for cell in trial.cells]
    shown = json.loads(printed(capsys, "--trials", "--format", "json"))
    assert [row["trial"] for row in shown] == list(range(9))
    important = sweepkit.results.importances("s")
    assert isinstance(important, pd.DataFrame) and set(important["parameter"]) == set(SPACE)
    best = study.load(searched.sweep_dir).best_params
    assert float(important.set_index("parameter").loc[LR, "best"]) == best[LR]
    with pytest.raises(SweepkitError, match="sweepkit promote s decides"):
        sweepkit.results.verdicts("s")


def test_what_has_no_best_point_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    freeze(tmp_path, n_trials=2)
    assert main.main(["results", "s", "--best"]) == 2
    assert "--best is 's', but must have a complete trial" in capsys.readouterr().err
    assert list(sweepkit.results.trials("s").columns)[:3] == ["trial", "state", "val_bpb"]
