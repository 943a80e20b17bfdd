"""Git, asked without a shell: whatever a user names reaches it as one argument that cannot be an option."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sweepkit.errors import SweepkitError

_TIMEOUT_S = 120
#: What hooks and settings of somebody's shell would change.
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


#: Of the user's that would change what is read or applied.
_SETTINGS = (
    "core.quotePath=false", "core.autocrlf=false", "color.ui=false", "log.showSignature=false",
    "apply.ignoreWhitespace=no",
)  # fmt: skip


class GitError(SweepkitError):
    """Git is missing, or said no; its words are the message."""


def run(folder: Path, *arguments: str, given: bytes = b"", ceiling: bool = False) -> bytes:
    """What git prints.

    Args:
        folder: that it works in.
        given: its standard input.
        ceiling: take no repository around ``folder`` for one: ``git apply`` would leave out files in silence.

    Raises:
        GitError: it is not installed, takes too long, or ends with an error.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= _ENVIRONMENT
    if ceiling:
        environment["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    command = ["git", *settings, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, check=False, timeout=_TIMEOUT_S, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git cannot be run ({error})") from error
    if done.returncode != 0:
        raise GitError(" ".join(done.stderr.decode(errors="replace").split()) or "git ended with an error")
    return done.stdout


def lines(folder: Path, *arguments: str) -> list[str]:
    """``run``, in lines."""
    return run(folder, *arguments).decode(errors="replace").splitlines()


def commit(folder: Path, name: str) -> str | None:
    """The commit that a ref names; None where it names none."""
    try:
        found = lines(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except GitError:
        return None
    return found[0] if found else None


def difference(folder: Path, old: str, new: str, parts: Sequence[str]) -> bytes:
    """What turns one commit into another, of some folders, as a patch; nobody's settings are in it."""
    how = ["--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--binary"]
    prefixes = ["--src-prefix=a/", "--dst-prefix=b/"]
    return run(folder, "diff", *how, *prefixes, old, new, "--", *parts)
