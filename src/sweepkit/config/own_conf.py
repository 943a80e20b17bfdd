"""The folder to compose from: the shipped one, with configuration files of the user's own put over it.

``./conf`` and the folders of ``--config-dir`` come before the shipped folder, those of ``hydra.searchpath``
behind it, as in any Hydra application. A YAML file there, in a folder that is named as a group, adds an
option to the group or takes the place of another folder's; nothing else is looked at, ``config.yaml``
neither, and a file without a single field of ours is another program's.

All is put together in one folder of the cache, named by its content, so that Hydra, a snapshot for Slurm and
an error message see one folder. A note in it says where own files came from, and makes it whole: a queued run
uses the files of the hour it was submitted in.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from sweepkit import errors, fsio
from sweepkit.config import facts, paths
from sweepkit.config.schema import RunConfig

_NOTE = "own_files.json"
_PACKAGE = re.compile(r"^# *@package +(\S+) *$", re.MULTILINE)
#: Folders of ``--config-dir``, of the command that is being carried out and of the processes that it starts.
_GIVEN = "SWEEPKIT_CONFIG_DIRS"
#: Folders of ``hydra.searchpath`` that this process composed with: a snapshot needs them as well.
_searched: dict[str, None] = {}


@dataclass(frozen=True)
class OwnFile:
    """A file of the user's own, by the name of its option (``model/mine``).

    Attributes:
        path: where it is.
        replaces: there is a shipped file of that name.
        left_out: why it is not taken for one of ours; empty where it is used.
        no_effect: settings of Hydra's own in it that nothing reads.
    """

    path: str
    replaces: bool
    left_out: str = ""
    no_effect: tuple[str, ...] = ()


@contextlib.contextmanager
def beside(folders: Sequence[str]) -> Iterator[None]:
    """Compose with these folders as well, the first of them before all others.

    Raises:
        ConfigError: one does not exist.
    """
    found = [*given(), *(_existing("--config-dir", folder) for folder in folders)]
    before = os.environ.get(_GIVEN, "")
    os.environ[_GIVEN] = os.pathsep.join(map(str, found))
    _searched.clear()
    try:
        yield
    finally:
        os.environ[_GIVEN] = before


def given() -> list[Path]:
    """The folders of ``--config-dir``, in their order."""
    return [Path(folder) for folder in os.environ.get(_GIVEN, "").split(os.pathsep) if folder]


def folder(searchpath: Iterable[str] = ()) -> Path:
    """The folder to compose from.

    Args:
        searchpath: of ``hydra.searchpath``.

    Raises:
        ConfigError: a folder does not exist, or the shipped one is none.
    """
    shipped = paths.conf_dir()
    if (shipped / _NOTE).is_file():
        return shipped
    searched = [_existing("hydra.searchpath", entry) for entry in searchpath]
    _searched.update(dict.fromkeys(map(str, searched)))
    here = Path("conf").absolute()
    theirs = [each for each in (shipped, paths.shipped("conf")) if each.is_dir()]
    mine = [here] if here.is_dir() and not any(map(here.samefile, theirs)) else []
    layers = [*given(), *mine, shipped, *searched]
    if layers == [shipped]:
        return shipped
    groups = _groups(shipped)
    found = [(layer == shipped, tuple(_files(layer, groups))) for layer in layers]
    if not any(files for is_shipped, files in found if not is_shipped):
        return shipped
    return _together(shipped, tuple(found), paths.cache_dir() / "conf")


def of_all_commands() -> Path:
    """``folder`` with every search path that this process has composed with."""
    return folder(tuple(_searched))


def close(folder: Path) -> None:
    """Make a copy of what ``folder`` gave whole: no file of anybody's is put over it any more."""
    if not (folder / _NOTE).is_file():
        fsio.write_json(folder / _NOTE, {})


def own_files(composed: Path) -> Mapping[str, OwnFile]:
    """Option → file, of the user's own files in a folder that ``folder`` gave."""
    return _noted(composed, (composed / _NOTE).is_file())


def say(composed: Path, used: Iterable[str]) -> None:
    """Tell which of the user's files a composition used, and which it did not although they bear the name."""
    own = own_files(composed)
    for name in used:
        if (file := own.get(name)) is None:
            continue
        path = Path(file.path)
        short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        if file.left_out:
            text = f"{short} is not used: {file.left_out}"
        else:
            text = f"{short} is used" + (" in place of the shipped file" if file.replaces else "")
            if file.no_effect:
                text += f"; {', '.join(file.no_effect)} in it has no effect"
        warnings.warn(text, errors.Notice, stacklevel=2)


def shown(composed: Path, text: str) -> str:
    """An error's text with the user's own file in place of its copy."""
    for name, file in own_files(composed).items():
        text = text.replace(f"{composed / name}.yaml", file.path)
    return text


def prefix_of(name: str, text: str) -> str:
    """The dotted name that the keys of an option's file stand under; empty for the whole configuration."""
    found = _PACKAGE.search(text)
    package = found[1] if found else "_group_"
    group = name.partition("/")[0] if "/" in name else ""
    return re.sub(r"^_global_\.?", "", package.replace("_group_", group))


@lru_cache(maxsize=64)
def _together(shipped: Path, layers: tuple[tuple[bool, tuple[Any, ...]], ...], cache: Path) -> Path:
    """Everything in one folder; the first layer that has a name gives its file."""
    chosen: dict[str, Path] = {
        "config": shipped / "config.yaml",
        "command_line": shipped / "command_line.yaml",
    }
    own: dict[str, OwnFile] = {}
    names = {name for is_shipped, files in layers if is_shipped for name, *_ in files}
    for is_shipped, files in layers:
        for name, path, *_ in files:
            if is_shipped:
                chosen.setdefault(name, path)
            elif (
                name not in own and (name not in chosen) and not _is_the_same(shipped / f"{name}.yaml", path)
            ):
                found = own[name] = _looked_at(name, path, name in names)
                if not found.left_out:
                    chosen[name] = path
    content = {name: path.read_bytes() for name, path in sorted(chosen.items())}
    note = {name: vars(file) | {"no_effect": list(file.no_effect)} for name, file in sorted(own.items())}
    digest = fsio.digest([{name: data.hex() for name, data in content.items()}, note])[:16]
    target = cache / digest
    if target.is_dir():
        return target
    with fsio.explain_full_disk(target):
        temporary = fsio.make_temporary(target)
        try:
            for name, data in content.items():
                path = temporary / f"{name}.yaml"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            fsio.write_json(temporary / _NOTE, note)
            with contextlib.suppress(OSError):  # somebody else was first
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _looked_at(name: str, path: Path, replaces: bool) -> OwnFile:
    """What a file of the user's is to us."""
    try:
        text = path.read_text()
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError):
        return OwnFile(str(path), replaces)  # Hydra says what is wrong with it, if it is chosen
    if content is None:
        return OwnFile(str(path), replaces)
    if not isinstance(content, dict):
        return OwnFile(str(path), replaces, "it does not map keys to values")
    hydras = content.get("hydra")
    settings = hydras if isinstance(hydras, dict) else {}
    no_effect = tuple(f"hydra.{key}" for key in settings if key != "sweeper")
    keys = set(_keys({key: item for key, item in content.items() if key not in ("defaults", "hydra")}))
    if not keys:
        return OwnFile(str(path), replaces, "", no_effect)
    prefix = prefix_of(name, text)
    full = {f"{prefix}.{key}" if prefix else key for key in keys}
    is_instantiated = any(key.rpartition(".")[2] == "_target_" for key in full)
    if is_instantiated or full.isdisjoint(facts.fields_of(RunConfig)):
        return OwnFile(str(path), replaces, "it is another program's, for it sets no field of a run")
    return OwnFile(str(path), replaces, "", no_effect)


def _keys(content: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _is_the_same(shipped: Path, path: Path) -> bool:
    return shipped.is_file() and shipped.read_bytes() == path.read_bytes()


def _files(layer: Path, groups: Sequence[str]) -> Iterator[tuple[str, Path, int, int]]:
    """Option, path, time of change and size of every file in a folder that is named as a group."""
    for group in groups:
        for path in sorted((layer / group).rglob("*.yaml")):
            if path.is_file():
                status = path.stat()
                name = path.relative_to(layer).with_suffix("").as_posix()
                yield name, path, status.st_mtime_ns, status.st_size


def _groups(shipped: Path) -> list[str]:
    if not shipped.is_dir():
        return []
    return sorted(path.name for path in shipped.iterdir() if path.is_dir() and path.name[0] != ".")


def _existing(what: str, entry: str | Path) -> Path:
    """A folder by its path, as Hydra writes it (``file://``, ``pkg://``) or as people do."""
    text = str(entry).removeprefix("file://")
    if text.startswith("pkg://"):
        package, _, inside = text.removeprefix("pkg://").partition("/")
        with contextlib.suppress(ImportError, ValueError):
            found = importlib.util.find_spec(package)
            for root in (found.submodule_search_locations or ()) if found else ():
                if (path := Path(root) / inside).is_dir():
                    return path.absolute()
    elif Path(text).is_dir():
        return Path(text).absolute()
    raise errors.invalid(what, str(entry), "be a folder that exists", "correct its path, or leave it out")


@lru_cache(maxsize=64)
def _noted(composed: Path, is_noted: bool) -> Mapping[str, OwnFile]:
    if not is_noted:
        return {}
    note = fsio.read_json(composed / _NOTE)
    return {
        name: OwnFile(**(item | {"no_effect": tuple(item["no_effect"])}))
        for name, item in note.items()
        if isinstance(item, dict)
    }
