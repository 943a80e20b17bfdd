"""A table as it comes, by somebody who has not read which columns and names there are."""

from __future__ import annotations

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
