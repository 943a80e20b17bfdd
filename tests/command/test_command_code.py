"""A level of somebody else's program that is code: a branch, a patch or a folder, frozen once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepkit.cli.main import main
from sweepkit.errors import ConfigError
from sweepkit.plan import command_files
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results import store
from sweepkit.sweep import expand, file

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
    found = {cell.variant: cell.plan for cell in expand.expand_all(file.load(name))}
    return {name: plan for name, plan in found.items() if isinstance(plan, CommandPlan)}


def test_a_branch_a_patch_and_a_folder_of_one_change_are_one_program(
    repository: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    branch = plans(repository())
    assert branch["reference"].program.folder == str(Path.cwd())
    half = Path(branch["idea=half"].program.folder)
    assert f"{RATE} / 2" in (half / "trainer.py").read_text()
    assert (half / "data" / "a.txt").read_text() == "a" and (half / "data").is_symlink()
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
        ("nothing", "be a git ref of .*, a patch or a folder"),
        ("main", "change a file of"),
        ("broken.patch", "apply to the program that is here"),
    ],
)
def test_code_that_cannot_be_had_is_refused(repository: Write, code: str, words: str) -> None:
    patch = Path("half.patch").read_text().replace("weights - given.lr", "weights - other.lr")
    Path("broken.patch").write_text(patch)
    with pytest.raises(ConfigError, match=words):
        plans(repository(axes={"idea": {"it": {"code": code}}}))


def test_levels_run_their_own_program_and_are_looked_up_once(
    repository: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = repository()
    assert main(["sweep", name, "launcher=inline"]) == 0
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
