"""docs/search.md: its commands and its Python, on a search that has ended; what trains is let go before."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_fakes import BASE, BETA, LR, FormulaSession

from sweepkit.cli import main, running, searching, simulating
from sweepkit.config.schema import LauncherConfig
from sweepkit.search import drive, study
from sweepkit.sweep import file, frozen

PAGE = Path(__file__).parents[2] / "docs" / "search.md"


class ReachedError(Exception):
    """A command has come to where it would train."""


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with sweeps/lr_search.yaml, two objectives and a ladder, and its search."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPKIT_RESULTS_DIR", raising=False)
    space = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: [0.8, 0.9]}
    search = {"space": space, "n_trials": 8, "sampler": "random", "second_objective": "train_time_s"}
    (tmp_path / "sweeps").mkdir()
    content = {"base": BASE[2:], "ladder": "mini", "seeds": [1, 2], "search": search}
    (tmp_path / "sweeps" / "lr_search.yaml").write_text(json.dumps(content))
    sweep = frozen.freeze(file.load("lr_search"), tmp_path / "results")
    drive.search(
        sweep, LauncherConfig(), results_dir=tmp_path / "results", session_factory=FormulaSession,
        prepare=lambda config: None,
    )  # fmt: skip
    return tmp_path


@pytest.mark.slow
def test_the_page_runs_as_written(
    ended: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reached(*_: Any, **__: Any) -> None:
        raise ReachedError

    monkeypatch.setattr(searching, "carry_out", reached)
    monkeypatch.setattr(running, "run_plans", reached)
    monkeypatch.setattr(simulating, "NUM_WORLDS", 5)
    lines = re.findall(r"^    (sweepkit .*)$", PAGE.read_text(), re.MULTILINE)
    ran = 0
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        into = words[words.index(">") + 1] if ">" in words else None
        capsys.readouterr()
        try:
            status = main.main(words[: words.index(">")] if into else words)
        except ReachedError:
            status = 0
        said = capsys.readouterr()
        assert status == 0, (line, said.err)
        if into:
            (ended / into).parent.mkdir(parents=True)
            (ended / into).write_text(said.out)
        ran += 1
    assert ran == len(lines) >= 13

    (python,) = re.findall(r"    from optuna.storages import.*?\n\n", PAGE.read_text(), re.DOTALL)
    exec(re.sub("^    ", "", python, flags=re.MULTILINE), {"optuna": optuna})
    waiting = study.load(ended / "results" / "lr_search").get_trials()[-1]
    assert waiting.state.name == "WAITING" and waiting.system_attrs["fixed_params"] == {LR: 0.03}
