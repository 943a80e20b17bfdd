"""What a tree is asked before anything starts: that it imports, and that its plans and records are ours."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit import fsio
from sweepkit.code import planner, tree
from sweepkit.errors import SweepkitError
from sweepkit.launch import probe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """This package as a tree, which imports no torch when it is asked."""
    tree.copy_here(tmp_path / "work")
    (tmp_path / "work/src").rename(tmp_path / "tree")
    (tmp_path / "work/conf").rename(tmp_path / "tree/conf")
    asked = tmp_path / "tree/sweepkit/launch/probe.py"
    asked.write_text(asked.read_text().replace('"sweepkit.training.session", ', ""))
    return tmp_path / "tree"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_tree_like_this_one_is_taken_and_asked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsio.write_json(folder / tree.NOTE, {"text": "an idea"})
    probe.check("an idea", folder, folder)
    assert probe.sources_of(folder) and tree.note(folder)["cache"] is None
    monkeypatch.setattr(probe, "_ask", lambda text, folder: pytest.fail("asked again"))
    probe.check("an idea", folder, folder)


def test_a_field_of_its_own_is_named(folder: Path) -> None:
    edit(
        folder / "sweepkit/config/schema.py",
        "    code: Optional[str] = fact(",
        '    idea: bool = fact(False, "new")\n    code: Optional[str] = fact(',
    )
    with pytest.raises(SweepkitError, match=r"code an idea has another plan schema \(has idea\)"):
        probe.check("an idea", folder, folder)


def test_one_that_does_not_import_names_the_place(folder: Path) -> None:
    edit(
        folder / "sweepkit/launch/job.py",
        "import threading\n",
        "import threading\nimport nothing_of_the_kind\n",
    )
    with pytest.raises(
        SweepkitError, match=r"code an idea does not import \(ModuleNotFoundError.*launch/job\.py"
    ):
        probe.check("an idea", folder, folder)


def test_what_it_prints_while_it_is_imported_is_no_answer(folder: Path) -> None:
    said = "import os; print('{\"a\": 1}'); os.write(1, bytes(range(128, 256))); print('no end', end='')\n"
    path = folder / "sweepkit/plan/build.py"
    path.write_text(path.read_text() + said)
    asked = planner._Asked(folder)
    try:
        assert asked.compose(["experiment=mini", "model=d2"]).model.depth == 2
        with pytest.raises(SweepkitError, match=r"nothing"):
            asked.compose(["experiment=nothing"])
    finally:
        asked._end()


def test_rows_that_are_made_in_another_way_are_no_pairs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    fsio.write_json(folder / tree.NOTE, {"cache": "ab12"})
    plan = replace(make_plan("a"), pair_key="0123456789ab")
    found = planner._of_tree(plan, folder)
    assert found.tree == folder.name and found.pair_key != plan.pair_key
    assert re.fullmatch(r"[0-9a-f]{12}", found.pair_key)
    own = tree.worker_environment(folder)["SWEEPKIT_CACHE_DIR"]
    assert own == str(tmp_path / "cache/code/ab12")
    assert (Path(own) / "data/downloads").readlink() == tmp_path / "cache/data/downloads"
