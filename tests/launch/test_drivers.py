"""The folders of launches: whatever the clocks say, none that is in use is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit.launch import claim_files, process
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.drivers import driver_dir
from sweepkit.launch.process import ProcessId

DAY_S = 86_400.0


def folder_of(results: Path, name: str, holder: ProcessId) -> Path:
    folder = results / ".workers" / name
    folder.mkdir(parents=True)
    info = ClaimInfo("t", holder, "d", 1, 0, "2026-01-01T00:00:00+00:00")
    (folder / "claim.json").write_text(claim_files.in_file(folder / "claim.json", info))
    return folder


@pytest.mark.parametrize("jump_days", [-400, -15, 0, 15, 400])
def test_a_clock_that_jumps_removes_no_folder_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_days: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    here = process.current()
    alive = folder_of(tmp_path, "alive", here)
    elsewhere = folder_of(tmp_path, "elsewhere", replace(here, host="another"))
    gone = folder_of(tmp_path, "gone", replace(here, pid=child.pid, started="0"))
    now = claim_files.now_there(tmp_path)
    monkeypatch.setattr(claim_files, "now_there", lambda folder: now + jump_days * DAY_S)
    with driver_dir(tmp_path, [make_plan("a")], 3) as mine:
        assert (mine.path / "claim.json").exists()
        assert (alive / "claim.json").exists() and (elsewhere / "claim.json").exists()
        assert gone.exists() == (jump_days < 15)
    os.utime(alive, (now - 500 * DAY_S, now - 500 * DAY_S))
    with driver_dir(tmp_path, [make_plan("a")], 3):
        assert alive.exists()
