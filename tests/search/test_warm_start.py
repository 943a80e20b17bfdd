"""Searches that start from earlier ones, of the same space or of a changed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_fakes import BASE, BETA, LR, FormulaSession, freeze, loss_of, ran

import sweepkit.results
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.launch.sweep_status import status
from sweepkit.search import drive, study
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

WIDE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.7, "high": 0.99}}


def search(sweep: Frozen, session: Any = None) -> None:
    drive.search(
        sweep, LauncherConfig(), results_dir=sweep.sweep_dir.parent, prepare=lambda config: None,
        session_factory=lambda: session or FormulaSession(),
    )  # fmt: skip


def told(sweep: Frozen) -> list[dict[str, Any]]:
    return [item.params for item in study.load(sweep.sweep_dir).get_trials() if item.state.name == "COMPLETE"]


@pytest.fixture
def first(tmp_path: Path) -> Frozen:
    sweep = freeze(tmp_path, "first", space=WIDE, n_trials=10, sampler="random", enqueue=[[f"{LR}=0.03"]])
    search(sweep, FormulaSession(diverges=lambda plan: plan.config.optimizer.matrix.lr > 0.15))
    return sweep


def test_a_changed_space_is_told_what_fits_and_says_what_does_not(first: Frozen, tmp_path: Path) -> None:
    pattern = first.cells[0].plan.config.model.window_pattern
    space: dict[str, Any] = {
        LR: {"low": 0.01, "high": 0.5, "log": True}, BETA: WIDE[BETA],
        "model.window_pattern": [pattern, "SL"],
    }  # fmt: skip
    sweep = freeze(tmp_path, space=space, n_trials=3, sampler="random", warm_start=["first"], seed=7)
    before = len(ran(tmp_path))
    search(sweep)
    every = trials.load(first.sweep_dir)
    fit = [trial.params | {"model.window_pattern": pattern} for trial in every if trial.params[LR] >= 0.01]
    lines = trials.load(sweep.sweep_dir)
    own = [line for line in lines if not line.warm]
    assert [line.params for line in lines if line.warm] == fit[1:], "the reference is one of its own trials"
    assert len(own) == 3 == len(ran(tmp_path)) - before + 1, "as many as were asked for, beside what was told"
    assert told(sweep)[: len(fit) - 1] == fit[1:]
    narrow = f"{len(every) - len(fit)} dropped ({LR} is outside {{low: 0.01, high: 0.5, log: true}})"
    (note,) = status(tmp_path, "s")[0].notes
    assert f"3 of 3 trials proposed; warm start from first: {len(fit) - 1} trials told" in note
    assert narrow in note and "1 dropped (another trial is the same point here)" in note
    frame = sweepkit.results.trials("s", tmp_path)
    assert (frame["origin"] == "first").sum() == len(fit) - 1
    search(sweep)
    assert len(trials.load(sweep.sweep_dir)) == len(lines)


def test_of_another_base_only_the_best_points_are_tried_first(first: Frozen, tmp_path: Path) -> None:
    """Their losses are those of other runs, and are told to nobody."""
    block: dict[str, Any] = {"space": {LR: WIDE[LR]}, "n_trials": 6, "sampler": "random"}
    block |= {"warm_start": ["first"], "warm_points": 2}
    base = [*BASE, "optimizer.x0.lr=0.25"]
    content = {"name": "s", "base": base, "seeds": [1, 2], "search": block}
    sweep = frozen.freeze(SweepFile.from_json(content), tmp_path, reuse_runs=True)
    search(sweep)
    every = [trial for trial in trials.load(first.sweep_dir) if trial.params[LR] <= 0.15]
    ranked = sorted(every, key=lambda trial: loss_of(trial.cells[0].plan))
    rates = [trial.params[LR] for trial in ranked if trial.params[LR] != 0.02]
    lines = trials.load(sweep.sweep_dir)
    assert [line.params[LR] for line in lines[:3]] == [0.02, *rates[:2]]
    assert len(lines) == 6 and not any(line.is_earlier for line in lines)
    (note,) = status(tmp_path, "s")[0].notes
    assert "warm start from first: 0 trials told; 2 points tried first, whose runs there are other" in note


@pytest.mark.parametrize(("name", "why"), [("s", "be another search"), ("nothing", "be a search that was")])
def test_what_is_no_earlier_search_is_refused(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"search.warm_start is '{name}', but must {why}"):
        freeze(tmp_path, warm_start=[name])
    assert not (tmp_path / "s").exists()
