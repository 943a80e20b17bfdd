"""The checkout that levels are made of, in the place of this one's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from code_repository import PROJECT, Repository

from sweepkit.code import making, refs, tree
from sweepkit.code.making import Made, Making


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "checkout")

    def copy_here(folder: Path) -> None:
        tree.copy_package(made.folder / "src/sweepkit", folder / "src/sweepkit")
        tree.copy_package(made.folder / "conf", folder / "conf", is_package=False)

    monkeypatch.setattr(tree, "copy_here", copy_here)
    monkeypatch.setattr(refs, "checkout_of", lambda where, text: made.folder)
    monkeypatch.setattr(making.commits, "git_state", lambda: (made.git("rev-parse", "HEAD"), False))
    monkeypatch.setattr(refs, "own_dependencies", lambda: refs.dependencies(PROJECT.encode()))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def level(tmp_path: Path, repository: Repository) -> Callable[[str], Made]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return lambda text: Making(scratch, Making(scratch, None).here()).level("axes.idea.x", text)
