"""What a worker says to its driver when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_fakes import FakeSession, make_plan

from sweepkit import exit_status
from sweepkit.launch import process, worker


def test_a_run_folder_that_is_not_ours_is_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").touch()  # for root, any folder would be its own
    listed = tmp_path / "list.jsonl"
    worker.write_list(listed, worker.Head("driver", process.current(), tmp_path, 3), [make_plan("a")])
    assert worker.main([str(listed)], FakeSession) == exit_status.CANNOT_WRITE
    (line,) = capsys.readouterr().err.splitlines()
    assert "runs/a/claim.json cannot be used (Not a directory), but must be a place to read and write" in line
