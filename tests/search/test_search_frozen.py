"""What a search freezes: nobody sets what is searched, and nobody edits what was proposed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from search_fakes import BASE, LR, FormulaSession, freeze

from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.search import drive
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.file import SweepFile


def test_a_searched_field_on_the_command_line_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    sweep = SweepFile.from_json({"name": "s", "base": BASE, "search": {"space": {LR: [0.01, 0.02]}}})
    with pytest.raises(ConfigError, match="leave what is searched alone"):
        frozen.freeze(sweep, results, [f"{LR}=0.3"])
    with pytest.raises(ConfigError, match=r"optimizer\.matrix\.lrr"):
        freeze(results, space={"optimizer.matrix.lrr": [0.1, 0.2]})


def test_a_proposal_edited_afterwards_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    sweep = freeze(results, n_trials=4)
    drive.search(
        sweep, LauncherConfig(), results_dir=results,
        prepare=lambda config: None, session_factory=FormulaSession,
    )  # fmt: skip
    path = sweep.sweep_dir / trials.FILE
    lines = path.read_text().splitlines(keepends=True)
    for edited in ([*lines[:2], *lines[3:]], [*lines[:3], lines[3].replace('"number":3', '"number":2')]):
        path.write_text("".join(edited))
        with pytest.raises(FrozenPlanError, match="was edited"):
            frozen.load_frozen(results, "s")
    for kept in range(4):  # the last ones are missed too, all of them as well
        path.write_text("".join(lines[:kept]))
        with pytest.raises(FrozenPlanError, match=rf"has {kept} of the 4 lines that were written"):
            frozen.load_frozen(results, "s")
    path.unlink()
    with pytest.raises(FrozenPlanError, match="has 0 of the 4 lines"):
        frozen.load_frozen(results, "s")
    path.write_text("".join(lines))  # and not for ever
    assert len(frozen.load_frozen(results, "s").cells) == 4


def test_proposals_of_another_search_are_refused(tmp_path: Path) -> None:
    """Whole, counted and of the same runs: two searches over one space."""
    for name in "ab":
        sweep = freeze(tmp_path, name, n_trials=2)
        trials.append(sweep.sweep_dir, trials.Trial(0, {LR: 0.1}))
        assert len(trials.load(sweep.sweep_dir)) == 1
    shutil.copy(tmp_path / "a" / trials.FILE, tmp_path / "b" / trials.FILE)
    with pytest.raises(FrozenPlanError, match=r"b/trials.jsonl was edited, is damaged or another search's"):
        trials.load(tmp_path / "b")
