"""A search whose reference is code: every trial is planned by the tree that was frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_fakes import BASE, LR

from comment_patch import COMMENT_ALONE
from sweepkit.code import tree
from sweepkit.launch import code_levels
from sweepkit.sweep import frozen, points
from sweepkit.sweep.file import SweepFile


def test_trials_are_planned_by_the_code_that_was_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(code_levels.probe, "check", lambda *given: None)  # it imports torch
    Path("words.patch").write_text(COMMENT_ALONE)
    search = {"space": {LR: {"low": 0.005, "high": 0.2, "log": True}}, "n_trials": 2}
    asked = SweepFile.from_json(
        {"name": "s", "base": [*BASE, "code=words.patch"], "seeds": [1], "search": search}
    )
    results = tmp_path / "results"
    frozen.freeze(code_levels.resolved(asked, results), results, reuse_runs=True)
    Path("words.patch").unlink()
    made = frozen.load_frozen(results, "s")
    assert made.code is not None and made.search is not None
    cells = points.cells(
        {LR: 0.01}, stacks=made.stacks, extra=(), fixed=made.fixed, labels={}, constraints=()
    )
    names = {cell.own.tree for cell in (*made.fixed, *cells)}
    assert names == {made.code.reference.tree}
    kept = tree.find(tree.root(results), made.code.reference.tree)
    assert "# words alone" in (kept / "sweepkit/model/mlp.py").read_text()
    assert [cell.own.config.optimizer.matrix.lr for cell in cells] == [0.01]
