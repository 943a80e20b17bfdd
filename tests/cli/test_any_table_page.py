"""docs/any_table.md as written: its commands, in the order of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sweepkit.cli.main import main

ROOT = Path(__file__).parents[2]
#: A verdict that is inconclusive ends so.
_INCONCLUSIVE = 3


@pytest.mark.slow
def test_the_page_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    (sweepkit .*)$", (ROOT / "docs" / "any_table.md").read_text(), re.MULTILINE)
    said = {}
    for line in lines:
        status = main(shlex.split(line)[1:])
        said[line] = " ".join(capsys.readouterr().out.split())
        assert status in ((0, _INCONCLUSIVE) if " verdict " in line else (0,)), line
    assert len(lines) == 15
    bar = next(text for line, text in said.items() if line.endswith("--variant 20260430_muonh"))
    assert bar.endswith("shown to be below 3.28: 20260430_muonh")
    ledger = next(text for line, text in said.items() if "--noise" in line)
    assert "124 tried, one run each; 22 kept" in ledger
    page = (tmp_path / "results" / "layerdropout" / "report.html").read_text()
    assert "after the fact" in page and "modded_layerdropout.csv" in page and "weighted_r6" in page
