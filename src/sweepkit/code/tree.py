"""A tree: a copy of the package and its configuration, named by its content and never changed.

``results/.code/<tree>/`` holds ``sweepkit/``, ``conf/``, the commit that it was copied from and
``tree.json``. Every process that plans or carries out runs of a tree is started with it as its package
(``environment``). A tree is named by its content, so that any number of sweeps and runs share it, and is
compared with its name before it is used. What else decides its runs is in the name too: an interpreter of its
own, and that it makes rows of text in another way than the reference (``cache``).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import sweepkit
from sweepkit import fsio
from sweepkit.config import commits, own_conf, paths
from sweepkit.errors import DamagedError, SweepkitError, invalid

#: Folder of a results folder in which they are.
TREES = ".code"
PACKAGE, CONF = "sweepkit", "conf"
#: Where they are in a checkout, and in patches.
CHECKOUT = {f"src/{PACKAGE}": PACKAGE, CONF: CONF}
NOTE, _PREFIX, _DIGITS = "tree.json", "tree_", 16
#: What the note says that decides runs.
_DECIDING = ("python", "cache")
#: Tells a process which tree it is of.
NAME = "SWEEPKIT_TREE"
_SKIPPED = ("__pycache__", "own_files.json")
#: What a wheel has inside of the package, and a checkout beside it.
_SHIPPED = frozenset({"conf", "sweeps", "ideas"})


def root(results_dir: Path) -> Path:
    """The folder that holds all trees of a results folder."""
    return results_dir / TREES


def is_id(text: object) -> bool:
    """Whether it is a tree's name and nothing else could be."""
    return isinstance(text, str) and text.startswith(_PREFIX) and len(text) == len(_PREFIX) + _DIGITS


@functools.cache
def here() -> str | None:
    """The tree that this process's own package is of; None for a checkout, a wheel, a snapshot."""
    folder = Path(sweepkit.__file__).resolve().parents[1]
    return folder.name if (folder / NOTE).is_file() and is_id(folder.name) else None


def copy_here(folder: Path) -> None:
    """Copy the running package and the configuration that is composed from, as a checkout has them."""
    copy_package(Path(sweepkit.__file__).resolve().parent, folder / "src" / PACKAGE)
    copy_package(own_conf.of_all_commands(), folder / CONF, is_package=False)


def copy_package(source: Path, target: Path, is_package: bool = True) -> None:
    """A copy of one of the two folders. Raises ConfigError where there is a symbolic link in it."""

    def skipped(folder: str, names: list[str]) -> list[str]:
        inside = _SHIPPED if is_package and Path(folder) == source else frozenset()
        return [name for name in names if name in _SKIPPED or name in inside or name.endswith(".pyc")]

    shutil.copytree(source, target, ignore=skipped, symlinks=True)
    refuse_links(target)


def refuse_links(folder: Path) -> None:
    """Raises ConfigError for a symbolic link: what it points to would not be frozen."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            contract = "hold files and folders, and no symbolic link, behind which code could change"
            raise invalid("code", path.relative_to(folder).as_posix(), contract, "put the file itself there")


def keep(work: Path, trees: Path, note: dict[str, object], commit: dict[str, object]) -> str:
    """Move a tree, in the layout of a checkout, among the others; its name.

    Args:
        work: is emptied.
        trees: a ``root``.
        note: what ``tree.json`` says; where the tree is there already, the rest of it stays as it is.
        commit: what its records say that it was copied from.
    """
    made = work / "made"
    made.mkdir()
    for place, name in CHECKOUT.items():
        (work / place).rename(made / name)
    own_conf.close(made / CONF)
    fsio.write_json(made / NOTE, note)
    name = _PREFIX + digest(made)
    fsio.write_json(made / commits.FILE, commit)
    fsio.make_folder(trees)
    temporary = fsio.make_temporary(trees / name)
    try:
        shutil.move(made, temporary / "whole")
        with contextlib.suppress(OSError):  # it is there, or somebody else was first
            (temporary / "whole").rename(trees / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name


def find(trees: Path, name: str) -> Path:
    """A tree's folder.

    Raises:
        SweepkitError: it is missing, or is not what its name says.
    """
    folder = trees / name
    if not folder.is_dir():
        raise SweepkitError(
            f"{folder} is missing, but must be the code that runs were frozen with; restore it, or "
            "freeze the sweep under a new name"
        )
    _check(folder, name)
    return folder


@functools.lru_cache(maxsize=256)
def _check(folder: Path, name: str) -> None:
    if name != _PREFIX + digest(folder):
        raise SweepkitError(
            f"{folder} was edited, but must be the code that runs were frozen with; restore it, or "
            "freeze the sweep under a new name"
        )


def note(folder: Path) -> dict[str, object]:
    """What ``tree.json`` says; nothing where it is damaged."""
    with contextlib.suppress(FileNotFoundError, DamagedError):
        return dict(fsio.read_json(folder / NOTE))
    return {}


def environment(folder: Path) -> dict[str, str]:
    """What a process is told so that a tree is its package and configuration, wherever it is started."""
    before = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": os.pathsep.join([str(folder), *([before] if before else [])]),
        "PYTHONSAFEPATH": "1",  # a folder sweepkit/ where it is started is not it
        "SWEEPKIT_CONF_DIR": str(folder / CONF),
        "SWEEPKIT_CONFIG_DIRS": "",
        NAME: folder.name,
    }


def worker_environment(folder: Path) -> dict[str, str]:
    """``environment`` of a process that carries out runs.

    A tree that makes rows and batches in another way keeps what it derives of text apart; downloads are
    shared.
    """
    found = environment(folder)
    if (apart := note(folder).get("cache")) is not None:
        shared = paths.cache_dir()
        own = shared / "code" / str(apart)
        with contextlib.suppress(OSError):  # it is there
            fsio.make_folder(own / "data")
            (own / "data" / "downloads").symlink_to(shared / "data" / "downloads")
        found["SWEEPKIT_CACHE_DIR"] = str(own)
    return found


def digest(folder: Path) -> str:
    """16 hex digits of the files of the package and the configuration, and of what else decides runs."""
    content = hashlib.sha256()
    for path in files(folder):
        content.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        content.update(hashlib.sha256(path.read_bytes()).digest())
    found = note(folder)
    if deciding := {key: found[key] for key in _DECIDING if found.get(key) is not None}:
        content.update(json.dumps(deciding, sort_keys=True).encode())
    return content.hexdigest()[:_DIGITS]


def files(folder: Path) -> Iterator[Path]:
    """Every file that counts, in order."""
    for part in (PACKAGE, CONF):
        yield from files_in(folder / part)


def files_in(part: Path) -> Iterator[Path]:
    """``files`` of the package or the configuration alone."""
    for path in sorted(part.rglob("*")):
        if path.is_file() and path.name not in _SKIPPED and "__pycache__" not in path.parts:
            yield path
