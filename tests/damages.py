"""What can have happened to a file: cut, altered, emptied, gone, or replaced by something else."""

from __future__ import annotations

import os
from pathlib import Path

DAMAGES = ["cut", "short", "byte", "no text", "empty", "wrong type", "deep", "pipe", "folder", "device"]


def damage(path: Path, how: str) -> None:
    """Have it happen to a file, or to one that is not there; ``how`` may also be "gone"."""
    data = path.read_bytes() if path.exists() else b"{}"
    middle = len(data) // 2
    new = {
        "cut": data[:middle],
        "short": data[:-2],
        "byte": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
        "no text": data[:middle] + b"\xff" + data[middle:],
        "empty": b"",
        "wrong type": b'["a", 1]\n',
        "deep": b"[" * 100_000,
    }.get(how)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if how == "gone":
        return
    if new is not None:
        path.write_bytes(new)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
