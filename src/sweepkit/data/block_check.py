"""Large files that are checked where they are read: a checksum for every block, compared at its first use.

A run reads a small part of a large cache, in an order of its own. Checksumming all of it first would take
longer than many runs, and trusting its size lets a bit that turned change a loss. A block of 256 KiB costs a
tenth of a millisecond, once a process, in the thread that reads ahead.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sweepkit.errors import DataError

BLOCK_BYTES = 2**18


def checksums(path: Path) -> tuple[int, str]:
    """CRC-32 of a file, and those of its blocks as hex, eight digits each."""
    whole, blocks = 0, []
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            whole = zlib.crc32(block, whole)
            blocks.append(f"{zlib.crc32(block):08x}")
    return whole, "".join(blocks)


class CheckedArray:
    """A memory-mapped array that is read by slices, each checked before it is handed out."""

    def __init__(self, path: Path, array: npt.NDArray[Any], blocks: str, forget: Callable[[], None]) -> None:
        """A view of ``array``.

        Args:
            path: what is mapped.
            array: [N], all of it.
            blocks: what ``checksums`` said of it.
            forget: called where a block is not what was written, so that the file is made again.
        """
        self._path, self._array, self._blocks, self._forget = path, array, blocks, forget
        self._bytes = array.view(np.uint8)
        self._is_checked = np.zeros(len(blocks) // 8, dtype=bool)
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        """A part of the array; raises DataError where it is not what was written."""
        start, stop, _ = part.indices(len(self._array))
        first = start * self._array.itemsize // BLOCK_BYTES
        last = -(-stop * self._array.itemsize // BLOCK_BYTES)
        for block in range(first, last):
            if not self._is_checked[block]:
                self._check(block)
        return self._array[part]

    def _check(self, block: int) -> None:
        begin, end = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
        stated = int(self._blocks[8 * block : 8 * block + 8], 16)
        if zlib.crc32(self._bytes[begin:end].data) != stated:
            self._forget()
            raise DataError(
                f"{self._path} is damaged between bytes {begin} and {end}, but must be as it was written; "
                "run the same command again, the cache is then made again"
            )
        self._is_checked[block] = True
