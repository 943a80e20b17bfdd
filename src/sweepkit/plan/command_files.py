"""The files that decide a command's numbers, by content: its program's, and its inputs.

The program's are those in its folder that are written in a programming language, by the ends of their names;
hidden folders, environments and results are none. A file or folder that a word of the command names, or a
parameter's value, is digested too. Whatever else decides a number (data, a tokenizer) is to be listed under
``inputs``, files or folders, and is digested whole. A link to a folder is gone through like one. Of a frozen
copy only what it was frozen with counts: runs may have left caches in it.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sweepkit import errors, fsio
from sweepkit.config import paths
from sweepkit.errors import DamagedError, DataError
from sweepkit.plan import folder_text
from sweepkit.plan.command_plan import Program

#: Of languages that trainers are written in.
_SUFFIXES = (
    ".py", ".pyx", ".sh", ".bash", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".cu", ".cuh", ".rs", ".go",
    ".java", ".jl", ".js", ".ts", ".lua", ".r", ".f90", ".toml",
)  # fmt: skip
#: Of files that say what programs do, and as often what has nothing to do with them.
_CONFIGURATION = (".yaml", ".yml", ".json", ".ini", ".cfg", ".gin")
_NOT_SOURCES = frozenset({"__pycache__", "node_modules", "site-packages", "wandb", "outputs"})
#: A placeholder that is filled in for one run alone.
_OF_ONE = re.compile(r"\{(seed|run_id)\}")
_DIGITS = 16
#: Folder of sweep files, which say what is run and decide no number of a run.
_SWEEPS = "sweeps"
#: Bytes of a file that words name, and of an input, up to which it is digested unasked, and copied.
MOST = 256 << 20
#: Between the parts of a word.
_PARTS = re.compile(r"""[\s=,:;'"]+""")


def code(folder: Path) -> str:
    """16 hex digits of the program's files in a frozen copy, where what is still a link to a folder is live.

    Raises:
        ConfigError: there is no such folder.
    """
    return _digest(folder, sources(folder))


def sources(folder: Path) -> Iterator[Path]:
    """The program's files in a frozen copy, and none behind a link to a folder."""
    return filter(is_source, _frozen(folder))


def _frozen(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        remedy = "name the one that the command starts in; sweepkit sweep NAME makes a frozen copy anew"
        raise errors.invalid("folder", str(folder), "be a folder", remedy)
    return _own(folder, _walk(folder, lambda inner: inner.is_symlink() or _is_apart(inner)))


def contents_path(copy: Path) -> Path:
    """Where it is listed what a copy was frozen with: paths of files and links, in ``files``."""
    return copy.with_name(f".{copy.name}.json")


@functools.lru_cache(maxsize=256)
def contents(copy: Path) -> frozenset[str] | None:
    """What a copy was frozen with; None of any other folder."""
    with contextlib.suppress(OSError, DamagedError, KeyError, TypeError):
        return frozenset(fsio.read_json(contents_path(copy))["files"])
    return None


def _own(folder: Path, found: Iterable[Path]) -> Iterator[Path]:
    """Without what runs have left in a frozen copy."""
    known = contents(folder)
    return (path for path in found if known is None or _is_in(known, os.path.relpath(path, folder)))


def _is_in(known: frozenset[str], name: str) -> bool:
    """Whether a path, or a link that it leads through, is one of them, or lies beside the folder."""
    return name.startswith("..") or not known.isdisjoint([name, *map(str, Path(name).parents)])


def is_source(path: Path) -> bool:
    """Whether a file is written in a programming language."""
    return path.suffix.lower() in _SUFFIXES


def files(folder: Path) -> Iterator[Path]:
    """All files of a program's folder, in the order of their paths."""
    return _own(folder, _walk(folder, _is_apart))


def digest(folder: Path) -> str:
    """16 hex digits of all files in a folder, and in none that a link leads to."""
    return _digest(folder, unlinked(folder))


def unlinked(folder: Path) -> Iterator[Path]:
    """All files in a folder, and in none that a link leads to."""
    return _walk(folder, Path.is_symlink)


def everything(folder: Path) -> Iterator[Path]:
    """All files in a folder, in the order of their paths."""
    return _walk(folder, _is_closed)


def named(folder: Path, words: Iterable[str]) -> dict[str, str]:
    """Name as written → digest of every file that a word is, or holds (``--config=a.yaml``), and of folders.

    Not of large ones, nor of programs beside the folder (an interpreter), which are this machine's, nor of
    folders beside it, or linked.
    """
    found: dict[str, str] = {}
    for name in sorted({part for word in words for part in (word, *_PARTS.split(word)) if part}):
        with contextlib.suppress(OSError, ValueError):  # a word that no path can be
            files = _named(folder, name)
            if files and sum(path.stat().st_size for path in files) <= MOST:
                path = folder / name
                found[name] = _digest(path if path.is_dir() else path.parent, files)
    return found


def named_live(programs: Sequence[Program]) -> list[str]:
    """What words name and a link leads to, out of the copy: a run that wrote there has others refused."""
    every = {name: Path(program.folder) for program in programs for name in program.named}
    return [name for name, folder in every.items() if not _is_within(folder / name, folder)]


def _is_within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _named(folder: Path, name: str) -> list[Path]:
    path, is_beside = folder / name, Path(name).is_absolute()
    if path.is_file():
        return [] if is_beside and os.access(path, os.X_OK) else list(_own(folder, [path]))
    is_own = path.is_dir() and not (is_beside or path.is_symlink() or _is_apart(path))
    is_inside = is_own and ".." not in path.parts and path != folder
    return list(_own(folder, _walk(path, _is_apart))) if is_inside else []


def unnamed(programs: Sequence[Program]) -> list[str]:
    """Files in the first program's folder that no run is named by.

    Configuration, which it may read unasked, and those that words name for one seed (``order_{seed}.txt``).

    Args:
        programs: those of all runs; a level may name a file that the reference does not.
    """
    program = programs[0]
    folder = Path(program.folder)
    named = {name for each in programs for name in (*each.inputs, *each.named, *(each.changed or ()))}
    inside = [folder / name for name in (*named, _SWEEPS)]
    found = (path for path in _frozen(folder) if path.suffix.lower() in _CONFIGURATION)
    each = (path for word in program.command if _OF_ONE.search(word) for path in _like(folder, word))
    return [
        path.relative_to(folder).as_posix()
        for path in dict.fromkeys([*each, *found])
        if not path.is_symlink() and not any(path.is_relative_to(item) for item in inside)
    ]


def _like(folder: Path, word: str) -> list[Path]:
    """Files that parts of a word are, whatever is in its placeholders."""
    found: set[Path] = set()
    for part in {word, *_PARTS.split(word)}:
        fixed = re.split(r"\{\w+\}", part)
        is_inside = not Path(part).is_absolute() and ".." not in Path(part).parts
        if _OF_ONE.search(part) and is_inside and any(map(str.isalnum, "".join(fixed))):
            like = folder.glob("*".join(map(glob.escape, fixed)))
            found |= {path for path in _own(folder, like) if path.is_file()}
    return sorted(found)


def inputs(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Name as written → digest of that file, or of all files in that folder.

    Raises:
        ConfigError: there is nothing of that name.
    """
    return {name: _input(folder, name) for name in names}


def changed(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Path in a level's copy → digest of what it changes and is no source; empty where the file is gone."""
    return {
        name: _digest((folder / name).parent, [folder / name]) if (folder / name).is_file() else ""
        for name in names
        if not is_source(Path(name)) and Path(name).parts[0] != _SWEEPS
    }


def check(program: Program) -> None:
    """Refuse to run other files than those that a run is named by.

    Raises:
        DataError: some were edited, added or removed since it was planned.
    """
    folder = Path(program.folder)
    own = f"the program in {folder}"
    of_level = program.changed or {}
    now = {own: code(folder)} | inputs(folder, list(program.inputs)) | named(folder, program.named)
    now |= changed(folder, of_level)
    for what, digest in ({own: program.code} | program.inputs | program.named | of_level).items():
        if now.get(what) != digest:
            is_cache = what in program.named and (folder / what).is_dir()
            raise DataError(
                f"{what} has the digest {now.get(what)}, but must have {digest}, by which its runs are "
                "named: files were edited, added or removed since they were planned; restore them, or give "
                "the sweep file a new name, which makes them other runs. What runs write belongs in {run_dir}"
                + (
                    f"; a folder with a cache of theirs is named by its whole path, not {what}"
                    if is_cache
                    else ""
                )
            )


def _input(folder: Path, name: str) -> str:
    path = folder / name
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise errors.invalid("inputs", name, f"be a file or a folder, seen from {folder}", "correct the path")
    return _digest(path, _own(folder, everything(path))) if path.is_dir() else _digest(path.parent, [path])


def _digest(folder: Path, files: Iterable[Path]) -> str:
    found = [[path.relative_to(folder).as_posix(), folder_text.file_digest(path)] for path in files]
    return fsio.digest(found)[:_DIGITS]


def _walk(folder: Path, is_apart: Callable[[Path], bool]) -> Iterator[Path]:
    """Files below a folder, in the order of their paths."""
    return (path for path in folder_text.walk(folder, is_apart) if path.is_file())


def _is_closed(folder: Path) -> bool:
    """Whether a folder is not ours to look into."""
    return not os.access(folder, os.R_OK | os.X_OK) or folder.resolve() == paths.results_dir()


def _is_apart(folder: Path) -> bool:
    """Whether a folder holds none of the program's own files."""
    return (
        folder.name.startswith(".")
        or folder.name in _NOT_SOURCES
        or _is_closed(folder)
        or any((folder / name).exists() for name in ("pyvenv.cfg", "conda-meta"))
    )
