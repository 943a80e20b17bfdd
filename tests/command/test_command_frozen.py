"""What was frozen of somebody else's program: looked up once, run as it was, judged again."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from command_example import example
from command_repository import RATE, Write, edit, freeze, git, losses, plans

from sweepkit.cli.main import main
from sweepkit.code import program, tree
from sweepkit.errors import ConfigError, DataError
from sweepkit.launch.slurm import submissions
from sweepkit.plan import command_files
from sweepkit.results import store


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_words_name_behind_a_link_is_to_be_read_only(
    repository: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before the first run, for the one after a run that wrote there is refused."""
    Path("data/cache").mkdir()
    Path("data/cache/b.bin").write_text("b")
    words = [
        *example()["command"],
        "--cache=data/cache",
        "--log=data/a.txt",
        "--whole=data",
        "--not=made.txt",
    ]
    name = repository(command=words, inputs=[])
    assert main(["plan", f"sweep={name}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "to be read only: data/a.txt, data/cache (its content names the runs; they write" in said
    program = plans(name)["reference"].program
    Path("data/cache/b.bin").write_text("c")
    with pytest.raises(DataError, match=r"data/cache has the digest .*What runs write belongs in {run_dir}"):
        command_files.check(program)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
