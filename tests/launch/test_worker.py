"""What a worker says to its driver when it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
    assert "runs/a cannot be used (File exists), but must be a place to read and write" in line


@pytest.mark.slow
def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise() -> None:
    """Asked of the OpenMP library that torch has loaded."""
    command = [sys.executable, "-c", "from sweepkit.launch import worker; worker.real_session()"]
    for own, expected in (
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ):
        plain = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
        environment = plain | {"OMP_DISPLAY_ENV": "VERBOSE"} | own
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        (found,) = re.findall(r"GOMP_SPINCOUNT = '(.*)'", done.stderr)
        assert found == expected or (expected is None and int(found) > 1_000_000)
