"""A sweep over two axes as a heat map: a cell each pair of levels, in the order of the sweep file."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweepkit.report import numbers
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block, Heat
from sweepkit.report.summary import COMPLETE
from sweepkit.results.columns import LEVEL
from sweepkit.sweep import frozen_head
from sweepkit.sweep.cell import HORIZON


def heat_maps(content: Content) -> list[Block]:
    """A map each rung on which levels of both axes were combined; nothing where there are not two axes."""
    axes = [name for name in map(str, content.runs) if name.startswith(LEVEL)]
    if len(axes) != 2:
        return []
    known = content.runs[content.runs["role"] != HORIZON]
    blocks: list[Block] = []
    for rung in content.rungs:
        here = known[known["rung"] == rung].drop_duplicates("run_id")
        pairs = here.drop_duplicates(axes)
        counts = [here[axis].nunique(dropna=False) for axis in axes]
        if len(pairs) > sum(counts) - 1:  # more than one axis at a time
            blocks += [Block("title", rung), Block("heat", _map(content, here, axes))]
    metric = content.decision.metric
    intro = f"Mean {metric} over the seeds of each pair; the greener, the better its rank among the pairs."
    return [Block("soft", intro), *blocks] if blocks else []


def _map(content: Content, here: pd.DataFrame, axes: list[str]) -> Heat:
    metric, sign = content.decision.metric, content.decision.sign
    done = here[here["state"] == COMPLETE]
    means = done.groupby(axes, dropna=False)[metric].mean().dropna()
    ranks = (sign * means).rank(method="min", ascending=False) - 1
    share = ranks / max(1.0, float(ranks.max() if len(ranks) else 1))
    down, across = (_levels(content, axis, here[axis]) for axis in axes)
    rows = []
    for level in down:
        cells: list[tuple[str, int | None]] = []
        for other in across:
            key = (level, other)
            if key in means.index:
                cells.append((numbers.bpb(means[key]), round(100 * float(share[key]))))
            else:
                states = here[_is(here[axes[0]], level) & _is(here[axes[1]], other)]["state"].value_counts()
                cells.append((", ".join(f"{n} {state}" for state, n in states.items()), None))
        rows.append((_said(level), cells))
    names = [axis.removeprefix(LEVEL) for axis in axes]
    return Heat(names[0], names[1], [_said(level) for level in across], rows)


def _levels(content: Content, axis: str, values: pd.Series[Any]) -> list[Any]:
    """Numbers by size, names as the sweep file lists them."""
    found = list(values.drop_duplicates())
    if pd.api.types.is_numeric_dtype(values.dtype):
        return sorted(found, key=lambda value: (pd.isna(value), value if pd.notna(value) else 0))
    head = frozen_head.found(content.sweep_dir)
    listed = list(head.sweep.axes.get(axis.removeprefix(LEVEL), ())) if head else []
    return sorted(found, key=lambda value: listed.index(value) if value in listed else -1)


def _is(values: pd.Series[Any], level: Any) -> pd.Series[bool]:
    return values.isna() if pd.isna(level) else values.eq(level).fillna(False)


def _said(level: Any) -> str:
    return "null" if pd.isna(level) else numbers.plain(level)
