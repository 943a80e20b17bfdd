"""One row per variant and rung: how many runs finished, what they scored, what they cost.

The difference to the reference is the mean over pairs of runs that saw the same tokens in the same
order (equal ``pair_key``), so that the luck of the data order cancels. It describes; whether it is
more than noise is what the verdict says.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweepkit.results.columns import REFERENCE

COMPLETE = "complete"


def summarise(frame: pd.DataFrame, metric: str = "val_bpb") -> pd.DataFrame:
    """Summary of a runs table.

    Returns:
        One row per (rung, variant) in plan order, with rung, depth, variant, is_reference, num_runs,
        num_complete, mean, sd, delta (mean paired difference), num_pairs, tokens_per_s, train_time_s,
        total_flops, mfu, peak_memory_gib (means), time_ratio and flops_ratio (mean over the reference's
        mean) and states ("3 complete, 1 diverged"). ``sd`` needs two runs, ``delta`` one pair;
        ``is_unpaired`` where both were measured and no pair is among them.
    """
    rows = []
    if metric not in frame:  # a stream that no run has been evaluated on yet
        frame = frame.assign(**{metric: pd.array([pd.NA] * len(frame), dtype="Float64")})
    finished = frame[frame["state"] == COMPLETE]
    for (rung, variant), cells in frame.groupby(["rung", "variant"], sort=False, dropna=False):
        done = cells[cells["state"] == COMPLETE]
        reference = finished[(finished["role"] == REFERENCE) & (finished["rung"] == rung)]
        is_reference = bool((cells["role"] == REFERENCE).any())
        deltas = pd.Series(dtype="Float64") if is_reference else _paired(done, reference, metric)
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
                "delta": _mean(deltas),
                "num_pairs": len(deltas),
                "is_unpaired": not is_reference
                and deltas.empty
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


def _paired(done: pd.DataFrame, reference: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """Differences to the reference's mean on the same data order, where both have the metric."""
    partner = reference.groupby("pair_key")[metric].mean()
    return (done[metric] - done["pair_key"].map(partner).astype("Float64")).dropna()


def _ratio(done: pd.DataFrame, reference: pd.DataFrame, column: str) -> Any:
    """Cost as a multiple of the reference's."""
    base = _mean(reference[column])
    return _mean(done[column]) / base if not pd.isna(base) and base > 0 else pd.NA


def _mean(values: pd.Series[Any]) -> Any:
    return values.mean() if values.count() else pd.NA
