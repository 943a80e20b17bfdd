"""Whether rounding decides: the reference beside itself, from weights that were moved by 1e-7.

Both runs have one seed, see the same tokens and start from weights that differ by rounding, so their losses
should differ by next to nothing. Where training is chaotic (rates too high for so short a run, bf16, an AdamW
that divides rounding by rounding) they part within some tens of steps, and then other threads, micro-batches
or hardware would part them as well: a variant's effect of that size is not the variant's.

``sweepkit calibrate`` makes such pairs. They are kept among the calibrations, under a metric of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from sweepkit.analysis import calibration
from sweepkit.analysis.calibration import Calibration
from sweepkit.results.record import RunState

#: What the second run of a pair has as ``model.init_moved_by``.
MOVED_BY = 1e-7
#: Seeds that ``calibrate`` runs twice.
NUM_PAIRS = 2
#: Rounding may move a paired difference by so much of min_effect.
SHARE = 1 / 3
_SUFFIX = " by rounding alone"


def metric_of(metric: str) -> str:
    """What the differences of ``metric`` by rounding alone are called."""
    return f"{metric}{_SUFFIX}"


def measure(rows: pd.DataFrame, metric: str, beside: Mapping[str, str]) -> list[Calibration]:
    """How far the pairs are apart.

    Args:
        rows: runs with the columns that ``calibration.measure`` wants, those of the pairs among them.
        metric: column of the loss.
        beside: run with moved weights → the run that is like it but for that.

    Returns:
        One a set of conditions. ``sd`` is the root mean square of the differences, whose mean is 0 by
        construction, so that ``df`` is their number.
    """
    complete = rows[(rows["state"] == RunState.complete) & rows[metric].notna()]
    losses = complete.set_index("run_id")[metric].astype(float).to_dict()
    pairs = {plain: moved for moved, plain in beside.items() if moved in losses and plain in losses}
    found = []
    for _, group in complete[complete["run_id"].isin(pairs)].groupby(list(calibration.KEY), sort=True):
        first, names = group.iloc[0], [str(name) for name in group["run_id"]]
        ids = [*names, *(pairs[name] for name in names)]
        squares = [(losses[pairs[name]] - losses[name]) ** 2 for name in names]
        ended = complete.loc[complete["run_id"].isin(ids), "ended_at"]
        found.append(
            Calibration(
                depth=int(first["depth"]),
                dataset=str(first["dataset"]),
                dtype=str(first["dtype"]),
                hardware=str(first["hardware"]),
                total_tokens=int(first["total_tokens"]),
                metric=metric_of(metric),
                sd=math.sqrt(sum(squares) / len(squares)),
                df=len(squares),
                measured_at=str(pd.to_datetime(ended).max().isoformat()),
                run_ids=tuple(sorted(ids)),
            )
        )
    return found


def is_chaotic(item: Calibration, min_effect: float) -> bool:
    """Whether rounding moves a difference by more than a share of the smallest effect that counts."""
    return item.sd > SHARE * min_effect


def said(known: Sequence[Calibration], rows: pd.DataFrame, metric: str, min_effect: float) -> list[str]:
    """A sentence where the reference's runs, ``rows``, are known to be decided by rounding."""
    item = calibration.fitting(known, rows, metric_of(metric))
    return [chaotic(item, metric, min_effect)] if item and is_chaotic(item, min_effect) else []


def measured(item: Calibration, metric: str) -> str:
    """What was found, in words."""
    return (
        f"the reference beside itself, weights moved by {MOVED_BY:g}, is {item.sd:.2g} {metric} apart "
        f"(n={item.df})"
    )


def chaotic(item: Calibration, metric: str, min_effect: float) -> str:
    """What a chaotic reference means, and the way out."""
    return (
        f"rounding decides: {measured(item, metric)}, more than a third of min_effect {min_effect:g}; lower "
        "the rates, warm up for longer, train for longer or use precision=fp32"
    )
