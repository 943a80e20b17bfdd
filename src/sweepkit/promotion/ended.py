"""Whether a promotion has ended, told from its folder alone and without pandas."""

from __future__ import annotations

from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError


def has_ended(sweep_dir: Path) -> bool:
    """Whether a promotion ended here, so that cells without a run were not needed."""
    try:
        return fsio.read_json(sweep_dir / "promotion.json")["finished"] is True
    except (FileNotFoundError, DamagedError, KeyError):
        return False
