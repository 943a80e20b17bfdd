"""A cache of parsed JSON files, so that ten thousand run directories load in a moment.

``results/.index/NAME.jsonl`` holds one line a source file: its key, its signature (modification time, size,
inode) and what ``parse`` made of it, with a checksum. A source is read again when its signature changed,
which an atomic replacement always does; all are when the code of ``parse`` changed. The cache is only ever a
copy: a missing, torn or changed line is made again from its source, a cache that cannot be written is done
without, and concurrent readers each replace it whole, so that the worst that a race can cost is parsing
some files again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sweepkit import fsio, sealed
from sweepkit.errors import StorageError, SweepkitError

#: Fewer changed sources than this are parsed again each time rather than rewriting the cache.
WRITE_FROM = 32

Signature = tuple[int, int, int]
Value = TypeVar("Value")  # JSON


def signature(path: Path | str) -> Signature | None:
    """Modification time in ns, size and inode of a file; None where there is none."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_cached(
    cache: Path, sources: Mapping[str, Path], parse: Callable[[Path], Value], *, write_from: int = WRITE_FROM
) -> dict[str, Value]:
    """Parsed content of every source that exists, from the cache where it is still good.

    Args:
        cache: the cache file; created and replaced as needed.
        sources: key -> file.
        parse: makes a JSON value of a file; must not raise for bad content. May return None for a
            file that vanished meanwhile.
        write_from: the cache is rewritten when at least this many sources were parsed anew.
    """
    head = _head(parse)
    known = _read(cache, head) if cache.exists() else {}
    values: dict[str, Value] = {}
    changed = 0
    for key, path in sources.items():
        seen = signature(path)
        if seen is None:
            continue
        entry = known.get(key)
        if entry is None or entry[0] != seen:
            entry = (seen, parse(path))
            known[key] = entry
            changed += 1
        values[key] = entry[1]
    if changed >= write_from:
        _write(cache, head, known)
    return values


def _head(parse: Callable[[Path], Any]) -> str:
    """First line of a cache: the module that ``parse`` is in, by content."""
    code = Path(parse.__code__.co_filename).read_bytes()
    return f"sweepkit results index {hashlib.sha256(code).hexdigest()[:16]}"


def _read(cache: Path, head: str) -> dict[str, tuple[Signature, Any]]:
    """Entries of a cache file; torn, changed or foreign lines are left out."""
    entries: dict[str, tuple[Signature, Any]] = {}
    with contextlib.suppress(OSError, SweepkitError):
        first, *lines = fsio.read_bytes(cache).splitlines() or [b""]
        if first != head.encode():
            return {}
        for line in lines:
            if (entry := sealed.of_line(line)) is not None:
                mtime_ns, size, inode = entry["seen"]
                entries[entry["key"]] = ((mtime_ns, size, inode), entry["value"])
    return entries


def _write(cache: Path, head: str, entries: dict[str, tuple[Signature, Any]]) -> None:
    lines = [f"{head}\n".encode()]
    lines += [
        sealed.line({"key": key, "seen": seen, "value": value}) for key, (seen, value) in entries.items()
    ]
    with contextlib.suppress(OSError, StorageError):  # a read-only or full disk: go without a cache
        fsio.write_atomic(cache, lambda file: file.writelines(lines))
