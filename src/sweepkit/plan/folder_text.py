"""What the text in a folder of parquet files is: digests of its files, wherever the folder lies.

Hashing gigabytes at every plan would be slow, so digests are remembered in the cache folder by path, size,
inode and times, and a file is hashed again only when one of these changed. A file that changed just before it
was hashed is not remembered: within the resolution of its times it could change once more and look the same.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config import paths, variables
from sweepkit.config.schema import DatasetConfig
from sweepkit.errors import DamagedError, DataError, StorageError, invalid
from sweepkit.plan import text_column

_SETTLED_NS = 2 * 10**9  # the coarsest times of a file system
_SAID_BYTES = 2**30  # reading this much takes long enough to say so


def parquet_files(path: str) -> list[Path]:
    """All ``*.parquet`` files of the folder ``dataset.path``, in the order of their names.

    Raises:
        DataError: there is no such folder here, it holds none, or one of that name is no file.
    """
    folder = Path(variables.filled(path)).expanduser()
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist on this machine"
        raise DataError(
            f"dataset.path is {path!r}, which {state}, but must be a folder of *.parquet files that can be "
            "read where runs are planned as well as where they run: what is in it is part of a run's name. "
            "Check the spelling, use an absolute path, or plan on a machine that has the folder"
        )
    found = sorted(folder.glob("*.parquet"))
    if (nested := _nested(folder)) is not None:
        raise DataError(
            f"dataset.path is {path!r}, which holds {nested.relative_to(folder)}, but must hold all of its "
            "*.parquet files itself: those in folders of it would not be read; name the folder that has the "
            "text, or move files up or away"
        )
    if not found:
        raise DataError(
            f"dataset.path is {path!r}, which holds no *.parquet file, but must hold at least one; put files "
            "there, or name another folder"
        )
    for file in found:
        if not file.is_file():
            state = "a folder" if file.is_dir() else "a link to a file that is missing"
            raise DataError(
                f"{file} is {state}, but must be a parquet file; name the folder that holds the files as "
                "dataset.path, or move it away"
            )
    return found


def _nested(folder: Path) -> Path | None:
    """The first parquet file in a folder of this one, if there is one; what is hidden is nobody's text."""
    for inner, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(inner) != folder:
            for name in sorted(names):
                if name.endswith(".parquet") and not name.startswith("."):
                    return Path(inner) / name
    return None


def check(dataset: DatasetConfig) -> None:
    """Refuse what training would, as far as names and the first file's columns tell.

    Raises:
        ConfigError: ``dataset.validation_shards`` leaves nothing to train on.
        DataError: see ``parquet_files``; or ``dataset.text_column`` is no text of the first file.
    """
    files = parquet_files(str(dataset.path))
    check_split(len(files), dataset.validation_shards)
    _check_column(files[0], tuple(mark(files[0])), dataset.text_column)


def check_split(num_files: int, validation_shards: int) -> None:
    """Raises ConfigError where held-out files leave none to train on; a single file is split by its rows."""
    if num_files > 1 and not 1 <= validation_shards < num_files:
        raise invalid(
            "dataset.validation_shards", validation_shards,
            f"be at least 1 and leave one of the {num_files} files to train on", "lower it or add files",
        )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _check_column(file: Path, mark: tuple[int, ...], name: str) -> None:
    """Once for a file as it is; one that cannot be read is refused where its text is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.suppress(pa.ArrowException, OSError):
        text_column.check(file, pq.read_schema(file), name)


def file_digests(path: str) -> dict[str, str]:
    """Name of every parquet file of a folder → ``SIZE:SHA-256``.

    Raises:
        DataError: see ``parquet_files``; or a file cannot be read.
    """
    files = parquet_files(path)
    remembered_path = _remembered_path(files[0].parent)
    remembered = _read(remembered_path)
    marks = {file.name: mark(file) for file in files}
    unknown = [file for file in files if remembered.get(file.name, {}).get("mark") != marks[file.name]]
    found = {name: item for name, item in remembered.items() if name in marks}
    found |= {
        file.name: {"mark": marks[file.name], "sha256": sha256}
        for file, sha256 in zip(unknown, _hash(unknown), strict=True)
    }
    now = time.time_ns()
    settled = {name: item for name, item in found.items() if now - max(item["mark"][2:]) > _SETTLED_NS}
    if settled != remembered:
        with contextlib.suppress(OSError, StorageError):  # then they are hashed again
            fsio.write_json(remembered_path, {"files": settled})
    return {name: f"{found[name]['mark'][0]}:{found[name]['sha256']}" for name in sorted(found)}


def digest(path: str) -> str:
    """SHA-256 of names, sizes and bytes of a folder's parquet files. Raises what ``file_digests`` does."""
    return fsio.digest(file_digests(path))


def mark(file: Path) -> list[int]:
    """Size, inode and times of a file: what changes with its content."""
    status = file.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _read(path: Path) -> dict[str, Any]:
    """What was remembered; nothing where the file is missing or damaged."""
    with contextlib.suppress(OSError, DamagedError, StorageError):
        return dict(fsio.read_json(path)["files"])
    return {}


def _remembered_path(folder: Path) -> Path:
    name = fsio.digest(str(folder.resolve()))[:20]
    return paths.cache_dir() / "data" / "manifests" / f"{name}.json"


def _hash(files: Sequence[Path]) -> list[str]:
    size = sum(file.stat().st_size for file in files)
    if size > _SAID_BYTES:
        print(
            f"{files[0].parent}: reading {size / 2**30:.1f} GiB once, to know the text by its content",
            file=sys.stderr,
        )
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_sha256, files))


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except PermissionError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}), but must be; correct its permissions"
        ) from error
