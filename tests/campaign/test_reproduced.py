"""A campaign that ran again, beside the committed one: what is the same, what differs, what is missing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from from_scripts import script
from sweepkit import fsio

ROOT = Path(__file__).parents[2]
SWEEP = "tune_mini"
COMMITTED = ROOT / "results" / "published"


@pytest.fixture(scope="module")
def reproduce() -> ModuleType:
    return script("reproduce")


@pytest.fixture
def again(tmp_path: Path) -> Path:
    """Another folder in which the same came out."""
    shutil.copytree(COMMITTED / SWEEP, tmp_path / SWEEP)
    return tmp_path


def status(reproduce: ModuleType, again: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    words = ["reproduce.py", "--into", str(again), "--committed", str(COMMITTED), "--compare-only"]
    monkeypatch.setattr(sys, "argv", words)
    return int(reproduce.main())


def test_the_same_is_the_same(
    reproduce: ModuleType, again: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(reproduce, again, monkeypatch) == 0
    assert "tune_mini: 23 of 23 verdicts the same; adopted nothing, as before" in capsys.readouterr().out


def test_another_verdict_is_named_and_another_adoption_fails(
    reproduce: ModuleType, again: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = again / SWEEP / "promotion.json"
    content = fsio.read_json(path)
    mine = next(item for item in content["finals"] if item["variant"] == "x0_lr=triple")
    mine["outcome"] = "inconclusive"
    fsio.write_json(path, content)
    assert status(reproduce, again, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "22 of 23 verdicts the same; adopted nothing" in out
    assert "x0_lr=triple: inconclusive on single, before rejected on single" in out
    mine["outcome"] = "adopted"
    fsio.write_json(path, content)
    assert status(reproduce, again, monkeypatch) == 1
    assert "adopted x0_lr=triple, before nothing" in capsys.readouterr().out


def test_what_has_not_run_again_is_said(
    reproduce: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(reproduce, tmp_path, monkeypatch) == 0
    assert "tune_mini: not decided again yet" in capsys.readouterr().out
