"""The program of any command, frozen: the reference's, and what a git ref, a patch or a folder makes of it.

A copy of the folder that the command is started in, kept beside the other frozen trees and named by its
content; runs start in it, so that an edit of the folder changes nothing. Copied are the program's files, what
git has of the folder (without git, what is small) and inputs that are not large. Everything else is a link to
where it is, and live: large files, what git ignores, an environment. A ref brings what it changes since its
merge base with the last commit. Beside each copy stands what it was frozen with: runs leave caches in it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sweepkit import fsio
from sweepkit.code import git, patch, refs, unread
from sweepkit.code.git import GitError
from sweepkit.code.levels import FOLDER, Level
from sweepkit.code.making import WORKTREE
from sweepkit.config import paths
from sweepkit.errors import invalid
from sweepkit.plan import command_files, folder_text

_PREFIX = "program_"
_AS_IT_IS = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--binary")
#: Bytes of a file that is no source, up to which it is copied.
_MOST_OF_A_FILE = 8 << 20
_HERE = "the program that is here"
#: What a copy has no use for.
_LEFT_OUT = (".git", "__pycache__")


def reference(folder: Path, inputs: Sequence[str], trees: Path, is_committed: bool = False) -> Level:
    """The program that is there, copied.

    Args:
        folder: where the command is started.
        inputs: of the command, as written.
        trees: holds all frozen code.
        is_committed: take what is not committed back, for that is a level.

    Raises:
        ConfigError: there is no such folder or input, or an input lies beside it.
    """
    command_files.code(folder)  # raises
    command_files.inputs(folder, inputs)
    for name in inputs:
        if not Path(name).is_absolute() and ".." in Path(name).parts:
            contract = (
                "lie in the command's folder, or be a whole path, for the program is started from a copy"
            )
            raise invalid("inputs", name, contract, f"write {(folder / name).resolve()}")
    with _scratch(trees) as work:
        _copy(folder, work, inputs)
        links = _live(folder, work)
        if is_committed:
            _uncommit(folder, work)
        name, live = _kept(work, trees, links)
    return Level(str(folder), name, "here", live=live)


def _uncommit(folder: Path, work: Path) -> None:
    """Take back what is not committed; of what git does not know, source files alone."""
    if git.commit(folder, "HEAD") is None:
        contract = f"be in a repository with a commit, and {folder} is not"
        raise invalid("axes", WORKTREE, contract, "commit what is the reference, or write a patch")
    change = git.run(folder, "diff", "--relative", "--ignore-submodules", *_AS_IT_IS, "HEAD", "--", ".")
    if change:
        patch.apply("axes", change, work, _HERE, "-R")
    for name in git.lines(folder, "ls-files", "--others", "--exclude-standard"):
        if command_files.is_source(work / name):
            (work / name).unlink(missing_ok=True)


def level(where: str, text: str, folder: Path, base: Path, inputs: Sequence[str], trees: Path) -> Level:
    """A level's program.

    Args:
        where: the place it was named in, for errors.
        text: a git ref, a patch or a folder, seen from the current folder.
        folder: where the command is started.
        base: the reference's copy.
        inputs, trees: as for ``reference``.

    Raises:
        ConfigError: it is none of these, does not apply, or changes nothing.
    """
    source, change, span = None, b"", None
    if Path(text).exists() and git.commit(folder, text) is not None:
        contract = "name one thing, and is a path as well as a git ref"
        raise invalid(where, text, contract, f"write ./{text}, or of the branch refs/heads/{text}")
    if text == WORKTREE:
        source, kind = folder, WORKTREE
    elif Path(text).is_dir():
        source, kind = Path(text).resolve(), FOLDER
    elif Path(text).is_file():
        change, kind = unread.without_mark(Path(text).read_bytes()), "patch"
        patch.read(where, change)
    else:
        span, kind = _span(where, text, folder), "ref"
        change = _change(where, text, folder, span)
    with _scratch(trees) as work:
        if source:
            _copy(source, work, inputs)
            links = _live(source, work)
            for name in inputs:  # what it has not is the reference's
                if not Path(name).is_absolute() and not (work / name).exists() and name not in links:
                    _bring(base / name, work / name)
        else:
            patch.refuse_links(where, change)
            _again(base, work)
            links = {}
            patch.apply(f"{where} ({text})", change, work, _HERE)
        files: dict[str, tuple[int, ...]] = {
            **patch.counts(patch.of_texts(patch.texts(base), patch.texts(work)))
        }
        if _content(work, inputs) == _content(base, inputs) and not command_files.changed(work, files):
            contract = "change a file of the program"
            raise invalid(where, text, contract, "check which branch or file it is, or leave it out")
        name, live = _kept(work, trees, links)
    found = Level(text, name, kind, files=files, live=live)
    return replace(found, commit=span.ref, base=span.base, commits=span.own) if span else found


@contextlib.contextmanager
def _scratch(trees: Path) -> Iterator[Path]:
    fsio.make_folder(trees)
    scratch = fsio.make_temporary(trees / _PREFIX)
    try:
        (scratch / "work").mkdir()
        yield scratch / "work"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _kept(work: Path, trees: Path, links: dict[str, Path]) -> tuple[str, tuple[str, ...]]:
    """Move a copy among the trees: its name, and what in it is a link that a run may see change."""
    for name, target in links.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).symlink_to(target)
    found = {
        path.relative_to(work).as_posix(): str(path.readlink())
        for place, folders, files in os.walk(work)
        for path in (Path(place, name) for name in (*folders, *files))
        if path.is_symlink()
    }
    own = _PREFIX + fsio.digest([command_files.digest(work), found])[:16]
    name = next(name for name in _names(own) if _is_free(work, trees / name))
    every = [path.relative_to(work).as_posix() for path in command_files.unlinked(work)]
    fsio.write_json(command_files.contents_path(trees / name), {"files": sorted({*every, *found})})
    command_files.contents.cache_clear()
    try:
        work.rename(trees / name)
    except OSError:
        if not (trees / name).is_dir():  # it is there, or somebody else was first
            raise
    outside = [path for path, target in found.items() if Path(target).is_absolute()]
    return name, tuple(
        sorted(path for path in outside if not any(part[0] == "." for part in Path(path).parts))
    )


def _names(own: str) -> Iterator[str]:
    """Of a copy, and of others of the same where runs have written into it."""
    yield own
    yield from (f"{own}-{place}" for place in itertools.count(2))


def _is_free(work: Path, place: Path) -> bool:
    """Whether nothing is there, or all files of the copy as they are; others may be caches of runs."""
    if not place.is_dir():
        return True
    every = [path.relative_to(work) for path in command_files.unlinked(work)]
    with contextlib.suppress(OSError):  # one is gone
        return all(
            folder_text.file_digest(place / path) == folder_text.file_digest(work / path) for path in every
        )
    return False


def _span(where: str, text: str, folder: Path) -> refs.Span:
    if (found := refs.span(where, text, folder)) is None:
        contract = f"be a git ref of {folder}, a patch, a folder or {WORKTREE}"
        raise invalid(where, text, contract, "check its name (git branch -a), or the file's path")
    return found


def _change(where: str, text: str, folder: Path, span: refs.Span) -> bytes:
    """What a ref changes in the folder, as a patch seen from it."""
    change = git.run(folder, "diff", "--relative", *_AS_IT_IS, span.base, span.ref, "--", ".")
    if not change:
        contract = f"change a file of {folder} since {span.base[:9]}"
        raise invalid(where, text, contract, "check which branch it is")
    return change


def _again(base: Path, work: Path) -> None:
    """Copy a frozen copy as it was frozen."""
    for name in command_files.contents(base) or ():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(base / name, work / name, follow_symlinks=False)


def _copy(source: Path, work: Path, inputs: Sequence[str]) -> None:
    """The program's files, what git has beside them, and inputs that are not large."""
    listed = None
    with contextlib.suppress(GitError):
        listed = set(git.lines(source, "ls-files", "--cached", "--others", "--exclude-standard"))
    own = [source / name for name in inputs if not Path(name).is_absolute() and (source / name).exists()]
    linked = [path for path in own if _is_linked(path) or _size(path) > command_files.MOST]
    for path in command_files.files(source):
        is_kept = command_files.is_source(path) or (
            (listed is None or path.relative_to(source).as_posix() in listed)
            and not any(map(_is_linked, path.parents[: len(path.relative_to(source).parts) - 1]))
            and path.stat().st_size <= _MOST_OF_A_FILE
        )
        if is_kept and not any(path.is_relative_to(item) for item in linked):
            _bring(path, work / path.relative_to(source))
    for path in own:
        if path not in linked:
            _bring(path, work / path.relative_to(source))


def _bring(path: Path, target: Path) -> None:
    """A copy of a file, or of all files in a folder; of links what they lead to, but of a linked folder."""
    if _is_linked(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
        return
    for file in command_files.everything(path) if path.is_dir() else [path]:
        place = target / file.relative_to(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)


def _is_linked(path: Path) -> bool:
    """Whether it is a link to a folder."""
    return path.is_symlink() and path.is_dir()


def _live(source: Path, work: Path, above: tuple[str, ...] = ()) -> dict[str, Path]:
    """Path → where it is, of what a folder has and its copy has not; a link to a folder it lies in stays one.

    Args:
        above: the folders that this one lies in, from the first on.
    """
    above = (*above, os.path.realpath(source))
    found: dict[str, Path] = {}
    for path in sorted(source.iterdir()):
        if path.name in _LEFT_OUT or Path(os.path.realpath(path)) == paths.results_dir():
            continue
        copied, real = work / path.name, os.path.realpath(path)
        if not copied.exists():
            is_round = path.is_dir() and real in above
            found[path.name] = Path(*[".."] * above[::-1].index(real)) if is_round else path.absolute()
        elif path.is_dir() and not copied.is_symlink():
            found |= {f"{path.name}/{name}": place for name, place in _live(path, copied, above).items()}
    return found


def _content(folder: Path, inputs: Sequence[str]) -> object:
    return command_files.code(folder), command_files.inputs(folder, inputs)


def _size(path: Path) -> int:
    every = command_files.everything(path) if path.is_dir() else [path]
    return sum(item.stat().st_size for item in every)
