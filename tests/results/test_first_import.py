"""A table as it comes, by somebody who has not read which columns and names there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweepkit.cli.main import main
from sweepkit.errors import ConfigError
from sweepkit.sweep import file

TABLE = "Name,opt,seed,loss\nx,adam,1,3.251\ny,adam,2,3.262\nz,muon,1,3.151\nw,muon,2,3.162\n"


@pytest.mark.parametrize(("name", "folder"), [("runs", "imported_runs"), ("my runs (1)", "my_runs_1")])
def test_a_file_of_any_name_gets_a_folder_of_a_legal_one(
    name: str, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text(TABLE)
    assert main(["import", str(path)]) == 0
    assert f"/{folder}\n" in capsys.readouterr().out
    assert main(["results", folder]) == 0  # the columns that it has, for none is ours
    out = capsys.readouterr().out
    assert "adam" in out and "3.251" in out and "Name" in out
    assert main(["verdict", "--runs", folder]) == 2
    assert "import it again with --variant COLUMN" in capsys.readouterr().err


def test_no_verdict_on_an_import_asks_for_a_sweep_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    words = ["--variant=opt", "--metric=loss=lower", "--reference=adam", "--seeds=shared"]
    assert main(["import", str(path), *words]) == 0
    assert main(["verdict", "--runs", "t", "decision.min_effect=0.01"]) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "runs of more seeds do" in out
    assert "--amend-to" not in out and "calibrate" not in out


def test_a_sweep_without_a_file_is_gone_on_with_by_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "frozen.json").write_text("{}")
    with pytest.raises(ConfigError, match="sweepkit resume scan goes on"):
        file.find("scan")


@pytest.mark.parametrize("state", ["running", "preempted"])
def test_runs_that_have_not_ended_are_left_out_and_counted(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row that was running kept a whole import from any verdict, and nothing said how to leave it out."""
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    rows = [f"{name},{seed},{3 + seed / 100 - (name == 'b') / 10}" for name in "abc" for seed in range(1, 7)]
    for seeds in ("shared", "independent"):
        said = {}
        for word in (state, "crashed"):
            lines = [f"{row},{word if row.startswith('b,2') else 'finished'}" for row in rows]
            path = tmp_path / f"{word}_{seeds}.csv"
            path.write_text("\n".join(["variant,seed,loss,state", *lines]) + "\n")
            words = ["--metric=loss=lower", "--reference=a", f"--seeds={seeds}", "decision.min_effect=0.01"]
            assert main(["import", str(path), *words]) == 0
            capsys.readouterr()
            main(["verdict", "--runs", path.stem, "--format", "json"])
            said[word] = json.loads(capsys.readouterr().out)
        notes = {word: found.pop("notes") for word, found in said.items()}
        (note,) = [each for each in notes[state] if each not in notes["crashed"]]
        assert note.startswith("1 run that had not ended when the table was imported left out")
        assert said[state] == said["crashed"]
        asked = [
            "--reference=a",
            "decision.metric=loss",
            "decision.direction=lower",
            "decision.min_effect=0.1",
        ]
        assert main(["verdict", "--runs", f"{tmp_path}/{state}_{seeds}.csv", *asked]) == 2
        assert "import --where" in capsys.readouterr().err


def test_where_imports_lie_an_unknown_name_is_told_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    for name in ("first", "second"):
        (tmp_path / f"{name}.csv").write_text(TABLE)
        assert main(["import", str(tmp_path / f"{name}.csv")]) == 0
    for words in (["report", "zzz"], ["results", "zzz"], ["fit", "zzz", "--axis", "lr"], ["report", "all"]):
        assert main(words) == 2
        assert "known: first, second" in capsys.readouterr().err
