"""``sweepkit forecasts`` and the report's section, of runs on disk and of a published copy."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
from promotion_worlds import EFFECTS, RULE, World, climb, freeze

from sweepkit import fsio
from sweepkit.cli.main import main
from sweepkit.report import forecast_record, sections
from sweepkit.report.content import gather
from sweepkit.sweep.decision import STEPS_ALONE


@pytest.fixture
def sweep_dir(own_results_dir: Path) -> Path:
    rule = dataclasses.replace(RULE, axes=STEPS_ALONE)
    frozen = freeze(own_results_dir, ["holds", "nothing"], (2, 4), seeds=3, rule=rule, name="rounds-mine")
    climb(World(frozen, EFFECTS, on_disk=True))
    return frozen.sweep_dir


def test_forecasts_are_shown_and_scored_once(
    sweep_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sweep_dir, tmp_path / "results" / "published" / sweep_dir.name)  # is not counted twice
    assert main(["forecasts", "rounds"]) == 0
    shown = capsys.readouterr().out
    assert "reference's loss" in shown
    assert "Score over 1 sweep so far" in shown
    table, problems = forecast_record.compared(sweep_dir)
    assert not problems
    assert main(["forecasts", "--format", "csv"]) == 0
    (tmp_path / "table.csv").write_text(capsys.readouterr().out)
    read = pd.read_csv(tmp_path / "table.csv")
    assert read["measured"].tolist() == pytest.approx(table["measured"].tolist())
    assert set(read["kind"]) == {"loss", "effect"}
    shutil.copytree(sweep_dir, sweep_dir.with_name("torn"))
    (sweep_dir.with_name("torn") / "plan.jsonl").unlink()
    (sweep_dir.with_name("torn") / "forecast-2.json").write_text("{}")
    assert main(["forecasts"]) == 0
    told = capsys.readouterr()
    assert "Score over 1 sweep so far" in told.out
    assert "torn" in told.err
    blocks = sections.forecasts(gather(sweep_dir.name))
    assert [block.kind for block in blocks] == ["soft", "table", "title", "table"]
    assert blocks[-1].value.rows == forecast_record.score_sheet(table).rows


def test_a_folder_that_lies_elsewhere_is_scored_as_it_is_listed(
    sweep_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hits and misses were listed above "no rung that was forecast has run yet"."""
    place = tmp_path / "away" / "published" / "rounds"
    place.mkdir(parents=True)
    sweep_dir = Path(shutil.move(sweep_dir, place / sweep_dir.name))
    monkeypatch.chdir(tmp_path)
    for asked in (sweep_dir, place):  # a sweep, and a campaign's folder
        assert main(["forecasts", str(asked)]) == 0
        assert "Score over 1 sweep so far" in capsys.readouterr().out
    path = sweep_dir / "forecast-2.json"
    told = fsio.read_json(path)
    fsio.write_json(path, fsio.finite(told | {"after_the_fact": True}))
    assert main(["forecasts", str(sweep_dir)]) == 0
    shown = capsys.readouterr().out
    assert "nothing that was forecast counts (" in shown and " after the fact), so there is no score" in shown


def test_what_has_no_forecasts_is_said(
    own_results_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(own_results_dir.parent)  # away from what is published, which is scored too
    freeze(own_results_dir, ["holds"], (2, 4), seeds=2, name="young")
    assert main(["forecasts"]) == 0
    assert "there is no score" in capsys.readouterr().out
    assert main(["forecasts", "young"]) == 2
    assert "young has no forecasts: d4 is not reached yet; sweepkit promote young" in capsys.readouterr().err
    climb(World(freeze(own_results_dir, ["worse"], (2, 4), seeds=5, name="ended"), {"worse": 0.5}))
    assert main(["forecasts", "ended"]) == 2
    assert "ended has no forecasts: no variant climbed to d4" in capsys.readouterr().err
    freeze(own_results_dir, ["holds"], (2,), seeds=2, name="flat")
    assert main(["forecasts", "flat"]) == 2
    assert "flat has no forecasts: it has one rung" in capsys.readouterr().err
    assert main(["forecasts", "unknown"]) == 2
    assert "SWEEP is 'unknown', but must be a sweep or a campaign that has" in capsys.readouterr().err
