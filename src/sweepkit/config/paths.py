"""Where things are: configuration, results and caches. Nothing here is part of a run's identity.

A variable that is set to nothing counts as unset.
"""

from __future__ import annotations

import os
from pathlib import Path

from sweepkit import errors


def conf_dir() -> Path:
    """The configuration folder: $SWEEPKIT_CONF_DIR, else the checkout's ``conf/``, else the packaged one."""
    return _shipped_folder("SWEEPKIT_CONF_DIR", "conf")


def sweeps_dir() -> Path:
    """Shipped sweep files, found like ``conf_dir``; a user's own ``./sweeps`` is looked at first."""
    return _shipped_folder("SWEEPKIT_SWEEPS_DIR", "sweeps")


def results_dir() -> Path:
    """Where runs and sweeps are written: $SWEEPKIT_RESULTS_DIR, else ``./results``."""
    return _own_folder(Path(os.environ.get("SWEEPKIT_RESULTS_DIR") or "results"), "SWEEPKIT_RESULTS_DIR")


def cache_dir() -> Path:
    """Tokenizers, tokens, downloads, measured GEMM rates: $SWEEPKIT_CACHE_DIR, else ~/.cache/sweepkit."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweepkit"
    return _own_folder(Path(os.environ.get("SWEEPKIT_CACHE_DIR") or default), "SWEEPKIT_CACHE_DIR")


def _own_folder(path: Path, variable: str) -> Path:
    """Absolute; a file there would read as a folder without anything in it."""
    if path.is_file():
        remedy = "move that file away, or name another folder"
        raise errors.invalid(variable, str(path.absolute()), "be a folder, or nothing yet", remedy)
    return path.absolute()


def _shipped_folder(variable: str, name: str) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen).absolute() if chosen else shipped(name)


def shipped(name: str) -> Path:
    """A folder of the checkout, else of the package, whatever the environment says."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    return package / name
