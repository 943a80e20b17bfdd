"""Every text that all runs were evaluated on, compared one by one.

A sweep over datasets has a validation text of its own for each of them, and losses on different texts are
different quantities. Probe texts are shared: a change that helps on one and hurts on another is a trade,
which a single metric would hide. What was not measured on one text (other fingerprints) is left out and
said.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sweepkit.analysis import comparable
from sweepkit.analysis.effects import Effect, effects
from sweepkit.results.columns import REFERENCE


@dataclass(frozen=True)
class Probes:
    """Effects by metric (``bpb_<stream>``), and why others cannot be compared."""

    effects: dict[str, list[Effect]]
    refused: dict[str, str]


def compare(rows: pd.DataFrame, alpha: float, reference: str = REFERENCE) -> Probes:
    """Effects of all variants on every evaluation text.

    Args:
        rows: complete runs of one rung, without the reference's other horizons.
        alpha: one-sided level; intervals have confidence ``1 - 2 alpha``.
    """
    found: dict[str, list[Effect]] = {}
    refused: dict[str, str] = {}
    for metric in sorted(str(name) for name in rows.columns if str(name).startswith("bpb_")):
        measured = rows[rows[metric].notna()]
        if measured.empty:
            continue
        difference = comparable.difference(measured, metric)
        if difference is None:
            found[metric] = effects(rows, metric, alpha, reference)
        else:
            refused[metric] = difference
    return Probes(found, refused)
