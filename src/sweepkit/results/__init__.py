"""Results: the record a run writes, and the tables everything downstream reads.

``load`` and ``curves`` come from ``store.py`` and are imported on first use, because pandas takes a
third of a second and a trainer that only writes its record has no need of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepkit.results.store import curves as curves
    from sweepkit.results.store import load as load
    from sweepkit.results.store import sweep_names as sweep_names

__all__ = ["curves", "load", "sweep_names"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.store"), name)
