"""Files of tensors (safetensors): written whole to the disk, and told from what they became by a SHA-256."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sweepkit import fsio
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
    fsio.sync(path)
    return fsio.sha256(path)


def load(path: Path) -> dict[str, Tensor]:
    """Name → tensor, on the CPU. Raises SafetensorError or OSError."""
    return load_file(path)


__all__ = ["SafetensorError", "load", "write"]
