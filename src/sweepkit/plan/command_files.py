"""The files that decide a command's numbers, by content: its program's, and its inputs.

The program's are those in its folder that are written in a programming language, by the ends of their names;
hidden folders, environments and results are none. Whatever else decides a number (data, configuration files,
a tokenizer) is to be listed under ``inputs``, files or folders, and is digested whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sweepkit import errors, fsio
from sweepkit.config import paths
from sweepkit.errors import DataError
from sweepkit.plan import folder_text
from sweepkit.plan.command_plan import Program

#: Of languages that trainers are written in.
_SUFFIXES = (
    ".py", ".pyx", ".sh", ".bash", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".cu", ".cuh", ".rs", ".go",
    ".java", ".jl", ".js", ".ts", ".lua", ".r", ".f90", ".toml",
)  # fmt: skip
_NOT_SOURCES = frozenset({"__pycache__", "node_modules", "site-packages", "wandb", "outputs"})
_DIGITS = 16


def code(folder: Path) -> str:
    """16 hex digits of the program's files in a folder. Raises ConfigError where there is no such folder."""
    if not folder.is_dir():
        raise errors.invalid("folder", str(folder), "be a folder", "name the one that the command starts in")
    return _digest(folder, filter(is_source, files(folder)))


def is_source(path: Path) -> bool:
    """Whether a file is written in a programming language."""
    return path.suffix.lower() in _SUFFIXES


def files(folder: Path) -> Iterator[Path]:
    """All files of a program's folder, in the order of their paths."""
    return _walk(folder, _is_apart)


def digest(folder: Path) -> str:
    """16 hex digits of all files in a folder."""
    return _digest(folder, _walk(folder, lambda _: False))


def inputs(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Name as written → digest of that file, or of all files in that folder.

    Raises:
        ConfigError: there is nothing of that name.
    """
    return {name: _input(folder, name) for name in names}


def check(program: Program) -> None:
    """Refuse to run other files than those that a run is named by.

    Raises:
        DataError: some were edited, added or removed since it was planned.
    """
    folder = Path(program.folder)
    own = f"the program in {folder}"
    now = {own: code(folder)} | inputs(folder, list(program.inputs))
    for what, digest in ({own: program.code} | program.inputs).items():
        if now[what] != digest:
            raise DataError(
                f"{what} has the digest {now[what]}, but must have {digest}, by which its runs are named: "
                "files were edited, added or removed since they were planned; restore them, or give the "
                "sweep file a new name, which makes them other runs"
            )


def _input(folder: Path, name: str) -> str:
    path = folder / name
    if not path.exists():
        raise errors.invalid("inputs", name, f"be a file or a folder, seen from {folder}", "correct the path")
    return _digest(path, _walk(path, lambda _: False)) if path.is_dir() else _digest(path.parent, [path])


def _digest(folder: Path, files: Iterable[Path]) -> str:
    found = [[path.relative_to(folder).as_posix(), folder_text.file_digest(path)] for path in files]
    return fsio.digest(found)[:_DIGITS]


def _walk(folder: Path, is_apart: Callable[[Path], bool]) -> Iterator[Path]:
    """Files below a folder, in the order of their paths."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_apart(Path(place, name)))
        yield from (path for name in sorted(files) if (path := Path(place, name)).is_file())


def _is_apart(folder: Path) -> bool:
    """Whether a folder holds none of the program's own files."""
    return (
        folder.name.startswith(".")
        or folder.name in _NOT_SOURCES
        or (folder / "pyvenv.cfg").exists()
        or folder.resolve() == paths.results_dir()
    )
