"""Files that are either whole or absent, and readers that tell what was written from what became of it.

Every file that someone may rely on is written to a temporary name in the same folder, fsynced and
renamed, and is sealed (``sealed.py``). A full disk becomes a ``DiskFullError`` and leaves the previous
content in place; storage that fails for a moment is asked again (``patience.py``). Files and folders get the
mode that the umask and the folder they lie in give them, so that a group can share them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from sweepkit import patience, sealed
from sweepkit.errors import DamagedError, DiskFullError, StorageError
from sweepkit.sealed import canonical_json, digest, finite

Result = TypeVar("Result")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # how the system says that a disk, or a quota on it, is full
_MAX_BYTES = 2**28  # no small file of ours comes near this
#: How it says that a folder is none, or not ours to use.
_NOT_OURS = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
        *(errno.ENAMETOOLONG, errno.ELOOP),
    }
)


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn "no space left" into a ``DiskFullError`` that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(_full(path)) from error
        raise


def in_words(error: OSError) -> str | None:
    """What to tell the user of storage that fails, or of a place that is not ours; None for other errors."""
    if isinstance(error, shutil.Error):  # of a whole folder, with what befell each file as text alone
        source, target, why = error.args[0][0]
        found = re.search(r"\[Errno (\d+)\]", str(why))
        error = OSError(int(found[1]) if found else 0, str(why), str(source), None, str(target))
    if error.errno in DISK_FULL:
        return _full(error.filename2 or error.filename or "the output")
    return _unusable(error) if error.errno in _NOT_OURS else patience.in_words(error)


def _full(path: Path | str) -> str:
    return (
        f"{path} could not be written: the disk is full; free some space and run the same command again, it "
        "goes on from the last good state"
    )


def _unusable(error: OSError) -> str:
    if error.errno == errno.EISDIR:
        where = error.filename2 or error.filename
        return f"{where} is a folder, but must be a file; move it away and run the same command again"
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
        patience.patiently(lambda: path.mkdir(parents=True, exist_ok=True))
    except FileNotFoundError as error:
        raise StorageError(_unusable(error)) from error


def make_temporary(path: Path) -> Path:
    """A new folder beside ``path``, to be filled and renamed to it."""
    make_folder(path.parent)
    folder = _temporary(path)
    folder.mkdir()
    return folder


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary file, then fsync and rename it to ``path``; again where storage fails.

    Raises:
        StorageError: the disk is full, or storage fails; ``path`` keeps its previous content.
    """
    make_folder(path.parent)
    with explain_full_disk(path):
        try:
            patience.patiently(lambda: _put(path, write, _replace))
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise
            raise StorageError(_unusable(error)) from error  # a folder where no file can be made: /proc


def write_by_name(path: Path, write: Callable[[Path], Result]) -> Result:
    """``write_atomic`` for a writer that takes a name, opens the file itself and has it on the disk.

    What killed writers of the same file left is removed, so only one may write it at a time.
    """
    make_folder(path.parent)

    def put() -> Result:
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
        temporary = _temporary(path)
        try:
            result = write(temporary)
            _replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return result

    with explain_full_disk(path):
        return patience.patiently(put)


def _put(
    path: Path, write: Callable[[IO[bytes]], object], into_place: Callable[[Path, Path], object]
) -> None:
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        into_place(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _replace(temporary: Path, path: Path) -> None:
    _refuse_device(path)
    temporary.replace(path)


def _refuse_device(path: Path) -> None:
    """A device must not lose its place to a file (/dev/null); a pipe where a file of ours belongs does."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise StorageError(f"{path} is a device, but must be a file or not there; name another place")


def _temporary(path: Path) -> Path:
    """A name of its own beside ``path``, not too long for a file system that takes the name itself."""
    start = path.name.encode()[:100].decode(errors="ignore")
    return path.with_name(f".{start}.{uuid.uuid4().hex[:12]}.tmp")


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the platform allows it."""
    with contextlib.suppress(OSError):
        sync(folder)


def sync(path: Path) -> None:
    """Have a file's content, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Atomically replace ``path`` with ``text`` (UTF-8)."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Atomically write a sealed JSON object; NaN and infinity become null (missing)."""
    write_text(path, sealed.dumps(value))


def create_json(path: Path, value: dict[str, Any]) -> bool:
    """Write a sealed JSON object whole, but only if there is no file of that name; False where there is.

    Raises:
        StorageError: the disk is full, or storage fails; nothing was created.
    """
    data = sealed.dumps(value).encode()
    try:
        with explain_full_disk(path):
            patience.patiently(lambda: _put(path, lambda file: file.write(data), os.link))
    except FileExistsError:
        return False
    return True


def read_bytes(path: Path) -> bytes:
    """A small file's content; asked for again where storage fails for a moment.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: something else stands in its place (a pipe, a folder), or it is far too large.
        StorageError: storage fails.
    """
    try:
        return patience.patiently(lambda: _read(path))
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file of any size; asked for again where storage fails for a moment."""

    def read() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return patience.patiently(read)


def read_from(path: Path, offset: int) -> bytes:
    """What was appended to a growing file after its first ``offset`` bytes; nothing where there is none.

    Raises:
        DamagedError, StorageError: as ``read_bytes``.
    """
    try:
        return patience.patiently(lambda: _read(path, offset))
    except (FileNotFoundError, NotADirectoryError):
        return b""


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder; none where it is not there or cannot be read."""
    try:
        return [entry.name for entry in os.scandir(path) if entry.is_dir()]
    except OSError:
        return []


def _read(path: Path, offset: int = 0) -> bytes:
    try:
        # a pipe would wait for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # links in a ring; a socket
            raise
        raise DamagedError(path, "it is no file") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(path, "it is no file")
        if status.st_size - offset > _MAX_BYTES:
            raise DamagedError(path, f"it has {status.st_size} bytes")
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(offset)
            return file.read()
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """What ``write_json`` or ``create_json`` was given.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not what was written.
    """
    return sealed.loads(path, read_bytes(path))


def read_open_json(path: Path) -> dict[str, Any]:
    """A JSON object that anybody may write: a user's file, or one that is stale within a second.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is no JSON object.
    """
    return sealed.parse(path, read_bytes(path))


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON line with its checksum; readers leave out a torn one."""
    append(path, sealed.line(value, owner(path)))


def append(path: Path, data: bytes) -> None:
    """Append to a file that nobody else appends to, whole or not at all, with a single ``write``.

    Raises:
        DamagedError: something else stands in the file's place (a pipe, a folder).
        StorageError: the disk is full, or storage fails.
    """
    with explain_full_disk(path):
        patience.patiently(lambda: _append(path, data))


def _append(path: Path, data: bytes) -> None:
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, how, 0o666)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EISDIR, errno.ELOOP):
            raise
        raise DamagedError(path, "it is no file") from None
    try:
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, data) < len(data):  # a full disk takes what fits, and says so later
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines that ``append_line`` wrote here; torn, changed and another run's are left out."""
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := sealed.of_line(line, owner(path))) is not None]


def owner(path: Path) -> str:
    """Whose lines a growing file holds: in a run's folder that run's, elsewhere nobody's in particular."""
    return path.parent.name if path.parent.parent.name == "runs" else ""


__all__ = ["canonical_json", "digest", "finite"]
