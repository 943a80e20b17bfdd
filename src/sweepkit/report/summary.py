"""One row per variant and rung: how many runs finished, what they scored, what they cost.

The difference to the reference is the effect that verdicts are made of (``analysis/effects.py``), of runs
that saw the same tokens in the same order, so that the luck of the data order cancels. It describes;
whether it is more than noise is what the verdict says.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweepkit.analysis.effects import ONE_WAY, WELCH, Effect, effects
from sweepkit.analysis.frontier import without_horizons
from sweepkit.results.columns import REFERENCE

COMPLETE = "complete"
_ALPHA = 0.05  # of intervals, which are not shown here


def summarise(
    frame: pd.DataFrame, metric: str = "val_bpb", among: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Summary of a runs table.

    Args:
        among: the runs that effects are estimated among, where ``frame`` has only some of them.

    Returns:
        One row per (rung, variant) in plan order, with rung, depth, variant, is_reference, num_runs,
        num_complete, mean, sd, delta (the paired effect), num_pairs, tokens_per_s, train_time_s,
        total_flops, mfu, peak_memory_gib (means), time_ratio and flops_ratio (mean over the reference's
        mean) and states ("3 complete, 1 diverged"). ``sd`` needs two runs, ``delta`` one pair;
        ``is_unpaired`` where both were measured and share no data order.
    """
    rows = []
    frame, among = (_measured(part, metric) for part in (frame, frame if among is None else among))
    paired = {str(rung): _paired(part, metric) for rung, part in among.groupby("rung", sort=False)}
    finished = frame[frame["state"] == COMPLETE]
    for (rung, variant), cells in frame.groupby(["rung", "variant"], sort=False, dropna=False):
        done = cells[cells["state"] == COMPLETE]
        reference = finished[(finished["role"] == REFERENCE) & (finished["rung"] == rung)]
        is_reference = bool((cells["role"] == REFERENCE).any())
        effect = None if is_reference else paired.get(str(rung), {}).get(str(variant))
        rows.append(
            {
                "rung": rung,
                "depth": cells["depth"].iloc[0],
                "variant": variant,
                "is_reference": is_reference,
                "num_runs": len(cells),
                "num_complete": len(done),
                "mean": _mean(done[metric]),
                "sd": done[metric].std() if done[metric].count() > 1 else pd.NA,
                "delta": effect.effect if effect else pd.NA,
                "num_pairs": effect.n if effect else 0,
                "is_unpaired": not is_reference
                and effect is None
                and bool(done[metric].notna().any() and reference[metric].notna().any()),
                **{
                    name: _mean(done[name])
                    for name in ("tokens_per_s", "train_time_s", "total_flops", "mfu", "peak_memory_gib")
                },
                "time_ratio": _ratio(done, reference, "train_time_s"),
                "flops_ratio": _ratio(done, reference, "total_flops"),
                "states": ", ".join(f"{n} {state}" for state, n in cells["state"].value_counts().items()),
            }
        )
    return pd.DataFrame(rows)


def complete_means(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Means of columns by variant, of variants all of whose runs are complete and have them."""
    columns = {name: frame[name].where(frame["state"] == COMPLETE).astype("float64") for name in names}
    groups = frame.assign(**columns).groupby("variant", sort=False)[names]
    return groups.mean().where(groups.count().eq(groups.size(), axis=0)).dropna()


def _measured(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """With the metric, also where no run has been evaluated on its stream yet."""
    missing = pd.array([pd.NA] * len(frame), dtype="Float64")
    return frame if metric in frame else frame.assign(**{metric: missing})


def _paired(rung: pd.DataFrame, metric: str) -> dict[str, Effect]:
    """Variant → its effect, where it is one of runs that share their data order."""
    rows = rung.assign(**{metric: rung[metric].where(rung["state"] == COMPLETE)})
    main = without_horizons(rows)
    horizons = rows[~rows["variant"].isin(main["variant"]) | (rows["variant"] == REFERENCE)]
    found = [effect for part in (main, horizons) for effect in effects(part, metric, _ALPHA)]
    return {
        item.variant: item
        for item in found
        if item.effect is not None and item.method not in (ONE_WAY, WELCH)
    }


def _ratio(done: pd.DataFrame, reference: pd.DataFrame, column: str) -> Any:
    """Cost as a multiple of the reference's."""
    base = _mean(reference[column])
    return _mean(done[column]) / base if not pd.isna(base) and base > 0 else pd.NA


def _mean(values: pd.Series[Any]) -> Any:
    return values.mean() if values.count() else pd.NA
