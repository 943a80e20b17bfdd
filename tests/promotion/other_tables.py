"""Tables of runs as somebody else would have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

EFFECTS = {"better": -0.02, "same": 0.0, "worse": 0.05}


def table(
    effects: dict[str, float], depths: tuple[int, ...] = (12,), seeds: int = 5, **columns: Any
) -> pd.DataFrame:
    """A table as somebody else would have it; the reference is called baseline."""
    rng = np.random.default_rng(5)
    rows = []
    for depth in depths:
        luck = rng.normal(0.0, 0.01, seeds)
        for variant, effect in {"baseline": 0.0, **effects}.items():
            for seed in range(seeds):
                loss = 1.0 + effect + luck[seed] + rng.normal(0.0, 0.0005)
                told = {"variant": variant, "seed": seed, "seeds": "shared", "depth": depth}
                rows.append(told | {"val_bpb": loss, **columns})
    return pd.DataFrame(rows)


def replicated(frame: pd.DataFrame, times: int) -> pd.DataFrame:
    """With more runs of the reference a seed, of other losses."""
    base = frame[frame["variant"] == "baseline"]
    rng = np.random.default_rng(8)
    more = [
        base.assign(val_bpb=base["val_bpb"] + rng.normal(0.0, 0.0005, len(base))) for _ in range(times - 1)
    ]
    return pd.concat([frame, *more], ignore_index=True)
