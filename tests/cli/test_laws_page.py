"""docs/laws.md as written: its commands, and the figures that it quotes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sweepkit.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_runs_as_written_and_quotes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tests", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    (sweepkit .*)$", (ROOT / "docs" / "laws.md").read_text(), re.MULTILINE)
    said = []
    for line in lines:
        if "RUNS" in line:  # the reader's own table
            continue
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
        said.append(" ".join(capsys.readouterr().out.split()))
    assert len(said) == len(lines) - 1 == 7
    valley, decay, plan, surface, kaplan, ladder, _ = said
    assert "200 → 100 loses 2.08" in valley
    assert "exponent -2.701 to -0.996" in decay and "p = 0.52" in decay
    assert "isoflop=8e11-d" in plan
    assert "objective 1.0183e-03" in surface and "1.891 0.3493 0.4530" in surface
    for row in (
        r"E 1\.817 \S+ to \S+ 0\.0239",
        r"α 0\.3473 \S+ to \S+ 0\.0146",
        r"β 0\.3672 \S+ to \S+ 0\.0209",
    ):
        assert re.search(row, surface), row
    assert "exponent 0.420 to 0.628" in kaplan
    assert "100% inside" in ladder
