"""Limits other than a sweep was frozen with are said in the verdicts of what ran under them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_fakes import FakeLauncher

from sample import sample
from sweepkit.cli.main import main
from sweepkit.config import paths
from sweepkit.report import html
from sweepkit.sweep import limits

OTHER = {"launcher.max_attempts": 2, "launcher.slurm.mem_gib": 3, "launcher.slurm.time_min": 7}
SWEEP = """\
axes:
  rate: {tenth: [optimizer.matrix.lr=0.002], up: [optimizer.matrix.lr=0.04]}
seeds: [1, 2, 3]
decision: {alpha: 0.1, min_effect: 0.0, num_unselected: 0}
ladder: mini
"""


@pytest.fixture(autouse=True)
def a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    (folder / "sweeps").mkdir(parents=True)
    (folder / "sweeps" / "mine.yaml").write_text(SWEEP)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(html, "write", lambda name, results_dir: results_dir / name / "report.html")  # slow


def said_by_rung(results: Path) -> dict[str, set[str]]:
    """What the stored verdicts say of limits."""
    found: dict[str, set[str]] = {}
    for verdict in json.loads((results / "mine" / "verdicts.json").read_text())["verdicts"]:
        notes = [note for note in verdict["notes"] if "other limits than were frozen" in note]
        found.setdefault(verdict["rung"], set()).update(notes)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", [["promote", "mine"], ["resume", "mine", "--climb"]])
@pytest.mark.parametrize("field", sample(limits.fields(), 2))
def test_verdicts_say_which_limits_were_changed(
    launcher: FakeLauncher, field: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    results_dir = paths.results_dir()
    value = OTHER.get(field, 4)
    assert main(["sweep", "mine"]) == 0
    assert main(["sweep", "mine", f"{field}={value}"]) == 0
    assert not (results_dir / "mine" / limits.FILE).exists(), "nothing was started with them"
    capsys.readouterr()
    main([*command, f"{field}={value}"])
    out = capsys.readouterr().out
    found = said_by_rung(results_dir)
    assert found["d2"] == set()
    started = [rung for rung in found if rung != "d2"]
    assert started
    for rung in started:
        (sentence,) = found[rung]
        assert re.search(rf"{re.escape(field)} {value}(\.0)? instead of ", sentence)
        assert f"{rung}: {sentence}" in " ".join(out.split())
    main(["promote", "mine"])
    assert said_by_rung(results_dir) == found, "it stays said"


def test_limits_as_they_were_frozen_are_not_mentioned(launcher: FakeLauncher) -> None:
    main(["sweep", "mine", "launcher.max_attempts=2"])
    main(["sweep", "mine", "launcher.max_attempts=2", "launcher=local", "--retry-failed"])
    assert not (paths.results_dir() / "mine" / limits.FILE).exists()
