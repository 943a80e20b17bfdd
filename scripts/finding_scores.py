"""What models of a record's sweeps score, on items that they were asked and on other rows (docs/findings.md).

Made of committed folders alone: ``runs.csv.gz`` has the scores of every run, ``tasks.csv`` what a variant got
right beside the reference, item by item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from sweepkit.analysis.paired_items import MEAN
from sweepkit.report import markdown, numbers
from sweepkit.report.sheet import Sheet
from sweepkit.report.summary import COMPLETE
from sweepkit.results import core_outcomes, store
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep import published_seal

_READING = """
Score: accuracy centred on chance (0 at chance, 1 where all is right), mean over three tasks of 80 items of
our own ([core.md](core.md)). None of them is one of CORE's, and this is no CORE. *SD of seeds*: between runs;
*SE of items*: of a run's score, binomial; *interval*: over both, variances added, which counts the noise of a
single cell twice and is a little wide. *Won*, *lost*: items right more often than for the reference, and
less. *Bits/byte*: of the same runs on the same text.
"""
_HEADS = (
    "variant",
    ">n",
    ">score",
    ">interval",
    ">SD of seeds",
    ">SE of items",
    ">difference",
    ">won",
    ">lost",
    ">bits/byte",
)


def scores(sweep: str, folder: Path, alpha: float) -> str:
    """A table of every variant's score, and in words what is not told from chance.

    Args:
        folder: where sweeps are committed.
        alpha: intervals are at 1 − alpha.
    """
    if not (folder / sweep / published_seal.TASKS).is_file():
        return f"Not run yet: {sweep}."
    runs, tasks = store.load(sweep, folder), pd.read_csv(folder / sweep / published_seal.TASKS)
    sheet, at_chance = Sheet(_HEADS), []
    for variant, own in runs[runs["state"] == COMPLETE].groupby("variant", sort=False):
        found = tasks[tasks["variant"] == variant].set_index("task")
        mean = found.loc[MEAN]
        score, low, high = interval(own, core_outcomes.SUBSET, int(mean["items"]), alpha)
        name = f"{variant} (dataset={own['dataset'].iloc[0]})" if variant == REFERENCE else str(variant)
        spread = own[core_outcomes.SUBSET].std(ddof=1), binomial(own, core_outcomes.SUBSET)
        sheet.add(
            name,
            str(len(own)),
            f"{score:.3f}",
            f"{numbers.change(low, 3)} to {numbers.change(high, 3)}",
            *(f"{it:.3f}" for it in spread),
            numbers.change(mean["difference"], 3),
            *(numbers.count(mean[which]) for which in ("won", "lost")),
            numbers.bpb(own["bpb_probe"].mean()),
        )
        for task, items in found["items"].drop(MEAN).items():
            if interval(own, f"{core_outcomes.TASK}{task}", int(items), alpha)[1] <= 0:
                at_chance.append(f"{task} of {name}")
    chance = (
        f"Not told from chance: {', '.join(at_chance)}." if at_chance else "All tasks are told from chance."
    )
    return f"{markdown.table(sheet)}\n\n{' '.join(_READING.split())} {chance}"


def scored_on(layouts: Mapping[str, str], folder: Path) -> str:
    """Mean loss of what each variant trained, by the rows it was scored on."""
    means: dict[str, dict[str, str]] = {}
    for rows, sweep in layouts.items():
        if not (folder / sweep).is_dir():
            return f"Not run yet: {sweep}."
        losses = store.load(str(folder / sweep)).groupby("variant")["val_bpb"]
        for variant, mean in losses.mean().items():
            means.setdefault(str(variant), {})[rows] = numbers.bpb(mean)
    sheet = Sheet(("trained on", *(f">{rows} rows" for rows in layouts)))
    for variant, found in means.items():
        sheet.add(variant, *(found.get(rows, "") for rows in layouts))
    return f"Mean val_bpb on the same text, by the rows that are scored:\n\n{markdown.table(sheet)}"


def interval(runs: pd.DataFrame, column: str, num_items: int, alpha: float) -> tuple[float, float, float]:
    """A mean score over runs that were asked the same items, with its interval over seeds and items.

    The two variances are added; degrees of freedom are Satterthwaite's.

    Returns:
        The mean and both ends of the interval.
    """
    values = runs[column].to_numpy(dtype=float)
    seeds = float(np.var(values, ddof=1)) / len(values)
    items = binomial(runs, column) ** 2
    df = (seeds + items) ** 2 / (seeds**2 / (len(values) - 1) + items**2 / (num_items - 1))
    half = float(stats.t.isf(alpha / 2, df)) * math.sqrt(seeds + items)
    mean = float(values.mean())
    return mean, mean - half, mean + half


def binomial(runs: pd.DataFrame, column: str) -> float:
    """The standard error over items of one run's score, as the runs have it in the mean."""
    named = core_outcomes.SE.get(column) or column.replace(core_outcomes.TASK, core_outcomes.TASK_SE, 1)
    return math.sqrt(float((runs[named].astype(float) ** 2).mean()))
