"""Numbered files of a sweep, each with the hash of the one before, the first with that of the frozen plan.

``STEM-K.json`` is created at once or not at all, and never replaced, so that drivers that start together
agree; one that was edited, taken away or belongs to another plan is refused.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Protocol, TypeVar

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.errors import ConfigError, DamagedError, FrozenPlanError


class Link(Protocol):
    """What one of the files holds; it is a dataclass.

    Attributes:
        previous: hash of the file before, or of the frozen plan.
        sha256: of the file's content; not written.
    """

    @property
    def previous(self) -> str: ...
    @property
    def sha256(self) -> str: ...


Kind = TypeVar("Kind", bound=Link)


def files(sweep_dir: Path, stem: str) -> list[Path]:
    """Those that are there, in the order of their numbers."""
    name = re.compile(rf"{re.escape(stem)}-([1-9][0-9]*)\.json")
    found = {int(match[1]): path for path in sweep_dir.iterdir() if (match := name.fullmatch(path.name))}
    return [found[number] for number in sorted(found)]


def read(path: Path, kind: type[Kind], version: int) -> Kind:
    """One of them, without looking at those before it.

    Raises:
        FileNotFoundError: there is none.
        DamagedError, ConfigError: it was edited.
        SweepkitError: a newer version wrote it.
    """
    content = fsio.read_json(path)
    sealed.check_version(path, content, version)
    return dataclasses.replace(typed.load(kind, content), sha256=fsio.digest(content))  # type: ignore[type-var]


def load(sweep_dir: Path, stem: str, kind: type[Kind], version: int, frozen_sha256: str) -> tuple[Kind, ...]:
    """All of them, in order.

    Raises:
        FrozenPlanError: one was edited, is missing, or belongs to another plan.
        SweepkitError: a newer version wrote one.
    """
    found: list[Kind] = []
    previous = frozen_sha256
    for place, there in enumerate(files(sweep_dir, stem), start=1):
        path = sweep_dir / f"{stem}-{place}.json"
        try:
            link = read(path, kind, version)
            is_intact = link.previous == previous and path == there
        except (FileNotFoundError, DamagedError, ConfigError):
            is_intact = False
        if not is_intact:
            raise FrozenPlanError(
                f"{path} is missing, edited or of another plan, but must be what was recorded before what it "
                f"asks for was run; restore it, or delete {path.parent} and start the sweep again (finished "
                "runs are kept)"
            )
        found.append(link)
        previous = link.sha256
    return tuple(found)


def record(path: Path, link: Link) -> None:
    """Write the next one; another driver that was first with the very same is fine.

    Raises:
        FrozenPlanError: another one of that number was recorded meanwhile.
    """
    content = fsio.finite(typed.dump(link))
    if not fsio.create_json(path, content) and fsio.read_json(path) != content:
        raise FrozenPlanError(
            f"{path} was recorded by another command meanwhile and asks for something else; look at it with "
            "sweepkit status, and go on with what it asks for"
        )
