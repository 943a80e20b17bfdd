"""A frozen sweep's folder: all that is frozen appears in it in one step, and goes in one."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from sweepkit import fsio
from sweepkit.code import levels, tree
from sweepkit.config import typed
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.frozen_head import FROZEN_FILE, Head
from sweepkit.sweep.frozen_lines import PLAN_FILE


def write(sweep_dir: Path, head: Head, cells: Sequence[Cell]) -> None:
    """Create all files in one step; losing the race to another driver is fine."""
    plan = "".join(fsio.canonical_json(fsio.finite(typed.dump(cell))) + "\n" for cell in cells)
    head = dataclasses.replace(head, plan_sha256=hashlib.sha256(plan.encode()).hexdigest())
    with fsio.explain_full_disk(sweep_dir):
        folder = fsio.make_temporary(sweep_dir)
        try:
            fsio.write_text(folder / PLAN_FILE, plan)
            fsio.write_json(folder / FROZEN_FILE, typed.dump(head))
            if head.code:
                levels.write_patches(head.code, tree.root(sweep_dir.parent), folder)
            with contextlib.suppress(OSError):  # another driver was first, or a stray file
                folder.rename(sweep_dir)
            if not exists(sweep_dir):
                patches = [path.name for path in folder.glob(levels.PATCHES)]
                for name in (*patches, PLAN_FILE, FROZEN_FILE):
                    (folder / name).replace(sweep_dir / name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def drop(sweep_dir: Path) -> None:
    """Take both files away in one step, so that no other driver finds half of them."""
    aside = fsio.make_temporary(sweep_dir)
    with contextlib.suppress(FileNotFoundError):  # another driver did
        sweep_dir.rename(aside / sweep_dir.name)
    shutil.rmtree(aside, ignore_errors=True)


def exists(sweep_dir: Path) -> bool:
    """Whether anything of a frozen sweep is there."""
    return (sweep_dir / FROZEN_FILE).exists() or (sweep_dir / PLAN_FILE).exists()
