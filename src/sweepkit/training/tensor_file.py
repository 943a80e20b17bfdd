"""Files of tensors (safetensors): written whole to the disk, and told from what they became by a SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sweepkit import patience
from sweepkit.errors import StorageError


def write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write to ``path``, fsync and hash; safetensors reports errors of the system in its own way.

    Returns:
        SHA-256 (hex) of the file.

    Raises:
        OSError: as the system says it.
        StorageError: it does not say what is wrong.
    """
    path.touch()
    mode = path.stat().st_mode  # as the umask has it; safetensors would make a file for its owner alone
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        path.chmod(mode)
    except SafetensorError as error:
        if said := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(said[1]), os.strerror(int(said[1])), str(path)) from error
        raise StorageError(
            f"{path} could not be written ({error}); check its permissions and limits on file sizes"
        ) from error
    sync(path)
    return sha256(path)


def load(path: Path) -> dict[str, Tensor]:
    """Name → tensor, on the CPU. Raises SafetensorError or OSError."""
    return load_file(path)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file of any size; asked for again where storage fails for a moment."""

    def read() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return patience.patiently(read)


def sync(path: Path) -> None:
    """Have a file's content, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["SafetensorError", "load", "sha256", "sync", "write"]
