"""The last line of a report: a digest of the promotion that it shows, and one of the page.

A command that was killed between the two files leaves an older page beside a newer promotion; by its stamp
the next one sees it, and a page that was cut or changed, and writes it again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError


def stamped(page: str, sweep_dir: Path) -> str:
    """``page`` with its stamp."""
    return f"{page}{_stamp(page.encode(), sweep_dir)}"


def is_current(path: Path, sweep_dir: Path) -> bool:
    """Whether the report at ``path`` is whole and of the promotion in ``sweep_dir``."""
    try:
        content = fsio.read_bytes(path)
    except (FileNotFoundError, DamagedError):
        return False
    page, mark, _ = content.rpartition(b"<!-- shows ")
    return bool(mark) and content == page + _stamp(page, sweep_dir).encode()


def _stamp(page: bytes, sweep_dir: Path) -> str:
    try:
        shown = hashlib.sha256(fsio.read_bytes(sweep_dir / "promotion.json")).hexdigest()
    except (FileNotFoundError, DamagedError):
        shown = "no promotion"
    return f"<!-- shows {shown}, page {hashlib.sha256(page).hexdigest()} -->\n"
