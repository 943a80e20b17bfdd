"""A folder with a trainer of somebody else's, and a sweep file of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from command_example import TRAINER, example


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a sweep file that differs from the example in some keys (None: left out); its path."""
    shutil.copy(TRAINER, tmp_path)
    (tmp_path / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def write(name: str = "rates", **changes: Any) -> str:
        content = {key: value for key, value in (example() | changes).items() if value is not None}
        (tmp_path / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return name

    return write
