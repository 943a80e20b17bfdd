"""What a copy of the package says of its commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepkit import fsio
from sweepkit.config import commits


def test_of_equal_code_the_first_clean_commit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for state in ((None, None), ("a", True), ("b", False), ("c", True), ("d", False)):
        monkeypatch.setattr(commits, "git_state", lambda state=state: state)
        commits.write(tmp_path)
        told.append(fsio.read_json(tmp_path / "commit.json")["commit"])
    assert told == [None, None, "b", "b", "b"]
