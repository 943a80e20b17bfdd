"""A folder with a trainer of somebody else's, and a sweep file of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from command_example import TRAINER, example
from command_repository import RATE, Write, edit, git


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


@pytest.fixture
def repository(write: Write, tmp_path: Path) -> Write:
    """With branches that halve the rate, and that change a comment; and data that git ignores."""
    write()
    Path(".gitignore").write_text("data/\nresults/\nsweeps/\n")
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    for name, old, new in (
        ("half", RATE, f"{RATE} / 2"),
        ("words", "EVERY = 20", "EVERY = 20  # steps"),
    ):
        git("checkout", "-b", name)
        edit(old, new)
        git("commit", "-am", name)
        git("checkout", "main")
    Path("half.patch").write_text(git("diff", "main", "half"))

    def of(**changes: Any) -> str:
        levels = {"half": {"code": "half"}, "words": {"code": "words"}}
        usual = {"axes": {"idea": levels}, "inputs": ["data"], "ladder": None, "seeds": [1]}
        return write(**(usual | {"params": {"depth": 1, "lr": 0.1, "steps": 5}} | changes))

    return of
