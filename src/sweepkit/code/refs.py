"""What a git ref brings: whose commits, and which dependencies."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import sweepkit
from sweepkit.code import git
from sweepkit.code.git import GitError
from sweepkit.errors import ConfigError, invalid

_SHOWN = 8  # commits
#: Where the reference's own line of commits may be known by.
_LINES = ("@{upstream}", "main", "master", "origin/HEAD", "origin/main", "origin/master")


def shortened(items: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return [*items[:_SHOWN], *more]


def checkout_of(where: str, text: str) -> Path:
    """The repository that the running package is in."""
    folder = Path(sweepkit.__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        contract = "be a patch or a folder: this package is installed, and no checkout with refs is around it"
        raise invalid(where, text, contract, "write the branch as a patch: git diff BASE...REF > idea.patch")
    return folder


@dataclass(frozen=True)
class Span:
    """The commits that a ref brings, and where they start."""

    ref: str
    base: str
    own: tuple[str, ...]


def span(where: str, text: str, checkout: Path, onto: str | None = None) -> Span | None:
    """What ``REF`` brings since its merge base with ``onto``, or ``BASE..REF`` since that with BASE.

    Args:
        onto: a commit; None for the last one.

    Returns:
        None where it names no commit.

    Raises:
        ConfigError: it has none in common with where it starts, or brings along commits that are not its own.
    """
    start, is_range, name = text.rpartition("..")
    if (ref := git.commit(checkout, name)) is None:
        return None
    from_commit = git.commit(checkout, start) if is_range else onto or git.commit(checkout, "HEAD")
    if is_range and from_commit is None:
        raise invalid(where, text, "start at a commit that is here", "check the name before the dots")
    try:
        base = git.lines(checkout, "merge-base", from_commit or "HEAD", ref)[0]
    except GitError:
        remedy = "fetch more (git fetch --unshallow) where the clone is shallow, or name BASE..REF"
        raise invalid(where, text, "have a commit in common with the reference", remedy) from None
    if not is_range:
        refuse_others(where, text, checkout, base, ref)
    own = git.lines(checkout, "log", "--no-merges", "--reverse", "--format=%h %s", f"{base}..{ref}")
    return Span(ref, base, tuple(shortened(own)))


def refuse_others(where: str, text: str, checkout: Path, base: str, ref: str) -> None:
    """Raises ConfigError for commits that come along with a ref: of the reference's line, or by a merge."""
    lines = {commit for name in _LINES if (commit := git.commit(checkout, name))}
    lines -= {commit for commit in lines if _contains(checkout, commit, ref)}
    span = f"{base}..{ref}"
    every = git.lines(checkout, "log", "--no-merges", "--format=%H %s", span)
    only = [f"^{line}" for line in sorted(lines)]
    own = set(git.lines(checkout, "rev-list", "--no-merges", "--first-parent", span, *only))
    others = [f"{item[:9]}{item[40:]}" for item in every if item[:40] not in own]
    if others:
        raise invalid(
            where,
            text,
            f"bring its own commits alone, and brings along {', '.join(shortened(others))}, which the "
            "reference lacks",
            "bring the reference up to them, rebase the branch, or say where its changes start: BASE..REF",
        )


def _contains(checkout: Path, line: str, ref: str) -> bool:
    try:
        git.run(checkout, "merge-base", "--is-ancestor", ref, line)
    except GitError:
        return False
    return True


def own_dependencies() -> frozenset[str]:
    path = Path(sweepkit.__file__).resolve().parents[2] / "pyproject.toml"
    if path.is_file():
        return dependencies(path.read_bytes())
    listed = metadata.requires("sweepkit") or []
    return frozenset(_plain(item) for item in listed if "extra ==" not in item)


def dependencies(content: bytes) -> frozenset[str]:
    try:
        project = tomllib.loads(content.decode()).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"pyproject.toml cannot be read ({error}), but must list dependencies") from error
    return frozenset(map(_plain, project.get("dependencies", [])))


def _plain(requirement: str) -> str:
    """A requirement whose parts are in one order, however it was written."""
    spec, _, marker = requirement.replace(" ", "").partition(";")
    match = re.match(r"[A-Za-z0-9._-]+(?:\[[^\]]*\])?", spec)
    name = match[0] if match else spec
    versions = ",".join(sorted(spec[len(name) :].strip("()").split(",")))
    return f"{name.lower()}{versions};{marker}"


def check_dependencies(where: str, text: str, theirs: bytes, ours: frozenset[str]) -> None:
    found = dependencies(theirs)
    if found != ours:
        changed = ", ".join(item.rstrip(";") for item in sorted(found ^ ours))
        contract = f"have the dependencies that are installed, which all variants share ({changed} differ)"
        remedy = "install them for all first, or give code: FOLDER, a checkout with a .venv of its own"
        raise invalid(where, text, contract, remedy)
