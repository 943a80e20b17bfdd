"""The program of any command as a level: what a git ref, a patch or a folder makes of the one that is there.

A copy of the program's folder, without what git ignores, with the changes on top; inputs are links to where
they are. It is kept beside the other frozen trees, named by its content, and the runs of the level start in
it. A ref brings what it changes since its merge base with the last commit.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from sweepkit import fsio
from sweepkit.code import git, refs
from sweepkit.code.git import GitError
from sweepkit.errors import invalid
from sweepkit.plan import command_files

_PREFIX = "program_"
_AS_IT_IS = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--binary")


def frozen(where: str, text: str, folder: Path, inputs: Sequence[str], trees: Path) -> Path:
    """The folder of a level's program, made if it is not there yet.

    Args:
        where: the place it was named in, for errors.
        text: a git ref, a patch or a folder, seen from the current folder.
        folder: where the command is started.
        inputs: of the command, as written.
        trees: holds all frozen code.

    Raises:
        ConfigError: it is none of these, does not apply, or changes nothing.
    """
    source, change = folder, b""
    if Path(text).is_dir():
        source = Path(text).resolve()
    elif Path(text).is_file():
        change = Path(text).read_bytes()
    else:
        change = _of_ref(where, text, folder)
    fsio.make_folder(trees)
    scratch = fsio.make_temporary(trees / _PREFIX)
    try:
        work = scratch / "work"
        _copy(source, work, [(folder / name).resolve() for name in inputs])
        if change:
            _apply(where, text, change, work)
        if command_files.code(work) == command_files.code(folder):
            contract = "change a file of the program"
            raise invalid(where, text, contract, "check which branch or file it is, or leave it out")
        name = _PREFIX + command_files.digest(work)
        _link(folder, work, inputs)
        if not (trees / name).exists():
            work.rename(trees / name)
        return trees / name
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _of_ref(where: str, text: str, folder: Path) -> bytes:
    """What a ref changes in the folder, as a patch seen from it."""
    remedy = "check its name (git branch -a), or the file's path"
    if (ref := git.commit(folder, text)) is None:
        raise invalid(where, text, f"be a git ref of {folder}, a patch or a folder", remedy)
    try:
        base = git.lines(folder, "merge-base", "HEAD", ref)[0]
    except GitError:
        raise invalid(
            where, text, "have a commit in common with the last one", "write it as a patch"
        ) from None
    refs.refuse_others(where, text, folder, base, ref)
    change = git.run(folder, "diff", "--relative", *_AS_IT_IS, base, ref, "--", ".")
    if not change:
        raise invalid(where, text, f"change a file of {folder} since {base[:9]}", "check which branch it is")
    return change


def _copy(source: Path, work: Path, inputs: Sequence[Path]) -> None:
    """What git has of a folder, or all of it where git has nothing; inputs are linked instead."""
    files = list(command_files.files(source))
    with contextlib.suppress(GitError):
        listed = set(git.lines(source, "ls-files", "--cached", "--others", "--exclude-standard"))
        files = [path for path in files if path.relative_to(source).as_posix() in listed]
    for path in files:
        if not any(path.resolve().is_relative_to(item) for item in inputs):
            target = work / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def _apply(where: str, text: str, change: bytes, work: Path) -> None:
    try:
        git.run(work, "apply", "--whitespace=nowarn", "-", given=change, ceiling=True)
    except GitError as error:
        said = str(error).replace("error: ", "")
        contract = f"apply to the program that is here ({said})"
        raise invalid(where, text, contract, "rebase the branch, or write the patch anew") from None


def _link(folder: Path, work: Path, inputs: Sequence[str]) -> None:
    for name in inputs:
        target = work / name
        if not Path(name).is_absolute() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((folder / name).resolve())
