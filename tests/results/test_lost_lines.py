"""What runs were started with beside their frozen plan: a line that is lost is said in verdicts."""

from __future__ import annotations

import shutil
from pathlib import Path

import made_up_runs as made_up
import pytest

from damages import damage
from sweepkit.sweep import limits


@pytest.mark.parametrize("how", ["cut", "byte", "no text", "empty", "wrong type", "another's"])
def test_lines_of_limits_that_are_lost_are_said(tmp_path: Path, how: str) -> None:
    for number, name in enumerate("ab", 1):
        made_up.freeze(tmp_path, name, [made_up.cell(made_up.plan(seed=number))])
        assert limits.said(tmp_path / name, "d2") == []
        limits.note(tmp_path / name, "d2", {"launcher.max_attempts": [3, 2]})
        (said,) = limits.said(tmp_path / name, "d2")
        assert "launcher.max_attempts 2 instead of 3" in said
    path = tmp_path / "a" / limits.FILE
    if how == "another's":
        shutil.copy(tmp_path / "b" / limits.FILE, path)
    else:
        damage(path, how)
    (said,) = limits.said(path.parent, "d2")
    assert "limits.jsonl has 1 line that nobody wrote so" in said
