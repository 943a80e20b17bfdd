"""Every test gets its own results folder; caches are shared within one test session's worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine takes as long as it takes; a slow example is no wrong one.
settings.register_profile("sweepkit", deadline=None)
settings.load_profile("sweepkit")


@pytest.fixture(autouse=True)
def own_results_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point sweepkit at a fresh results folder."""
    folder = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(folder))
    return folder
