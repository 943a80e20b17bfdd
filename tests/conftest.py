"""Every test gets its own results folder; caches are shared within one test session's worker."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_results_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point sweepkit at a fresh results folder."""
    folder = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(folder))
    return folder
