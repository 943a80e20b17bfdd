"""Every error a user can cause, in one shape: field, value, contract, remedy.

A user error is a ``SweepkitError`` (a ``ValueError``); a broken invariant of our own is an
``assert``. The command line prints a SweepkitError as its message alone and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class SweepkitError(ValueError):
    """A problem the user can fix. ``str(error)`` is the whole message, remedy included."""


class ConfigError(SweepkitError):
    """A configuration value that breaks its contract."""


class DataError(SweepkitError):
    """Text, tokenizer or cache that is missing, empty or corrupt."""


class ImpossibleError(DataError):
    """A run that its own configuration and text rule out, wherever and whenever it is tried."""


class CheckpointError(SweepkitError):
    """A checkpoint that is missing, corrupt or belongs to another run."""


class FrozenPlanError(SweepkitError):
    """A frozen plan or rule whose content no longer matches its hash."""


class StorageError(SweepkitError):
    """Storage that fails, or a place that is not ours to use."""


class DiskFullError(StorageError):
    """The disk, or a quota on it, is full."""


class DamagedError(SweepkitError):
    """A small file of ours that is not what was written.

    Attributes:
        path, why: which file, and what is wrong with it.
    """

    def __init__(self, path: Path, why: str, remedy: str = "") -> None:
        self.path, self.why = path, why
        remedy = remedy or "delete it and run the same command again (finished runs are kept)"
        super().__init__(f"{path} is damaged ({why}), but must be as it was written; {remedy}")


class Notice(UserWarning):
    """Something that a user should know of what was asked for; the command line prints it once."""


def invalid(field: str, value: object, contract: str, remedy: str) -> ConfigError:
    """Build the house's error: ``FIELD is VALUE, but must CONTRACT; REMEDY``.

    Args:
        field: dotted name, as the user would write it on the command line.
        value: what was given; shown with ``repr`` for strings.
        contract: what must hold, written to follow "but must".
        remedy: what to do about it.
    """
    return ConfigError(f"{field} is {value!r}, but must {contract}; {remedy}")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for a near miss, whatever its case, else the list of what is known.

    Args:
        word: what was given; of a file it may be no text.
    """
    names = {name.lower(): name for name in sorted(known)}
    close = difflib.get_close_matches(str(word).lower(), names, n=1)
    if not names:
        return "there is none"
    return f"did you mean {names[close[0]]!r}?" if close else f"known: {', '.join(names.values())}"
