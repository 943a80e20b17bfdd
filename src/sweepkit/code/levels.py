"""What a sweep's code was frozen as: for every level its tree, where it came from, and its patch.

It stands in ``frozen.json``; beside it the patches, each against the reference's tree and named by its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.code import patch, tree
from sweepkit.config import sources
from sweepkit.printable import counted

#: Where text becomes rows, and losses numbers.
_MEASURING = tuple(
    f"src/sweepkit/{part}"
    for part in (
        *sources.ROWS,
        "training/evaluation.py",
        "training/by_document.py",
        "training/core_run.py",
        "results",
    )
)
#: A kind of level: what is in a folder; files that it lacks are not deleted by it.
FOLDER = "folder"
#: Files of a sweep's own folder.
PATCHES = "*.patch"


@dataclass(frozen=True)
class Level:
    """A frozen tree and what it was made of.

    Attributes:
        text: as it was written; of the reference, which may be written nowhere, what it is in words.
        tree: its name.
        kind: here, ref, patch, folder, worktree or tree.
        commit, base: of a ref, the commit and that which its changes start from.
        commits: of a ref, those that it adds, as ``1234567 subject``.
        files: path → lines added and removed.
        left_out: paths that it changes elsewhere, which are not applied.
        live: of a command's program, paths that are links to where they are, and may change.
        path: of a command's program, folders of it that are put first on ``PYTHONPATH``, since its packages
            are installed too.
    """

    text: str
    tree: str
    kind: str
    commit: str | None = None
    base: str | None = None
    commits: tuple[str, ...] = ()
    files: dict[str, tuple[int, ...]] | None = None
    left_out: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    path: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """``ideas/dyt.patch, 2 files +30 −4``."""
        added, removed = (sum(item[side] for item in (self.files or {}).values()) for side in (0, 1))
        return f"{self.text}, {counted(len(self.files or {}), 'file')} +{added} −{removed}"

    @property
    def measuring(self) -> str:
        """A sentence on files that also decide what a loss is; empty where none is changed."""
        found = [path for path in self.files or {} if path.startswith(_MEASURING)]
        return (
            f"it also changes what measures, so look before you believe: {', '.join(found)}" if found else ""
        )

    def __str__(self) -> str:
        """``in_words``, of a ref also its commits, what is left out, and what it should not have touched."""
        commits = f"; {', '.join(self.commits)}" if self.commits else ""
        out = f"; not of the package or conf: {', '.join(self.left_out)}" if self.left_out else ""
        live = f"; live, not frozen: {', '.join(self.live)}" if self.live else ""
        warning = f"; {self.measuring}" if self.measuring else ""
        return f"{self.in_words} ({self.tree}{commits}{out}{live}{warning})"


@dataclass(frozen=True)
class Code:
    """All trees of a sweep."""

    reference: Level
    levels: tuple[Level, ...] = ()

    def level(self, name: str | None) -> Level | None:
        """The level of a tree, or of what it was frozen of; None of the reference's."""
        return next((item for item in self.levels if name in (item.tree, item.text)), None)


def write_patches(code: Code, trees: Path, sweep_dir: Path) -> None:
    """Write what every level changes into a sweep's folder."""
    for level in code.levels:
        if tree.is_id(level.tree):
            text = patch.between(*(tree.find(trees, name) for name in (code.reference.tree, level.tree)))
        else:  # a command's program
            text = patch.of_texts(*(patch.texts(trees / name) for name in (code.reference.tree, level.tree)))
        fsio.write_text(patch_path(sweep_dir, level.tree), text)


def patch_path(sweep_dir: Path, name: str) -> Path:
    """Where the patch of a tree is."""
    return sweep_dir / f"{name}.patch"


def read_patch(sweep_dir: Path, name: str) -> str | None:
    """What a tree of a sweep changes; None where that was not kept."""
    path = patch_path(sweep_dir, name)
    return path.read_text() if path.is_file() else None
