"""The command line as a user runs it: a subprocess, its own results folder, the cache of all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweepkit.cli.main import main


@pytest.fixture
def environment(shared_cache: Path, tmp_path: Path) -> dict[str, str]:
    """An empty home, one thread a process, and no way to find the developer's settings."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "SWEEPKIT_CACHE_DIR": str(shared_cache),
        "SWEEPKIT_RESULTS_DIR": str(tmp_path / "results"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def sweepkit(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``sweepkit ARGS`` in an otherwise empty folder and return what it printed."""

    def run(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sweepkit", *args],
            cwd=tmp_path,
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture
def here(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same in this process, which need not import torch each time: where commands are what is tested."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        status = main(list(args))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(args, status, said.out, said.err)

    return run
