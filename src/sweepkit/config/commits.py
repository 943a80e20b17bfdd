"""Which commit the code is: asked of git in a checkout, read from a file where the package was copied."""

from __future__ import annotations

import contextlib
import functools
import subprocess
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError

FILE = "commit.json"


def write(folder: Path) -> None:
    """Note in ``folder``, which holds a copy of the package, what the copied code is.

    Of two commits with the same code the first stays, but a clean one replaces one with uncommitted changes:
    they have been committed since.
    """
    commit, dirty = git_state()
    path = folder / FILE
    try:
        is_known = fsio.read_json(path)["dirty"] is False
    except (FileNotFoundError, DamagedError):
        is_known = False
    if not path.exists() or (dirty is False and not is_known):
        fsio.write_json(path, {"commit": commit, "dirty": dirty})


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """Commit of the code and whether tracked files differ from it; None outside a checkout.

    A copy of the package has them in a file beside it, as ``write`` left them.
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        copied = fsio.read_json(Path(__file__).resolve().parents[2] / FILE)
        return copied["commit"], copied["dirty"]
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
