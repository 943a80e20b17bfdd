"""Results: the record a run writes, and the tables everything downstream reads.

``load`` and ``curves`` come from ``store.py`` and are imported on first use, because pandas takes a
third of a second and a trainer that only writes its record has no need of it.

``trials``, ``importances`` and ``verdicts`` are asked for where the other tables are, and made by the rooms
that know them: the imports to the left in this room, which happen when they are called.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sweepkit.results.store import curves as curves
    from sweepkit.results.store import load as load
    from sweepkit.results.store import sweep_names as sweep_names

_OF_STORE = ("curves", "load", "sweep_names")
__all__ = ["curves", "importances", "load", "sweep_names", "trials", "verdicts"]


def trials(sweep: str, results_dir: Path | str | None = None) -> pd.DataFrame:
    """The trials of a search, one row a proposal (``search/trials_table.py`` has the columns).

    Raises:
        SweepkitError: there is no such sweep, or it does not search.
    """
    from sweepkit.search import trials_table

    return trials_table.table(sweep, results_dir)


def importances(sweep: str, results_dir: Path | str | None = None) -> pd.DataFrame:
    """How much each parameter of a search mattered: parameter, importance (they sum to 1), best.

    Raises:
        SweepkitError: the sweep does not search, or has too few complete trials.
    """
    from sweepkit.config import paths
    from sweepkit.search import importances as made

    return made.table(paths.results_dir() if results_dir is None else Path(results_dir).absolute(), sweep)


def verdicts(sweep: str, results_dir: Path | str | None = None) -> pd.DataFrame:
    """What a sweep's promotion has decided, one row a variant and rung (``promotion/verdicts_table.py``).

    Raises:
        SweepkitError: nothing was decided yet.
    """
    from sweepkit.promotion import verdicts_table

    return verdicts_table.table(sweep, results_dir)


def __getattr__(name: str) -> Any:
    if name not in _OF_STORE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.store"), name)
