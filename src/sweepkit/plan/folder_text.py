"""What one's own text is: which files it is in, and digests of them, wherever they lie.

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import paths, typed, variables
from sweepkit.config.schema import DatasetConfig
from sweepkit.errors import ConfigError, DamagedError, DataError, StorageError, invalid
from sweepkit.plan import text_column, text_file
from sweepkit.plan.text_file import PACKED, Format, format_of

_SETTLED_NS = 2 * 10**9  # the coarsest times of a file system
_SAID_BYTES = 2**30  # reading this much takes long enough to say so


_seen: dict[tuple[Path, tuple[int, ...]], str] = {}  # by this process: file and mark → digest


_KNOWN = "*.parquet, *.arrow, *.jsonl, *.csv, *.tsv or *.txt (the last four also .gz or .zst)"
#: Names of files that lie beside text and are none of it.
_BESIDE = ("readme", "license", "licence", "notice")
_HELD_OUT = ("validation", "valid", "val", "dev", "test", "eval")


def text_files(path: str, field: str = "dataset.path") -> list[Path]:
    """The file that ``dataset.path`` is, or all files of text in that folder, by their names.

    Raises:
        DataError: there is none, they are of several formats or splits, or one is empty or no file.
    """
    root = Path(variables.filled(path)).expanduser()
    if not root.exists():
        raise DataError(
            f"{field} is {path!r}, which does not exist on this machine, but must be a file or a folder of "
            f"{_KNOWN} that can be read where runs are planned as well as where they run: what is in it is "
            "part of a run's name. Check the spelling, use an absolute path, or plan on a machine that has it"
        )
    if not root.is_dir():
        if format_of(root) is None:
            raise DataError(f"{field} is {path!r}, but must be a folder or one of {_KNOWN}; rename the file")
        return [_whole(root)]
    _refuse_splits(root, path, field)
    known = [file for file in _walk(root) if format_of(file) is not None and not _is_cache(file)]
    found = [file for file in known if file.suffix != ".json"] or known  # beside text they describe it
    kinds: dict[Format | None, list[Path]] = {}
    for file in found:
        kinds.setdefault(format_of(file), []).append(file)
    if not found:
        raise DataError(
            f"{field} is {path!r}, which holds no file of text, but must hold at least one of {_KNOWN}; put "
            "files there, or name another folder"
        )
    if len(kinds) > 1:
        shown = " and ".join(f"{files[0].relative_to(root)} ({len(files)})" for files in kinds.values())
        raise DataError(
            f"{field} is {path!r}, which holds {shown}, but must hold text of one format; name the folder "
            "or the file that has the text, or move the others away"
        )
    return [_whole(file) for file in found]


def walk(
    folder: Path, is_apart: Callable[[Path], bool], above: frozenset[str] | None = None
) -> Iterator[Path]:
    """All that is in a folder and is none, by names; a link to a folder is gone through like one.

    Args:
        is_apart: of a folder inside: whether it is left out.
        above: folders that this one lies in, which a link in it may lead back to.
    """
    real = os.path.realpath(folder)
    above = (frozenset(map(str, Path(real).parents)) if above is None else above) | {real}
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = folder / entry.name
        if not path.is_dir():
            yield path
        elif not is_apart(path) and os.path.realpath(path) not in above:
            yield from walk(path, is_apart, above)


def _walk(root: Path) -> list[Path]:
    """Files in a folder and in those inside, sorted; without what is hidden or only describes text."""
    try:
        every = list(walk(root, lambda folder: folder.name.startswith(".")))
    except PermissionError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}), but must be, for it lies in a text's "
            "folder; correct its permissions, or move it away"
        ) from error
    found = [
        file
        for file in every
        if not file.name.startswith((".", "_")) and file.name.partition(".")[0].lower() not in _BESIDE
    ]
    return sorted(found, key=lambda file: file.relative_to(root).parts)


def _is_cache(file: Path) -> bool:
    """Whether it is what a ``map`` left beside a dataset that ``save_to_disk`` wrote: its documents again."""
    if format_of(file) is not Format.arrow:
        return False
    try:
        listed = fsio.read_open_json(file.parent / "state.json")["_data_files"]
        return file.name not in {item["filename"] for item in listed}
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _refuse_splits(root: Path, path: str, field: str) -> None:
    """A folder with a part to train on and parts that are held out is not trained on as a whole."""
    others = [name for name in _HELD_OUT if (root / name).is_dir()]
    if (root / "train").is_dir() and others:
        raise DataError(
            f"{field} is {path!r}, which holds train and {', '.join(others)}, but must be one of them; use "
            f"dataset.path={path.rstrip('/')}/train dataset.validation_path={path.rstrip('/')}/{others[0]}"
        )


def _whole(file: Path) -> Path:
    """The file. Raises DataError where it cannot hold text."""
    if not file.is_file():
        state = "a link to a file that is missing" if file.is_symlink() else "no file"
        raise DataError(f"{file} is {state}, but must be a file of text; move it away")
    if not file.stat().st_size:
        raise DataError(f"{file} is empty, but must hold text; write it again, or move it away")
    return file


def check(dataset: DatasetConfig) -> None:
    """Refuse what training would, as far as names and the first file's columns tell.

    Raises:
        ConfigError: ``dataset.validation_shards`` leaves nothing to train on.
        DataError: see ``text_files``; or ``dataset.text_column`` is no text of the first file.
    """
    files = text_files(str(dataset.path))
    if dataset.validation_path is None:
        check_split(len(files), dataset.validation_shards)
    if format_of(files[0]) is not Format.txt:
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
    """Once for a file as it is, by its first documents; damaged parquet is refused where it is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if format_of(file) is not Format.parquet:
        next(text_file.open_text(file, name))
        return
    with contextlib.suppress(pa.ArrowException, OSError):
        text_column.check(file, pq.read_schema(file), name)


def file_digests(path: str, field: str = "dataset.path") -> dict[Path, str]:
    """Every file of one's own text → ``SIZE:SHA-256``.

    Raises:
        DataError: see ``text_files``; or a file cannot be read.
    """
    files = text_files(path, field)
    marks = {str(file): mark(file) for file in files}
    found = digests_of(files, Path(variables.filled(path)).expanduser())
    digests = {file: f"{marks[str(file)][0]}:{found[file]}" for file in files}
    _seen.update({(file, tuple(marks[str(file)])): digests[file] for file in files})
    return digests


def digests_of(
    files: Sequence[Path], root: Path, digest_all: Callable[[Sequence[Path]], list[str]] | None = None
) -> dict[Path, str]:
    """File → SHA-256 of its content; those that have not changed since they were last asked for are not read.

    Args:
        root: what is remembered is remembered of this place.
        digest_all: what is told of a file instead of its SHA-256.
    """
    marks = {str(file): mark(file) for file in files}
    remembered_path = _remembered_path(root)
    remembered = _read(remembered_path)
    found = {name: item for name, item in remembered.items() if marks.get(name) == item.mark}
    unknown = [file for file in files if str(file) not in found]
    found |= {
        str(file): _Known(marks[str(file)], sha256)
        for file, sha256 in zip(unknown, (digest_all or _hash)(unknown) if unknown else [], strict=True)
    }
    now = time.time_ns()
    settled = {name: item for name, item in found.items() if now - max(item.mark[2:]) > _SETTLED_NS}
    if settled != remembered:
        with contextlib.suppress(OSError, StorageError):  # then they are hashed again
            fsio.write_json(remembered_path, {"files": typed.dump(settled)})
    return {file: found[str(file)].sha256 for file in files}


def file_digest(file: Path) -> str:
    """``SIZE:SHA-256`` of one file as it is now."""
    now = tuple(mark(file))
    if (file, now) not in _seen:
        _seen[file, now] = f"{now[0]}:{_sha256(file)}"
    return _seen[file, now]


def digest(path: str, field: str = "dataset.path") -> str:
    """SHA-256 of names, sizes and bytes of one's own text. Raises what ``file_digests`` does."""
    digests = file_digests(path, field)
    root = Path(variables.filled(path)).expanduser()
    names = {file: file.relative_to(root).as_posix() if root.is_dir() else file.name for file in digests}
    return fsio.digest({names[file]: digests[file] for file in digests})


def about_bytes(path: str) -> int:
    """Of text, from the sizes of its files: those of columns count twice, packed ones three times."""
    return sum(_about(file) for file in text_files(path))


def _about(file: Path) -> int:
    times = 3 if file.suffix in PACKED else 2 if format_of(file) is Format.parquet else 1
    return times * file.stat().st_size


def mark(file: Path) -> list[int]:
    """Size, inode and times of a file: what changes with its content."""
    status = file.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


@dataclass(frozen=True)
class _Known:
    """What a file's content was when it had a mark."""

    mark: list[int]
    sha256: str


def _read(path: Path) -> dict[str, _Known]:
    """What was remembered; nothing where the file is missing or damaged."""
    with contextlib.suppress(OSError, DamagedError, StorageError, ConfigError):
        return typed.load(dict[str, _Known], fsio.read_json(path)["files"])
    return {}


def _remembered_path(root: Path) -> Path:
    return paths.cache_dir() / "data" / "manifests" / f"{fsio.digest(str(root.resolve()))[:20]}.json"


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
