"""sweepkit: experiment sweeps for LLM pretraining.

``sweepkit.results.load("NAME")`` gives a sweep as a pandas DataFrame; rooms are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "results":
        return importlib.import_module("sweepkit.results")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
