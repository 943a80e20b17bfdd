"""A copy of the package and its configuration for queued runs, so that later edits do not reach them.

``results/.slurm/snapshots/<digest>/`` holds ``sweepkit/`` and ``conf/``; equal content is one snapshot. A run
in it records the commit of the checkout that it was copied from; where several commits have this content,
which then differ in nothing that runs, the first (``commits.write``).
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import shutil
from pathlib import Path

import sweepkit
from sweepkit import fsio
from sweepkit.code import tree
from sweepkit.config import commits, own_conf
from sweepkit.errors import SweepkitError

_PACKAGE = "sweepkit"
_SHELL = frozenset({"PYTHONPATH", "SWEEPKIT_CONF_DIR"})  # which ``shell_lines`` says
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")


def take(root: Path) -> Path:
    """The snapshot's folder below ``root``; copies only where there is none of this content."""
    package = Path(sweepkit.__file__).resolve().parent
    conf = own_conf.of_all_commands()
    folder = root / _digest([package, conf])
    if folder.is_dir():
        commits.write(folder)
        return folder
    with fsio.explain_full_disk(folder):
        temporary = fsio.make_temporary(folder)
        try:
            shutil.copytree(package, temporary / _PACKAGE, ignore=_SKIPPED)
            shutil.copytree(conf, temporary / "conf", ignore=_SKIPPED)
            own_conf.close(temporary / "conf")
            commits.write(temporary)
            with contextlib.suppress(OSError):  # somebody else was first
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def shell_lines(folder: Path) -> list[str]:
    """What a job script exports to use the snapshot."""
    return [
        f"export PYTHONPATH={shlex.quote(str(folder))}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"export SWEEPKIT_CONF_DIR={shlex.quote(str(folder / 'conf'))}",
    ]


def tree_lines(folder: Path) -> list[str]:
    """What a job script exports to carry out the runs of a frozen tree, several processes each.

    Raises:
        SweepkitError: the tree has an environment of its own, which ranks that Slurm starts are not of.
    """
    if tree.note(folder).get("python"):
        raise SweepkitError(
            f"{folder.name} has an environment of its own, but must share this one where several processes "
            "train a run on Slurm; use launcher.processes_per_run=1, or install what it needs here"
        )
    others = {name: value for name, value in tree.worker_environment(folder).items() if name not in _SHELL}
    return [*shell_lines(folder), *(f"export {name}={shlex.quote(value)}" for name, value in others.items())]


def _digest(folders: list[Path]) -> str:
    content = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content.update(f"{path.relative_to(folder)}\0".encode())
                content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:16]
