"""A level of somebody else's program that is code: a branch, a patch or a folder, and what names its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_example import example
from command_repository import RATE, Write, edit, git, plans

from sweepkit.cli.main import main
from sweepkit.code import tree
from sweepkit.config import paths
from sweepkit.errors import ConfigError, DataError
from sweepkit.launch import code_levels
from sweepkit.plan import command_files
from sweepkit.report import code_diffs, content
from sweepkit.results import store
from sweepkit.sweep import file


@pytest.mark.slow
def test_a_branch_a_patch_and_a_folder_of_one_change_are_one_program(
    repository: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    branch = plans(repository())
    assert Path(branch["reference"].program.folder).parent == tree.root(paths.results_dir())
    half = Path(branch["idea=half"].program.folder)
    assert f"{RATE} / 2" in (half / "trainer.py").read_text()
    assert (half / "data" / "a.txt").read_text() == "a" and not (half / "data").is_symlink()
    copy = tmp_path_factory.mktemp("copy")
    (copy / "trainer.py").write_text((half / "trainer.py").read_text())
    for code in ("half.patch", str(copy)):
        other = plans(repository(axes={"idea": {"half": {"code": code}}}))
        assert other["idea=half"].variant_id == branch["idea=half"].variant_id
    assert len({plan.variant_id for plan in branch.values()}) == 3
    assert len({plan.pair_key for plan in branch.values()}) == 1
    assert plans(repository(axes={"lr": [0.2]}))["reference"].run_id == branch["reference"].run_id


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("nothing", "be a git ref of .*, a patch, a folder or worktree"),
        ("main", "change a file of"),
        ("broken.patch", "apply to the program that is here"),
        ("above.patch", "No such file.*git diff --relative"),
        ("bare.patch", "without the prefixes a/ and b/"),
        ("worktree", "change a file of the program"),
        ("both", "is a path as well as a git ref; write ./both, or of the branch refs/heads/both"),
        ("nowhere..half", "start at a commit that is here"),
        ("link", "changes a symbolic link"),
        ("module", "changes a submodule"),
        ("moved_module", "changes a submodule"),
    ],
)
def test_code_that_cannot_be_had_is_refused(repository: Write, code: str, words: str) -> None:
    Path("both").mkdir()
    git("branch", "both", "half")
    git("checkout", "-b", "link")
    Path("other.py").symlink_to("trainer.py")
    git("add", "other.py")
    git("commit", "-m", "link")
    for name, commit in (("module", git("rev-parse", "main")), ("moved_module", git("rev-parse", "half"))):
        git("checkout", "main" if name == "module" else "module", "-b", name)
        git("update-index", "--add", "--cacheinfo", f"160000,{commit.strip()},lib")
        git("commit", "-m", name)
    git("checkout", "-f", "main")
    if code == "moved_module":
        git("merge", "module")
    patch = Path("half.patch").read_text().replace("weights - given.lr", "weights - other.lr")
    Path("broken.patch").write_text(patch)
    Path("above.patch").write_text(patch.replace("/trainer.py", "/lib/trainer.py"))
    Path("bare.patch").write_text(
        patch.replace("a/trainer.py", "trainer.py").replace("b/trainer.py", "trainer.py")
    )
    with pytest.raises(ConfigError, match=words):
        plans(repository(axes={"idea": {"it": {"code": code}}}))


@pytest.mark.slow
def test_what_a_level_changes_is_in_its_runs_names_also_where_nothing_names_it(repository: Write) -> None:
    """Configuration that a program reads unasked: two ideas of one program and two configurations are two."""
    Path("conf.yaml").write_text("rate: 1")
    Path("sweeps/own.yaml").write_text("question: What?")
    git("add", "-f", "conf.yaml", "sweeps/own.yaml")
    git("commit", "-m", "conf")
    for name, text in (("one", "rate: 2"), ("two", "rate: 3"), ("gone", None), ("listed", "rate: 1")):
        git("checkout", "-b", name, "main")
        edit(RATE, f"{RATE} / 2")
        Path("conf.yaml").write_text(text) if text else Path("conf.yaml").unlink()
        git("commit", "-am", name)
    git("checkout", "-b", "alone", "main")
    Path("conf.yaml").write_text("rate: 2")
    git("commit", "-am", "alone")
    git("checkout", "-b", "swept", "main")
    edit(RATE, f"{RATE} / 2")
    Path("sweeps/own.yaml").write_text("question: Which?")
    git("commit", "-am", "swept")
    git("checkout", "main")
    levels = {text: {"code": text} for text in ("one", "two", "gone", "listed", "alone")}
    found = plans(repository(axes={"idea": levels}))
    assert len({plan.variant_id for plan in found.values()}) == len(found) == 6
    assert len({plan.pair_key for plan in found.values()}) == 1
    for plan in found.values():
        command_files.check(plan.program)
    swept = plans(repository(axes={"idea": {"swept": {"code": "swept"}}}))["idea=swept"]
    assert swept.run_id == found["idea=listed"].run_id, "sweep files decide no number"
    Path(found["idea=two"].program.folder, "conf.yaml").write_text("rate: 9")
    with pytest.raises(DataError, match=r"conf\.yaml has the digest .* files were edited"):
        command_files.check(found["idea=two"].program)


@pytest.mark.slow
def test_uncommitted_changes_and_spans_of_commits_are_levels(repository: Write) -> None:
    git("checkout", "-b", "stacked", "half")
    edit("EVERY = 20", "EVERY = 10")
    git("commit", "-am", "stacked")
    git("checkout", "main")
    committed = plans(repository())
    edit(RATE, f"{RATE} / 2")
    Path("new.py").write_text("a = 1\n")
    levels = {"now": {"code": "worktree"}, "top": {"code": "half..stacked"}}
    name = repository(axes={"idea": levels})
    found = plans(name)
    assert found["reference"].variant_id == committed["reference"].variant_id
    folders = {variant: Path(plan.program.folder) for variant, plan in found.items()}
    assert (folders["idea=now"] / "trainer.py").read_text() == Path("trainer.py").read_text()
    assert (folders["idea=now"] / "new.py").exists() and not (folders["reference"] / "new.py").exists()
    assert (folders["reference"] / "data/a.txt").read_text() == "a"
    top = (folders["idea=top"] / "trainer.py").read_text()
    assert "EVERY = 10" in top and f"{RATE} / 2" not in top
    sweep = code_levels.resolved(file.load(name), paths.results_dir())
    assert sweep.trees is not None
    level = sweep.trees.code.level("half..stacked")
    assert level is not None and level.commit == git("rev-parse", "stacked").strip()
    assert level.base == git("rev-parse", "half").strip() and "stacked" in level.commits[0]


@pytest.mark.slow
def test_what_runs_leave_in_the_copy_changes_no_name(repository: Write) -> None:
    """A cache in a folder that words name, in an input, and a program that was written."""
    Path("cache").mkdir()
    Path("cache/.keep").write_text("")
    words = [*example()["command"], "--cache", "cache", "--made=made.txt"]
    usual = {"command": words, "inputs": ["data", "cache"]}
    before = plans(repository(**usual))
    for plan in before.values():
        for left in ("cache/a.bin", "data/b.bin", "made.txt", "written.py", "found.json"):
            Path(plan.program.folder, left).write_text(plan.run_id)
        command_files.check(plan.program)
    assert not command_files.unnamed([plan.program for plan in before.values()])
    again = plans(repository(**usual))
    assert again == before
    patch = plans(repository(**usual, axes={"idea": {"half": {"code": "half.patch"}}}))["idea=half"]
    assert patch.program.folder == before["idea=half"].program.folder
    Path(again["reference"].program.folder, "cache/.keep").write_text("x")
    with pytest.raises(DataError, match="cache has the digest"):
        command_files.check(again["reference"].program)


@pytest.mark.slow
def test_levels_run_their_own_program_and_are_looked_up_once(
    repository: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = repository()
    assert main(["sweep", name, "launcher=inline"]) == 0
    assert f"a frozen copy of {tmp_path}: edits there change no run" in capsys.readouterr().out
    table = store.load(name, tmp_path / "results").set_index("variant")
    assert table.loc["idea=words", "val_loss"] == table.loc["reference", "val_loss"]
    assert table.loc["idea=half", "val_loss"] > 1.05 * table.loc["reference", "val_loss"]
    before = {variant: plan.run_id for variant, plan in plans(name).items()}
    git("checkout", "half")
    edit(f"{RATE} / 2", f"{RATE} / 4")
    git("commit", "-am", "moved on")
    git("checkout", "main")
    assert {variant: plan.run_id for variant, plan in plans(name).items()} == before
    assert main(["sweep", name, "launcher=inline"]) == 0
    for plan in plans(name).values():
        command_files.check(plan.program)
    capsys.readouterr()
    assert main(["diff", name, "idea=half"]) == 0
    assert f"+        {RATE} / 2\n" in capsys.readouterr().out
    said = {
        level.text: str(patch)
        for _, level, patch in code_diffs.of(content.gather(name, tmp_path / "results"))
    }
    assert said.keys() == {"half", "words"} and 'class="added"' in said["half"] and "# steps" in said["words"]
