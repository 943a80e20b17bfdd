"""What ``code`` names, against small repositories: whose commits are applied, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from code_repository import MODEL, PROJECT, Repository

from sweepkit.code import refs, tree
from sweepkit.code.making import Made, Making
from sweepkit.errors import ConfigError, SweepkitError


def test_a_branch_is_its_commits_on_top_of_the_reference(
    repository: Repository, level: Callable[[str], Made]
) -> None:
    """Also where the reference has gone on, and has changes that are not committed."""
    repository.git("switch", "-q", "-c", "idea")
    repository.commit("the idea", MODEL, repository.changed(3, "idea"))
    repository.commit("its test", "tests/test_x.py", "")
    repository.git("switch", "-q", "main")
    repository.commit("further", MODEL, repository.changed(12, "main went on"))
    repository.write("conf/model.yaml", "depth: 2\n")
    made = level("idea")
    lines = (made.work / MODEL).read_text().splitlines()
    assert (lines[3], lines[12]) == ("idea", "main went on")
    assert (made.work / "conf/model.yaml").read_text() == "depth: 2\n"
    assert made.level.files == {MODEL: (1, 1)}
    assert made.level.left_out == ("tests/test_x.py",)
    assert [item.partition(" ")[2] for item in made.level.commits] == ["the idea", "its test"]


def test_what_does_not_apply_is_named(repository: Repository, level: Callable[[str], Made]) -> None:
    repository.git("switch", "-q", "-c", "idea")
    repository.commit("the idea", MODEL, repository.changed(3, "idea"))
    repository.git("switch", "-q", "main")
    repository.commit("the same line", MODEL, repository.changed(3, "main"))
    with pytest.raises(ConfigError, match=rf"axes\.idea\.x \(idea\).*{MODEL}.*rebase"):
        level("idea")


def test_commits_of_the_main_line_that_come_along_are_named(
    repository: Repository, level: Callable[[str], Made]
) -> None:
    start = repository.git("rev-parse", "HEAD")
    repository.commit("of main", MODEL, repository.changed(12, "main went on"))
    repository.git("switch", "-q", "-c", "idea")
    repository.commit("the idea", MODEL, repository.changed(3, "idea"))
    repository.git("switch", "-q", "--detach", start)
    with pytest.raises(ConfigError, match=r"brings along [0-9a-f]{9} of main, which.*BASE\.\.REF") as caught:
        level("idea")
    assert "the idea" not in str(caught.value)
    alone = level("main..idea")
    assert alone.level.files == {MODEL: (1, 1)}
    both = level(f"{start}..idea")
    assert both.level.files == {MODEL: (2, 2)}


def test_commits_that_a_merge_brings_along_are_named(
    repository: Repository, level: Callable[[str], Made]
) -> None:
    repository.git("switch", "-q", "-c", "other")
    repository.commit("of another", "conf/other.yaml", "")
    repository.git("switch", "-q", "-c", "idea", "main")
    repository.commit("the idea", MODEL, repository.changed(3, "idea"))
    repository.git("merge", "-q", "--no-edit", "other")
    repository.git("switch", "-q", "main")
    with pytest.raises(ConfigError, match="of another"):
        level("idea")


def test_other_dependencies_are_refused(repository: Repository, level: Callable[[str], Made]) -> None:
    repository.git("switch", "-q", "-c", "idea")
    repository.write("pyproject.toml", PROJECT.replace("torch>=2", "torch>=3"))
    repository.commit("the idea", MODEL, repository.changed(3, "idea"))
    repository.git("switch", "-q", "main")
    with pytest.raises(ConfigError, match=r"torch>=2, torch>=3 differ"):
        level("idea")


def test_a_folder_is_what_is_in_it(repository: Repository, level: Callable[[str], Made]) -> None:
    other = repository.folder.parent / "other"
    repository.git("worktree", "add", "-q", "-b", "other", str(other))
    (other / MODEL).write_text(repository.changed(5, "there"))
    made = level("other")
    assert made.level.files == {MODEL: (1, 1)}
    assert made.python is None
    (other / "pyproject.toml").write_text(PROJECT.replace("torch>=2", "torch>=3"))
    with pytest.raises(ConfigError, match="torch>=3"):
        level("other")
    (other / ".venv/bin").mkdir(parents=True)
    (other / ".venv/bin/python").touch()
    assert str(level("other").python).endswith("other/.venv/bin/python")
    (other / "src/sweepkit/link.py").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match=r"link\.py.*symbolic link"):
        level("other")


def test_uncommitted_changes_are_a_level_on_the_last_commit(
    repository: Repository, tmp_path: Path, level: Callable[[str], Made]
) -> None:
    repository.write(MODEL, repository.changed(7, "not yet"))
    base = Making(tmp_path / "scratch", None).last_commit()
    made = Making(tmp_path / "scratch", base).level("axes.idea.x", "worktree")
    assert made.level.files == {MODEL: (1, 1)}
    assert "not yet" not in (base.work / MODEL).read_text()


@pytest.mark.parametrize("text", ["--upload-pack=touch x", "-x", "idea; touch x", "$(touch x)", "nothing"])
def test_what_is_no_ref_is_refused_and_nothing_is_carried_out(
    text: str, repository: Repository, level: Callable[[str], Made]
) -> None:
    with pytest.raises(ConfigError, match="be a git ref, a patch, a folder"):
        level(text)
    assert not list(repository.folder.parent.rglob("x"))
    assert not (repository.folder / "x").exists()


def test_a_patch_that_is_missing_is_named(level: Callable[[str], Made]) -> None:
    with pytest.raises(ConfigError, match=r"missing\.patch.*exists"):
        level("missing.patch")


def test_a_package_without_a_checkout_has_no_refs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(refs.sweepkit, "__file__", str(tmp_path / "lib/site/sweepkit/__init__.py"))
    with pytest.raises(ConfigError, match="be a patch or a folder"):
        refs.checkout_of("axes.idea.x", "main")


def test_a_binary_file_in_a_folder_is_named(repository: Repository, level: Callable[[str], Made]) -> None:
    other = repository.folder.parent / "other"
    repository.git("worktree", "add", "-q", "-b", "other", str(other))
    (other / "src/sweepkit/table.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"src/sweepkit/table\.bin.*UTF-8"):
        level("other")


def test_a_tree_that_is_kept_may_be_named(repository: Repository, tmp_path: Path) -> None:
    trees, scratch = tmp_path / "trees", tmp_path / "scratch"
    scratch.mkdir()
    repository.write(MODEL, repository.changed(5, "then"))
    name = tree.keep(Making(scratch, None).here().work, trees, {}, {})
    repository.git("checkout", "-q", ".")
    made = Making(scratch, Making(scratch, None).here(), trees).level("axes.idea.x", name)
    assert made.level.files == {MODEL: (1, 1)}
    assert tree.keep(made.work, trees, {}, {}) == name
    with pytest.raises(SweepkitError, match="is missing"):
        Making(scratch, made, trees).level("axes.idea.x", "tree_0123456789abcdef")
