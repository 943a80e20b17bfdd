"""Files that are either whole or absent, and hashes of JSON that do not depend on key order.

Every file that someone may rely on is written to a temporary name in the same folder, fsynced and
renamed. A full disk becomes a ``StorageError`` and leaves the previous content in place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from sweepkit.errors import StorageError, SweepkitError

#: How the system says that a disk, or a quota on it, is full.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: How it says that a folder is none, or not ours to use.
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST})


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn "no space left" into a ``StorageError`` that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise StorageError(
                f"{path} could not be written: the disk is full; free some space and run the same "
                "command again, it goes on from the last good state"
            ) from error
        raise


def not_ours(error: OSError) -> str | None:
    """What to tell the user of a place that is no folder, or not ours to use; None for any other error."""
    return _unusable(error) if error.errno in _NOT_OURS else None


def _unusable(error: OSError) -> str:
    return (
        f"{error.filename2 or error.filename} cannot be used ({error.strerror}), but must be a place to read "
        "and write; correct its permissions or choose another one (SWEEPKIT_RESULTS_DIR, SWEEPKIT_CACHE_DIR, "
        "--output)"
    )


def make_folder(path: Path) -> None:
    """Make a folder and those it lies in.

    Raises:
        StorageError: nothing can be made there, which the system calls a missing file (/proc, an automount).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise StorageError(_unusable(error)) from error


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary file, then fsync and rename it to ``path``.

    Raises:
        StorageError: the disk is full; ``path`` keeps its previous content.
    """
    make_folder(path.parent)
    with explain_full_disk(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the platform allows it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Atomically replace ``path`` with ``text`` (UTF-8)."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Atomically write ``value`` as indented JSON; NaN and infinity become null (missing)."""
    write_text(path, json.dumps(finite(value), indent=1, allow_nan=False) + "\n")


def create_json(path: Path, value: Any) -> bool:
    """Write a JSON file whole, but only if there is none of that name; False where there is.

    Raises:
        StorageError: the disk is full; nothing was created.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        written = Path(folder) / path.name
        write_json(written, value)
        try:
            os.link(written, path)
        except FileExistsError:
            return False
    _sync_folder(path.parent)
    return True


def read_text(path: Path) -> str:
    """A file's text; read again where somebody replaced the file meanwhile, which NFS makes an error."""
    try:
        return path.read_text()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return path.read_text()


def read_json(path: Path) -> Any:
    """Parse one JSON file."""
    return json.loads(read_text(path))


def too_new(path: Path, content: Any, known: int) -> str | None:
    """Why a file that a newer sweepkit wrote is not read; None where this one may read it.

    Args:
        content: of the file; without a ``schema_version`` it is of the first.
        known: the newest version that this sweepkit reads.
    """
    version = content.get("schema_version", 1) if isinstance(content, dict) else 1
    if not isinstance(version, int) or version <= known:
        return None
    return (
        f"{path} has schema_version {version}, but must have {known} or less for this sweepkit; a newer "
        "one wrote it: update sweepkit, or choose another folder (SWEEPKIT_RESULTS_DIR)"
    )


def check_version(path: Path, content: Any, known: int) -> None:
    """Refuse what a newer sweepkit wrote, before anything of it is misread or taken for damage.

    Raises:
        SweepkitError: what ``too_new`` says.
    """
    if reason := too_new(path, content, known):
        raise SweepkitError(reason)


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line with a single ``write``; readers skip a torn last line."""
    line = json.dumps(finite(value), separators=(",", ":"), allow_nan=False) + "\n"
    with explain_full_disk(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            data = line.encode()
            if os.write(descriptor, data) < len(
                data
            ):  # a full disk takes what fits and says so the next time
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def read_lines(path: Path) -> list[Any]:
    """All whole JSON lines of ``path``; a torn line (a killed writer) is skipped."""
    rows = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
    return rows


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities replaced by None: missing is null, never 0."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, shortest floats, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
