"""Overrides of Hydra's own settings (``hydra.run.dir=...``): which are read, and what is said of the others.

Runs are named by what they compute, carried out by ``launcher=`` and kept in the results folder, whoever asks
for them, so most of what Hydra can be told about jobs and their folders has nothing to act on here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence

from sweepkit import errors
from sweepkit.config.override import Override

SEARCHPATH = "hydra.searchpath"
#: ``hydra.mode=MULTIRUN`` is -m.
MODE = "hydra.mode"
_INSTEAD = {
    "hydra.run": "runs are kept in SWEEPKIT_RESULTS_DIR, or ./results",
    "hydra.sweep": "results are in SWEEPKIT_RESULTS_DIR, or ./results; train -m --name=NAME names a multirun",
    "hydra.job": "a run is named by its content; train -m --name=NAME names a multirun",
}


def is_hydras(text: str) -> bool:
    """Whether it sets something of Hydra's own, as ``hydra.verbose=true`` or ``hydra/sweeper=basic``."""
    return re.split(r"[./=@]", text.lstrip("+~"), maxsplit=1)[0] == "hydra"


def taken_out(overrides: Iterable[Override]) -> tuple[list[Override], tuple[str, ...]]:
    """The overrides of a run, and the folders of ``hydra.searchpath``.

    Raises:
        ConfigError: another launcher or sweeper is asked for.
    """
    others: list[Override] = []
    searchpath: tuple[str, ...] = ()
    for item in overrides:
        if not is_hydras(item.key):
            others.append(item)
        elif item.key == SEARCHPATH:
            searchpath = _folders(item)
        else:
            _refuse(item)
            if item.key != MODE:
                _say_no_effect(item.key)
    return others, searchpath


def _folders(item: Override) -> tuple[str, ...]:
    found: Sequence[object] = item.value if isinstance(item.value, list) else [item.value]
    if not all(isinstance(entry, str) for entry in found):
        raise errors.invalid(item.key, item.value, "be a list of folders", f"write {item.key}=[folder]")
    return tuple(map(str, found))


def _refuse(item: Override) -> None:
    name = str(item.value)
    if item.key == "hydra/launcher" or item.key.startswith("hydra.launcher."):
        kind = "slurm" if "slurm" in name else "local"
        raise errors.invalid(
            item.key,
            item.value,
            "be left out, for runs are carried out by sweepkit's own launchers",
            f"write launcher={kind} (sweepkit fields launcher lists its settings)",
        )
    if item.key == "hydra/sweeper" or item.key.startswith("hydra.sweeper."):
        raise errors.invalid(
            item.key,
            item.value,
            "be left out, for a multirun is sweepkit's own, which keeps a record and also searches",
            "write train -m FIELD=VALUES, or with interval(...) and search.n_trials=40",
        )


def _say_no_effect(key: str) -> None:
    instead = next((text for start, text in _INSTEAD.items() if key.startswith(start)), "")
    warnings.warn(f"{key} has no effect{instead and f': {instead}'}", errors.Notice, stacklevel=2)
