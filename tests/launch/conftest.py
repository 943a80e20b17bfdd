"""Fakes of Slurm's commands, on PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from slurm_commands import Commands

from sweepkit.launch.slurm import cluster


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(cluster, "has_accounting", lambda: True)
    return Commands(folder)
