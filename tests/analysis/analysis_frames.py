"""Made-up runs of one rung with the runs table's columns and a known truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def runs(
    effects: Mapping[str, float],
    seeds: int = 3,
    rng: np.random.Generator | None = None,
    noise: float = 0.002,
    luck: float = 0.02,
    replicates: int = 1,
    **columns: Any,
) -> pd.DataFrame:
    """Complete runs of the reference and the variants in ``effects`` (true differences, bits per byte).

    ``luck`` is the SD of what all runs of a seed share, ``noise`` of a run's own; the reference has
    ``replicates`` runs a seed; ``columns`` are added to every row.
    """
    rng = rng or np.random.default_rng(0)
    shared = rng.normal(0.0, luck, seeds)
    rows = []
    everything = [("reference", number, 0.0) for number in range(replicates)]
    everything += [(variant, 0, effect) for variant, effect in effects.items()]
    for variant, number, effect in everything:
        for seed in range(1, seeds + 1):
            loss = 2.0 + effect + shared[seed - 1] + rng.normal(0.0, noise)
            rows.append(
                {
                    "run_id": f"d2-{variant}-s{seed}" + (f"-i{number}" if number else ""),
                    "variant": variant,
                    "rung": "d2",
                    "seed": seed,
                    "pair_key": f"order-{seed}",
                    "compile_key": "program",
                    "state": "complete",
                    "failure_class": None,
                    "val_bpb": loss,
                    "median_step_time_s": 0.1 * float(np.exp(rng.normal(0.0, 0.03))),
                    "num_steps": 100,
                    "total_flops": 1.0e12,
                    "environment_fingerprint": "environment",
                    "evaluation_fingerprint": "evaluation",
                    "git_commit": "commit",
                    "hardware": "processor",
                    "dtype": "bf16",
                    **columns,
                }
            )
    return pd.DataFrame(rows).convert_dtypes()
