"""Folders that are built once, by whichever process comes first, and are whole or absent.

An entry is a folder with data files and ``meta.json``, which holds each file's size and checksum. A
builder takes a lock, works in ``<entry>.building`` and renames it into place at the end; a killed build
leaves the ``.building`` folder, from which the next builder may go on. Entries are named by the digest
of their recipe, so they are never updated.

The lock is ``flock`` on a file beside the entry: the kernel drops it with its holder, however that ends,
so there is nothing to clean up after a kill. On NFS this needs a server with locking (any Linux NFS v3
with lockd, or v4); without it two hosts may build the same entry at once, which wastes time and nothing
else: both write the same bytes and the second rename finds the entry there and drops its copy.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from sweepkit import fsio, patience, sealed
from sweepkit.config import paths
from sweepkit.data import block_check
from sweepkit.errors import DamagedError, StorageError

#: Files up to this size are checksummed whenever they are opened (a few ms); of larger ones those that are
#: read in parts are checked by block, as they are read.
CHECK_BYTES = 64 * 2**20
META = "meta.json"

#: Fills the folder it is given (which may hold an interrupted build) and returns what meta.json is to say.
Build = Callable[[Path], dict[str, Any]]


def ensure(
    entry: Path, build: Build, thorough: bool = False, by_block: Collection[str] = ()
) -> dict[str, Any]:
    """The entry's meta.json content; builds the entry if it is missing or corrupt.

    Args:
        entry: the folder.
        build: fills it.
        thorough: checksum files of any size.
        by_block: files whose reader checks them by block where they are large (``block_check.py``).

    Raises:
        StorageError: the disk is full or the cache is not writable.
    """
    meta = read(entry, thorough, by_block)
    if meta is not None:
        return meta
    with lock(entry):
        meta = read(entry, thorough, by_block)  # another process may have built it while we waited
        if meta is not None:
            return meta
        if entry.exists():
            print(f"data: {entry} is corrupt and is built again", file=sys.stderr)
        shutil.rmtree(entry, ignore_errors=True)
        working = entry.with_name(entry.name + ".building")
        with fsio.explain_full_disk(entry):
            fsio.make_folder(working)
            content = build(working) | {"entry": entry.name}
            content["files"] = {
                path.name: _checked(path) for path in sorted(working.iterdir()) if path.name != META
            }
            fsio.write_json(working / META, content)
            try:
                working.replace(entry)
            except OSError:
                if read(entry) is None:
                    raise
                shutil.rmtree(working, ignore_errors=True)
        return content


def read(entry: Path, thorough: bool = False, by_block: Collection[str] = ()) -> dict[str, Any] | None:
    """meta.json of a whole entry; None where it is another's, or a file is missing or not as it was."""
    try:
        meta = fsio.read_json(entry / META)
        sealed.check_is_of(entry / META, meta, entry=entry.name)
        for name, expected in meta["files"].items():
            path = entry / name
            if path.stat().st_size != expected["size"]:
                return None
            is_later = name in by_block and expected["size"] > CHECK_BYTES and not thorough
            if not is_later and _crc32(path) != expected["crc32"]:
                return None
    except (FileNotFoundError, DamagedError, KeyError, TypeError, AttributeError):
        return None
    return meta


def forget(entry: Path) -> None:
    """Have the next one who needs the entry build it again."""
    with contextlib.suppress(OSError):
        (entry / META).unlink()


def _checked(path: Path) -> dict[str, Any]:
    whole, blocks = block_check.checksums(path)
    return {"size": path.stat().st_size, "crc32": whole, "blocks": blocks}


@contextlib.contextmanager
def explain_unusable(path: Path) -> Iterator[None]:
    """Turn a failure to make ``path`` in the cache folder into a ``StorageError`` that says what to set."""
    try:
        with fsio.explain_full_disk(path):
            yield
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or (
            isinstance(error, StorageError) and cause.errno != errno.ENOENT
        ):
            raise  # it says more than that the folder is of no use
        raise StorageError(
            f"SWEEPKIT_CACHE_DIR is {str(paths.cache_dir())!r}, but must be a folder that can be written to "
            f"({cause.strerror}); set it to a folder of yours with room for the token cache"
        ) from error


@contextlib.contextmanager
def lock(entry: Path) -> Iterator[None]:
    """Hold the entry's lock; waits for as long as its holder lives."""
    path = entry.with_name(entry.name + ".lock")
    with explain_unusable(path):
        fsio.make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _crc32(path: Path) -> int:
    def read() -> int:
        checksum = 0
        with path.open("rb") as file:
            while block := file.read(2**20):
                checksum = zlib.crc32(block, checksum)
        return checksum

    return patience.patiently(read)
