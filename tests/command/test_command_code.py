"""A level of somebody else's program that is code: a branch, a patch or a folder, frozen once."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_example import example

from sweepkit.cli.main import main
from sweepkit.code import program, tree
from sweepkit.config import paths
from sweepkit.errors import ConfigError, DataError
from sweepkit.launch import code_levels
from sweepkit.launch.slurm import submissions
from sweepkit.plan import command_files
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.report import code_diffs, content
from sweepkit.results import store
from sweepkit.sweep import expand, file, frozen

Write = Callable[..., str]
RATE = "weights = weights - given.lr * speed"


def git(*arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout


def edit(old: str, new: str) -> None:
    path = Path("trainer.py")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def repository(write: Write, tmp_path: Path) -> Write:
    """With branches that halve the rate, and that change a comment; and data that git ignores."""
    write()
    Path(".gitignore").write_text("data/\nresults/\nsweeps/\n")
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    for name, old, new in (
        ("half", RATE, f"{RATE} / 2"),
        ("words", "EVERY = 20", "EVERY = 20  # steps"),
    ):
        git("checkout", "-b", name)
        edit(old, new)
        git("commit", "-am", name)
        git("checkout", "main")
    Path("half.patch").write_text(git("diff", "main", "half"))

    def of(**changes: Any) -> str:
        levels = {"half": {"code": "half"}, "words": {"code": "words"}}
        usual = {"axes": {"idea": levels}, "inputs": ["data"], "ladder": None, "seeds": [1]}
        return write(**(usual | {"params": {"depth": 1, "lr": 0.1, "steps": 5}} | changes))

    return of


def plans(name: str) -> dict[str, CommandPlan]:
    found = {
        cell.variant: cell.plan
        for cell in expand.expand_all(code_levels.resolved(file.load(name), paths.results_dir()))
    }
    return {name: plan for name, plan in found.items() if isinstance(plan, CommandPlan)}


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


def freeze(name: str) -> dict[str, CommandPlan]:
    results = paths.results_dir()
    sweep = code_levels.resolved(file.load(name), results)
    found = frozen.freeze(sweep, results, is_asked=lambda: False)
    return {cell.variant: cell.plan for cell in found.cells if isinstance(cell.plan, CommandPlan)}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("nothing", "be a git ref of .*, a patch, a folder or worktree"),
        ("main", "change a file of"),
        ("broken.patch", "apply to the program that is here"),
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
    with pytest.raises(ConfigError, match=words):
        plans(repository(axes={"idea": {"it": {"code": code}}}))


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


def losses(name: str) -> dict[str, float]:
    table = store.load(name, paths.results_dir())
    return {str(run): float(loss) for run, loss in zip(table["run_id"], table["val_loss"], strict=True)}


def test_what_was_asked_for_stands_before_anything_of_it_has_begun(
    repository: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that wait in Slurm's queue have no folder yet, and the branch may move or go."""
    name = repository()
    first = freeze(name)
    git("branch", "-f", "half", "words~1")
    git("checkout", "half")
    edit(RATE, f"{RATE} / 8")
    git("commit", "-am", "moved")
    git("checkout", "main")
    assert plans(name)["idea=half"].run_id != first["idea=half"].run_id, "nobody was asked: frozen anew"
    first = freeze(name)
    monkeypatch.setattr(submissions, "read_all", lambda _: [submissions.Submission("job", f"{name} d2", 10)])
    git("branch", "-D", "half")
    assert plans(name) == first


def test_what_is_edited_in_mid_sweep_changes_nothing(repository: Write, tmp_path: Path) -> None:
    name = repository(seeds=[1, 2])
    assert main(["sweep", name, "launcher=inline"]) == 0
    before = losses(name)
    for run_id in before:
        shutil.rmtree(tmp_path / "results" / "runs" / run_id)
    edit(RATE, "raise SystemExit('edited')")
    Path("data/a.txt").unlink()
    git("branch", "-D", "half", "words")
    assert main(["resume", name]) == 0
    assert losses(name) == before
    shutil.rmtree(next((tmp_path / "results" / "runs").iterdir()))
    assert main(["sweep", name, "launcher=inline"]) == 0  # planned again
    assert losses(name) == before


def test_results_that_were_moved_go_on_in_their_own_copy(
    repository: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = repository(seeds=[1, 2])
    assert main(["sweep", name, "launcher=inline"]) == 0
    before, moved = losses(name), tmp_path / "elsewhere"
    (tmp_path / "results").rename(moved)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(moved))
    edit(RATE, "raise SystemExit('edited')")
    for run_id in before:
        shutil.rmtree(moved / "runs" / run_id)
    assert main(["resume", name]) == 0
    assert losses(name) == before
    shutil.rmtree(moved / tree.TREES)
    assert main(["resume", name]) == 2
    assert "be a folder" in capsys.readouterr().err


def test_what_is_live_is_said_and_what_leaves_the_copy_is_refused(
    repository: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".gitignore").write_text("data/\nresults/\nsweeps/\nvocabulary.json\n")
    Path("vocabulary.json").write_text("{}")
    Path("conf").mkdir()
    for name in ("a.yml", "named.yml", "level.yml"):
        Path("conf", name).write_text("a: 1")
    elsewhere = tmp_path.parent / "corpus.txt"
    elsewhere.write_text("text")
    Path("order_1.txt").write_text("1")
    words = [*example()["command"], "--at=conf/{at}.yml", "--order=order_{seed}.txt"]
    params = example()["params"] | {"at": "named"}
    name = repository(inputs=[str(elsewhere)], command=words, params=params, axes={"at": ["level"]})
    assert main(["plan", f"sweep={name}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"live, not frozen: data, sweeps, vocabulary.json, {elsewhere}" in said
    assert "in no run's name: order_1.txt, conf/a.yml (under inputs" in said
    copy = Path(plans(name)["reference"].program.folder)
    assert (copy / "vocabulary.json").is_symlink() and not (copy / "results").exists()
    before = plans(name)["reference"].run_id
    elsewhere.write_text("edited")
    assert plans(name)["reference"].run_id != before
    for wrong in ({"inputs": ["../corpus.txt"]}, {"command": ["python", str(tmp_path / "trainer.py")]}):
        with pytest.raises(ConfigError, match="write "):
            plans(repository(**wrong))


def test_levels_are_judged_again_and_amended(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of a shell script, whose code alone says which is better."""
    (tmp_path / "run.sh").write_text('echo "{\\"val_loss\\": 1.0$2}" > "$1/result.json"\n')
    better = (tmp_path / "run.sh").read_text().replace("1.0$2", "0.5$((7 - $2))")
    (tmp_path / "better").mkdir()
    (tmp_path / "better" / "run.sh").write_text(better)
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "run.sh").write_text("# words\n" + (tmp_path / "run.sh").read_text())
    name = write(
        command=["sh", "run.sh", "{run_dir}", "{seed}"], seeds=[1, 2, 3, 4, 5],
        params=None, resume=None, ladder=None,
        axes={"idea": {"better": {"code": "better"}, "same": {"code": "same"}}},
    )  # fmt: skip
    assert main(["promote", name, "launcher=inline"]) == 0, capsys.readouterr()
    (tmp_path / "better" / "run.sh").unlink()
    (tmp_path / "run.sh").unlink()
    capsys.readouterr()
    assert main(["promote", name, "--replay", "decision.min_effect=0.9"]) == 0
    assert "1 of 2 decisions would have been different" in " ".join(capsys.readouterr().out.split())
    amend = ["--amend-to", "10", "--amend-variant", "idea=same"]
    assert main(["promote", name, *amend, "launcher=inline"]) == 0
    table = store.load(name, tmp_path / "results")
    added = table[table["rung"].str.contains("amendment")]
    assert len(added) == 10 and set(added["state"]) == {"complete"}
    assert set(added["variant"]) == {"reference", "idea=same"}


def test_a_promotion_decides_on_code_whose_program_tells_no_steps(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import sys\nseed = int(sys.argv[1])\nprint('loss:', 0.5 + seed % 7 / 1000)\n"
    Path("trainer.py").write_text(program)
    Path("better").mkdir()
    Path("better/trainer.py").write_text(program.replace("0.5", "0.4").replace("% 7", "% 3"))
    name = write(
        command=["python3", "trainer.py", "{seed}"],
        params=None,
        metric={"name": "loss", "regex": r"loss: (\S+)"},
        axes={"idea": {"better": {"code": "better"}}},
        ladder=None,
        resume=None,
        seeds=[1, 2, 3, 4, 5],
    )
    Path("results").mkdir()
    assert main(["promote", name, "launcher=inline"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the program as it is → better" in out and "adopted idea=better" in out
    assert "next: idea=better: take better into the program" in out
    table = store.load(name, tmp_path / "results")
    assert table["num_steps"].isna().all() and table["code"].notna().sum() == 5
    assert main(["results", name]) == 0
    assert "0.50300" in capsys.readouterr().out


def test_links_to_nothing_stay_links_and_what_cannot_be_kept_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor's lock is such a link, in the program's folder or in an input."""
    folder, trees = tmp_path / "own", tmp_path / "trees"
    (folder / "data").mkdir(parents=True)
    (folder / "data/a.txt").write_text("a")
    for name, target in (("gone.py", "nowhere"), ("round.py", "round.py"), ("data/lock", "nobody@there")):
        (folder / name).symlink_to(target)
    found = program.reference(folder, ["data"], trees)
    assert found.live == ("data/lock", "gone.py", "round.py")
    assert (trees / found.tree / "data/a.txt").read_text() == "a"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    (trees / found.tree / "cache.bin").write_text("of a run")
    assert program.reference(folder, ["data"], trees).tree == found.tree
    (trees / found.tree / "data/a.txt").write_text("what a run wrote over it")
    again = program.reference(folder, ["data"], trees).tree
    assert (trees / again / "data/a.txt").read_text() == "a"
    (trees / found.tree / "data/a.txt").write_text("a")
    monkeypatch.setattr(Path, "rename", full)
    assert program.reference(folder, ["data"], trees).tree == found.tree, "it is there"
    with pytest.raises(OSError, match="no space left"):
        program.reference(folder, ["data"], tmp_path / "others")


def test_whatever_words_name_or_links_lead_to_is_in_a_runs_name(
    repository: Write, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Edited in place it makes other runs of those that read it, and runs that are planned are refused."""
    beside = tmp_path_factory.mktemp("beside")
    for name in ("lib", "shards", "alone"):
        (beside / name).mkdir()
        (beside / name / f"{name}.py").write_text("a = 1")
    Path("conf/more").mkdir(parents=True)
    linked = {"lib": "lib", "shards": "data/part", "alone": "linked"}
    for name, place in linked.items():
        Path(place).symlink_to(beside / name)
        (beside / name / "round").symlink_to(beside / name)
    (beside / "weights.bin").write_bytes(b"1")
    for name in ("conf/a.yaml", "conf/b.yaml", "conf/more/c.txt", "train", "one.txt", "two.txt"):
        Path(name).write_text("1")
    words = [*example()["command"], "--config=conf/{conf}", "--from", str(beside / "weights.bin"), "-c"]
    words += ["./train {seed} conf/more;cat one.txt,two.txt", "linked", "x" * 300]
    params = {"depth": 1, "lr": 0.1, "steps": 5, "conf": "a.yaml"}
    name = repository(command=words, params=params, axes={"conf": ["b.yaml"]}, inputs=["data", "linked"])
    edited = {
        "conf/a.yaml": 1, "conf/b.yaml": 1, "conf/more/c.txt": 2, "train": 2, "one.txt": 2, "two.txt": 2,
        "lib/lib.py": 2, "data/part/shards.py": 2, "linked/alone.py": 2, f"{beside}/weights.bin": 2,
    }  # fmt: skip
    seen = {plan.variant_id for plan in plans(name).values()}
    assert len(seen) == 2
    for place, num_changed in edited.items():
        before = plans(name)
        Path(place).write_text("a = 2")
        after = plans(name)
        now = {plan.variant_id for plan in after.values()}
        assert len(now - seen) == num_changed, place
        seen |= now
        assert len({plan.pair_key for plan in after.values()}) == 1
        is_live = place.startswith(("linked", "/"))
        for plan in before.values():
            if is_live:
                with pytest.raises(DataError, match="were edited"):
                    command_files.check(plan.program)
            else:
                command_files.check(plan.program)
