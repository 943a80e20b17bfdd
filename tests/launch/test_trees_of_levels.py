"""What a tree is named by: two that would be carried out in other ways are two, whichever came first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sample import sample
from sweepkit.code import tree
from sweepkit.config import sources
from sweepkit.errors import SweepkitError
from sweepkit.launch import code_levels, probe
from sweepkit.sweep.file import SweepFile

MODEL = "model/mlp.py"
#: A file of every part that makes rows of text.
ROWS = [part if part.endswith(".py") else f"{part}/any.py" for part in sources.ROWS]


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of few files in the place of ours, and nobody who asks whether it imports."""
    for name in (MODEL, *(part if part.endswith(".py") else f"{part}/any.py" for part in sources.PARTS)):
        path = tmp_path / "here/sweepkit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("SIZE = 1\n")
    (tmp_path / "here/conf").mkdir()

    def copy_here(folder: Path) -> None:
        tree.copy_package(tmp_path / "here/sweepkit", folder / "src/sweepkit")
        tree.copy_package(tmp_path / "here/conf", folder / "conf", is_package=False)

    monkeypatch.setattr(tree, "copy_here", copy_here)
    monkeypatch.setattr(probe, "check", lambda text, folder: None)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))


def edited(tmp_path: Path, name: str) -> str:
    """The package in another folder, with a line more in one of its files."""
    shutil.copytree(tmp_path / "here", tmp_path / "idea")
    (tmp_path / "idea/sweepkit" / name).write_text("SIZE = 1\nIDEA = 1\n")
    return str(tmp_path / "idea")


def level(text: str, results: Path) -> str:
    """The tree of a level beside the code that runs here."""
    found = code_levels.resolved(SweepFile("ideas", axes={"idea": {"x": (f"code={text}",)}}), results)
    assert found.trees
    return found.trees.code.levels[0].tree


def alone(text: str, results: Path) -> str:
    """The tree of a run that names it, which is its own reference."""
    found = code_levels.single([f"code={text}"], results)
    assert found.trees
    return found.trees.code.reference.tree


@pytest.mark.parametrize("name", sample(ROWS, 2))
def test_rows_made_in_another_way_are_no_pairs_also_where_that_code_ran_alone_before(
    name: str, tmp_path: Path
) -> None:
    """It had been noted as like its reference, itself, and so were all runs of it from then on."""
    text = edited(tmp_path, name)
    first = alone(text, tmp_path)
    assert tree.note(tree.root(tmp_path) / first)["cache"]
    assert level(text, tmp_path) == first == alone(first, tmp_path)


def test_what_was_the_reference_once_is_another_tree_beside_a_reference_with_other_rows(
    tmp_path: Path,
) -> None:
    text, here = edited(tmp_path, ROWS[0]), tmp_path / "here"
    here.rename(tmp_path / "before")
    shutil.copytree(text, here)
    found = code_levels.resolved(
        SweepFile("ideas", axes={"idea": {"x": (f"code={tmp_path}/before",)}}), tmp_path
    )
    assert found.trees
    as_reference = found.trees.code.reference.tree
    shutil.rmtree(here)
    (tmp_path / "before").rename(here)
    assert level(text, tmp_path) != as_reference == alone(as_reference, tmp_path)


def test_other_changes_are_pairs(tmp_path: Path) -> None:
    name = level(edited(tmp_path, MODEL), tmp_path)
    assert tree.note(tree.root(tmp_path) / name)["cache"] is None


def test_an_interpreter_of_its_own_is_in_a_trees_name(tmp_path: Path) -> None:
    """The first to freeze its files said which one all others would run with."""
    text, trees = edited(tmp_path, MODEL), tree.root(tmp_path)
    plain = level(text, tmp_path)
    python = tmp_path / "idea/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    own = level(text, tmp_path)
    assert own != plain and tree.note(trees / plain)["python"] is None
    assert tree.find(trees, own) and tree.note(trees / own)["python"] == str(python)
    (trees / own / tree.NOTE).unlink()
    tree._check.cache_clear()
    with pytest.raises(SweepkitError, match="was edited"):
        tree.find(trees, own)
