"""Patches: what they may touch, putting one on a tree, and the difference of two trees as one.

A patch changes files of the package (``src/sweepkit/``) and of ``conf/``. Text alone: no binary file, link or
submodule, whose content would not be in the patch. What it changes elsewhere (tests, docs) is left out and
said; dependencies are the environment's, which all variants share, so a patch of them is refused.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sweepkit.code import git, tree, unread
from sweepkit.code.git import GitError
from sweepkit.errors import invalid
from sweepkit.plan import command_files

#: Files that say what is installed.
DEPENDENCIES = ("pyproject.toml", "constraints.txt")
_LINK_OR_MODULE = re.compile(
    rb"^(?:new file mode|deleted file mode|new mode|old mode|index \w+\.\.\w+) (120000|160000)\r?$",
    re.MULTILINE,
)
_BINARY = re.compile(rb"^(?:GIT binary patch|Binary files .* differ)\r?$", re.MULTILINE)
_MOVED = re.compile(rb'^(?:rename|copy) from "?(.+)\n(?:rename|copy) to "?(.+)$', re.MULTILINE)
_NO_END = "\\ No newline at end of file\n"


@dataclass(frozen=True)
class Touched:
    """What a patch changes.

    Attributes:
        files: path → lines added and removed.
        left_out: paths outside of the package and conf, of which nothing is applied.
    """

    files: dict[str, tuple[int, int]]
    left_out: tuple[str, ...] = ()


def touched(where: str, content: bytes) -> Touched:
    """What a patch changes.

    Args:
        where: the place it was named in, for errors.

    Raises:
        ConfigError: it is no patch, changes what it may not, or nothing of the package and conf.
    """
    paths = read(where, content)
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            contract = "name files inside of the checkout, without .. and from no root"
            raise invalid(where, path, contract, "write the patch with git diff in the checkout")
        if path in DEPENDENCIES:
            contract = "leave the dependencies alone, which all variants share"
            remedy = "install them for all and leave that file out, or give code: FOLDER with its own .venv"
            raise invalid(where, path, contract, remedy)
    for match in _MOVED.finditer(content):
        old, new = (side.decode(errors="replace").rstrip() for side in match.groups())
        if is_inside(old) != is_inside(new):
            contract = f"move no file into {' or '.join(tree.CHECKOUT)}, or out of it"
            raise invalid(where, f"{old} → {new}", contract, "write it with git diff --no-renames")
    inside = {path: number for path, number in paths.items() if is_inside(path)}
    if not inside:
        known = " and ".join(f"{part}/" for part in tree.CHECKOUT)
        remedy = "write it with git diff in the checkout, or check which branch or file it is"
        raise invalid(where, sorted(paths), f"change a file of {known}", remedy)
    return Touched(inside, tuple(sorted(set(paths) - set(inside))))


def read(where: str, content: bytes) -> dict[str, tuple[int, int]]:
    """Path → lines added and removed, of a patch that somebody wrote.

    Raises:
        ConfigError: git does not read it, or not all of it; or a file in it is no text, or a link.
    """
    refuse_links(where, content)
    if _BINARY.search(content):
        raise invalid(where, "a binary patch", "change files of text", "leave the binary file out")
    unread.refuse(where, content)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = git.run(Path(folder), "apply", "--numstat", "-z", "-", given=content, ceiling=True)
        except GitError as error:
            said = str(error).removeprefix("error: ").partition(" (allow")[0]
            raise invalid(where, "a file", f"be a patch ({said})", "write it with git diff") from None
    items = [item.split("\t", 2) for item in found.decode(errors="surrogateescape").split("\0")]
    return {item[2]: (int(item[0]), int(item[1])) for item in items if len(item) == 3 and item[0].isdecimal()}


def refuse_links(where: str, content: bytes) -> None:
    """Raises ConfigError for a patch of a symbolic link or a submodule."""
    if found := _LINK_OR_MODULE.search(content):
        what = "symbolic link" if found[1] == b"120000" else "submodule"
        contract = f"change files of text, and changes a {what}, whose content is elsewhere"
        raise invalid(where, f"a {what}", contract, "put the files themselves there")


def is_inside(path: str) -> bool:
    """Whether a path of a checkout is of the package or conf."""
    return any(path.startswith(f"{part}/") for part in tree.CHECKOUT)


def apply(where: str, content: bytes, work: Path, onto: str, *how: str) -> None:
    """Put a patch on a tree.

    Args:
        where: the place it was named in, for the error.
        onto: what the tree is, in words.
        how: options of ``git apply``.

    Raises:
        ConfigError: it does not apply; says why.
    """
    try:
        git.run(work, "apply", "--whitespace=nowarn", *how, "-", given=content, ceiling=True)
    except GitError as error:
        said = re.sub(r"error: ", "", str(error))
        is_elsewhere = "No such file" in said
        anew = (
            "write the patch in that folder (git diff --relative)" if is_elsewhere else "write the patch anew"
        )
        usual = said, f"rebase the branch, or {anew} against that"
        why, remedy = unread.reason(content, work, *how) or usual
        raise invalid(where, "a change", f"apply to {onto} ({why})", remedy) from None


def between(old: Path, new: Path) -> str:
    """What turns one tree into another, as a patch of a checkout; empty where they are equal.

    Args:
        old, new: as they are kept, or laid out as a checkout.
    """
    return of_texts(_texts(old), _texts(new))


def of_texts(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """``between`` of files by their paths. Raises ConfigError for a change that is no text."""
    parts: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            parts.append(_one(path, *(_decoded(path, side.get(path)) for side in (before, after))))
    return "".join(parts)


def texts(folder: Path) -> dict[str, bytes]:
    """Path → content of the files of a command's frozen program; links to live ones are none of it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in command_files.files(folder)
        if not path.is_symlink()
    }


def counts(text: str) -> dict[str, tuple[int, int]]:
    """Path → lines added and removed, of a patch that ``between`` wrote."""
    found: dict[str, tuple[int, int]] = {}
    path, is_head = "", False
    for line in text.split("\n"):
        if line.startswith("diff --git "):
            path, is_head = line.rpartition(" b/")[2], True
            found[path] = (0, 0)
        elif line.startswith("@@"):
            is_head = False
        elif not is_head and line[:1] in "+-" and line:
            added, removed = found[path]
            found[path] = (added + (line[0] == "+"), removed + (line[0] == "-"))
    return found


def _one(path: str, old: str | None, new: str | None) -> str:
    head = [f"diff --git a/{path} b/{path}\n"]
    head += ["new file mode 100644\n"] if old is None else []
    head += ["deleted file mode 100644\n"] if new is None else []
    names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
    return "".join([*head, *_marked(list(difflib.unified_diff(_lines(old), _lines(new), *names)))])


def _lines(text: str | None) -> list[str]:
    *whole, end = (text or "").split("\n")
    return [*(f"{line}\n" for line in whole), *([end] if end else [])]


def _marked(lines: Sequence[str]) -> list[str]:
    return [line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in lines]


def _texts(folder: Path) -> Mapping[str, bytes]:
    places = tree.CHECKOUT.items()
    return {
        f"{place}/{path.relative_to(root).as_posix()}": path.read_bytes()
        for place, name in places
        for root in [folder / name if (folder / name).is_dir() else folder / place]
        for path in tree.files_in(root)
    }


def _decoded(path: str, content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        contract = "be text in UTF-8 where a level changes it, for a patch of it is kept and shown"
        raise invalid("code", path, contract, "leave the binary file as it is") from None
