"""Calibrations of pairs: what is left of two variants when variant and seed are taken out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sweepkit.analysis import calibration
from sweepkit.analysis.calibration import LEVELS, PAIRS

LUCK, NOISE, SEEDS = 0.0078, 0.00012, 40


def runs() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    luck = draw.normal(0.0, LUCK, SEEDS)
    return pd.DataFrame(
        [
            {
                "variant_id": name, "seed": seed, "pair_key": f"order-{seed}", "run_id": f"{name}-{seed}",
                "state": "complete", "val_bpb": 2.0 + gain + luck[seed] + draw.normal(0.0, NOISE),
                "depth": 2, "dataset": "embedded", "dtype": "fp32", "hardware": "cpu", "total_tokens": 1000,
                "ended_at": "2026-01-01T00:00:00+00:00", "variant": "reference",
            }
            for name, gain in (("a", 0.0), ("b", -0.01))
            for seed in range(SEEDS)
        ]
    )  # fmt: skip


def test_pairs_differ_by_their_own_noise_and_single_runs_by_their_seeds() -> None:
    rows = runs()
    (pairs,) = calibration.measure_pairs(rows, "val_bpb")
    wide = rows.pivot(index="seed", columns="variant_id", values="val_bpb")
    assert pairs.sd == pytest.approx((wide["a"] - wide["b"]).std(ddof=1) / np.sqrt(2.0), rel=1e-6)
    assert (pairs.df, pairs.of) == (SEEDS - 1, PAIRS)
    levels = calibration.measure(rows[rows["variant_id"] == "a"], "val_bpb")
    assert [item.of for item in levels] == [LEVELS]
    assert levels[0].sd > 20 * pairs.sd
    serving = calibration.fitting([*levels, pairs], rows, "val_bpb")
    assert serving == pairs


def test_one_variant_makes_no_pairs() -> None:
    rows = runs()
    assert calibration.measure_pairs(rows[rows["variant_id"] == "a"], "val_bpb") == []
