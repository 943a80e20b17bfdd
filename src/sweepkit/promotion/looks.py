"""Looking at the last rung before all its seeds are spent.

The rule freezes at how many seeds it looks (``decision.looks``). At each look a variant is adopted when
its sequential p, corrected over the variants that came so far, is small enough; it is rejected when it is
shown to be no good; what is open gets the seeds up to the next look. Nobody may add seeds after the last
one: what is wanted then is an amendment, on fresh seeds (``sweep/amendments.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from sweepkit.analysis import spending
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep.cell import Cell


def taken(rows: pd.DataFrame, looks: Sequence[int]) -> list[int]:
    """Of the looks those that the reference's planned runs reach."""
    num_seeds = rows.loc[rows["variant"] == REFERENCE, "seed"].nunique()
    return [count for count in looks if count <= num_seeds]


def sequential(
    rows: pd.DataFrame,
    looks: Sequence[int],
    p_at: Callable[[pd.DataFrame], Mapping[str, float]],
) -> dict[str, float]:
    """One p a variant for all looks that it has been in.

    Args:
        rows: a rung's, up to the present look; a variant that was settled has no later seeds.
        looks: all that are planned.
        p_at: gives the p values of the rows up to one look.
    """
    seeds = sorted(rows["seed"].unique())
    reached = {str(name): int(group["seed"].nunique()) for name, group in rows.groupby("variant")}
    history: dict[str, list[float]] = {}
    for count in taken(rows, looks):
        for name, p in p_at(rows[rows["seed"].isin(seeds[:count])]).items():
            if reached[name] >= count:
                history.setdefault(name, []).append(p)
    fractions = [count / looks[-1] for count in looks]
    return {name: spending.sequential_p(p, fractions[: len(p)]) for name, p in history.items()}


def cells_of(cells: Sequence[Cell], count: int | None) -> list[Cell]:
    """The cells of the first ``count`` seeds; all without one."""
    seeds = sorted({cell.plan.seed for cell in cells})
    return [cell for cell in cells if count is None or cell.plan.seed in seeds[:count]]


def interim(
    verdicts: Sequence[Verdict], seeds: int, most: int, never_decided: Container[str] = ()
) -> list[Verdict]:
    """What is open after a look goes on to the next one, but for what no number of seeds would decide."""
    sentence = f"open after {seeds} of {most} seeds: goes on to the next look"
    return [
        replace(item, climbs=True, reasons=[*item.reasons, sentence])
        if item.outcome is Outcome.inconclusive and item.variant not in never_decided
        else item
        for item in verdicts
    ]


def merged(before: Sequence[Verdict], now: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts that stand: of what was settled at an earlier look those from there."""
    settled = {item.variant: item for item in before if not item.climbs}
    return [settled.get(item.variant, item) for item in now]
