"""Trees in the making: what ``code`` names, put on top of the reference's tree.

A git ref brings the changes since its merge base with the reference, ``BASE..REF`` those since that of BASE;
a patch its own; a folder, or the uncommitted changes (``worktree``), what is there. Whatever it is, the files
in which it then differs are counted alike.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweepkit.code import git, patch, refs, tree, unread
from sweepkit.code.levels import FOLDER, Level
from sweepkit.config import commits, paths
from sweepkit.errors import invalid

#: The uncommitted changes.
WORKTREE = "worktree"
_HERE = "the code that runs here"
_PARTS = tuple(tree.CHECKOUT)


@dataclass(frozen=True)
class Made:
    """A tree in the layout of a checkout, and what it was made of; of a kept one, also what its note says."""

    work: Path
    level: Level
    python: str | None = None
    apart: str | None = None


class Making:
    """Makes trees in the layout of a checkout, on top of one.

    Args:
        scratch: where to.
        base: the one; None for what is one itself.
        trees: those that are kept, which may be named too.
    """

    def __init__(self, scratch: Path, base: Made | None, trees: Path | None = None) -> None:
        self._scratch, self._base, self._trees = scratch, base, trees

    def here(self) -> Made:
        """The package that runs, with the configuration that is composed from."""
        work = self._new()
        tree.copy_here(work)
        commit, dirty = commits.git_state()
        words = f"{_HERE}, {commit[:9]}{' with uncommitted changes' if dirty else ''}" if commit else _HERE
        return Made(work, Level(words, "", "here"))

    def last_commit(self) -> Made:
        """What is committed, where the uncommitted changes are a level."""
        commit = git.commit(refs.checkout_of("axes", WORKTREE), "HEAD")
        assert commit is not None
        return self._exported(f"the last commit, {commit[:9]}", commit)

    def alone(self, where: str, text: str) -> Made:
        """What the reference names."""
        if (ref := self._commit(where, text)) is not None:
            return self._exported(text, ref)
        on = Making(self._scratch, self.last_commit() if text == WORKTREE else self.here(), self._trees)
        return on.level(where, text)

    def level(self, where: str, text: str) -> Made:
        """What a level names, on top of the base.

        Raises:
            ConfigError: says what is wrong with it.
        """
        assert self._base is not None
        kinds: list[tuple[bool, Callable[[str, str], Made]]] = [
            (text == WORKTREE, self._of_worktree),
            (tree.is_id(text) and self._trees is not None, self._of_tree),
            (Path(text).is_dir(), self._of_folder),
            (_patch_file(text) is not None, self._of_patch),
        ]
        for holds, make in kinds:
            if holds:
                return make(where, text)
        return self._of_ref(where, text)

    def _of_worktree(self, where: str, text: str) -> Made:
        refs.checkout_of(where, text)
        work = self._new()
        tree.copy_here(work)
        return self._compared(Made(work, Level(text, "", "worktree")))

    def _of_tree(self, where: str, text: str) -> Made:
        assert self._trees is not None
        source, work = tree.find(self._trees, text), self._new()
        for place, name in tree.CHECKOUT.items():
            tree.copy_package(source / name, work / place, is_package=name == tree.PACKAGE)
        python, apart = (tree.note(source).get(name) for name in ("python", "cache"))
        level = Level(text, "", "tree")
        return self._compared(
            Made(work, level, str(python) if python else None, str(apart) if apart else None)
        )

    def _of_folder(self, where: str, text: str) -> Made:
        source = Path(text)
        package = next((place for place in ("src/sweepkit", "sweepkit") if (source / place).is_dir()), None)
        if package is None:
            contract = "be a folder with the package (src/sweepkit or sweepkit)"
            raise invalid(where, text, contract, "name the checkout's folder; of a ref write its full name")
        work = self._new()
        tree.copy_package(source / package, work / "src" / tree.PACKAGE)
        conf = source / tree.CONF
        base = self._base.work if self._base else work
        tree.copy_package(conf if conf.is_dir() else base / tree.CONF, work / tree.CONF, is_package=False)
        own = source / ".venv" / "bin" / "python"
        has_own = own.exists() and not own.parents[1].samefile(sys.prefix)
        if not has_own and (source / "pyproject.toml").is_file():
            refs.check_dependencies(
                where, text, (source / "pyproject.toml").read_bytes(), refs.own_dependencies()
            )
        python = str(own.absolute()) if has_own else None
        return self._compared(Made(work, Level(text, "", FOLDER), python))

    def _of_patch(self, where: str, text: str) -> Made:
        path = _patch_file(text)
        assert path is not None
        content = unread.without_mark(path.read_bytes())
        found = patch.touched(where, content)
        return self._patched(where, content, Level(text, "", "patch", left_out=found.left_out))

    def _of_ref(self, where: str, text: str) -> Made:
        checkout = refs.checkout_of(where, text)
        assert self._base is not None
        found = refs.span(where, text, checkout, self._base.level.commit)
        if found is None:
            raise invalid(
                where, text, "be a git ref, a patch, a folder with the package, or worktree",
                "check its name (git branch -a), or the file's path",
            )  # fmt: skip
        base, ref = found.base, found.ref
        files = git.lines(checkout, "diff", "--name-only", "--no-renames", base, ref)
        changed = [name for name in patch.DEPENDENCIES if name in files]
        if "pyproject.toml" in changed:
            old, new = (git.run(checkout, "show", f"{each}:pyproject.toml") for each in (base, ref))
            refs.check_dependencies(where, text, new, refs.dependencies(old))
        content = git.difference(checkout, base, ref, _PARTS)
        if not content:
            contract = f"change a file of {' and '.join(_PARTS)} since {base[:9]}"
            raise invalid(where, text, contract, "check which branch it is")
        inside = patch.touched(where, content).files
        left_out = tuple(name for name in files if name not in inside)
        level = Level(text, "", "ref", ref, base, found.own, left_out=left_out)
        return self._patched(where, content, level)

    def _patched(self, where: str, content: bytes, level: Level) -> Made:
        assert self._base is not None
        work = self._new()
        for part in _PARTS:
            (work / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(self._base.work / part, work / part)
        parts = [f"--include={part}/*" for part in _PARTS]
        patch.apply(f"{where} ({level.text})", content, work, self._base.level.text, *parts)
        tree.refuse_links(work)
        return self._compared(Made(work, level))

    def _compared(self, made: Made) -> Made:
        """What was made, with the files in which it differs from the base."""
        assert self._base is not None
        files = patch.counts(patch.between(self._base.work, made.work))
        return dataclasses.replace(made, level=dataclasses.replace(made.level, files=dict(files)))

    def _exported(self, text: str, commit: str) -> Made:
        work = self._new()
        content = git.run(refs.checkout_of("reference", text), "archive", "--format=tar", commit, *_PARTS)
        with tarfile.open(fileobj=io.BytesIO(content)) as packed:
            packed.extractall(work, filter="data")
        tree.refuse_links(work)
        return Made(work, Level(text, "", "ref", commit))

    def _commit(self, where: str, text: str) -> str | None:
        if text == WORKTREE or tree.is_id(text) or _patch_file(text) or Path(text).is_dir():
            return None
        return git.commit(refs.checkout_of(where, text), text)

    def _new(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._scratch))


def _patch_file(text: str) -> Path | None:
    """A patch by its path from here, or among the shipped ones; None where it is none."""
    for path in (Path(text), paths.shipped("ideas").parent / text):
        if path.is_file():
            return path
    if text.endswith((".patch", ".diff")):
        raise invalid("code", text, "be a patch that exists", "correct its path")
    return None
