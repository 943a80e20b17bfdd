"""Noise that was measured beforehand: what it is measured of, what it serves, and how far it is believed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_frames import runs
from scipy import stats

from sweepkit import fsio
from sweepkit.analysis import calibration, calibration_file
from sweepkit.analysis.calibration import CALIBRATED, OWN, SHRUNK, Calibration
from sweepkit.analysis.effects import effects
from sweepkit.config import typed
from sweepkit.errors import SweepkitError

KNOWN = Calibration(
    12, "climbmix", "bf16", "h100", 10**9, "val_bpb", 0.0004, 4, "2026-01-20T00:00:00", ("a",)
)


def seeds(values: list[float], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "run_id": [f"r{index}" for index in range(len(values))],
            "variant_id": "v",
            "state": "complete",
            "val_bpb": values,
            "ended_at": pd.Timestamp("2026-01-20", tz="UTC"),
            "depth": 12,
            "dataset": "climbmix",
            "dtype": "bf16",
            "hardware": "h100",
            "total_tokens": 10**9,
        }
    )
    return frame.assign(**columns)


def test_it_is_the_sd_of_complete_runs() -> None:
    values = [0.9, 0.91, 0.905, 0.902, 0.899, 7.0]
    frame = seeds(values)
    frame.loc[5, "state"] = "diverged"
    (found,) = calibration.measure(frame, "val_bpb")
    assert found.sd == pytest.approx(np.std(values[:5], ddof=1))
    assert (found.df, found.depth, found.dataset) == (4, 12, "climbmix")
    assert found.run_ids == ("r0", "r1", "r2", "r3", "r4")
    assert typed.load(Calibration, typed.dump(found)) == found


def test_datasets_and_depths_are_never_pooled() -> None:
    frame = pd.concat([seeds([0.9, 0.91]), seeds([0.5, 0.51], dataset="other"), seeds([0.8, 0.82], depth=20)])
    assert [(item.depth, item.dataset) for item in calibration.measure(frame, "val_bpb")] == [
        (12, "climbmix"), (12, "other"), (20, "climbmix"),
    ]  # fmt: skip
    assert calibration.measure(seeds([0.9, 0.9]), "val_bpb") == [], "seeds that change nothing"
    assert calibration.measure(seeds([0.9]), "val_bpb") == []


def test_it_serves_only_its_own_conditions() -> None:
    assert calibration.fitting([KNOWN], seeds([0.9]), "val_bpb") is KNOWN
    better = replace(KNOWN, df=9)
    assert calibration.fitting([KNOWN, better], seeds([0.9]), "val_bpb") is better
    assert calibration.fitting([KNOWN], seeds([0.9]), "bpb_probe") is None
    for name in calibration.KEY:
        other = seeds([0.9], **{name: 24 if name in ("depth", "total_tokens") else "other"})
        assert calibration.fitting([KNOWN], other, "val_bpb") is None
    assert calibration.fitting([KNOWN], seeds([0.9, 0.9], dtype=["bf16", "fp32"]), "val_bpb") is None


def test_five_seeds_leave_a_factor_of_three() -> None:
    low, high = KNOWN.sd_interval()
    assert (low / KNOWN.sd, high / KNOWN.sd) == (
        pytest.approx(0.599, abs=1e-3),
        pytest.approx(2.874, abs=1e-3),
    )


def test_variances_are_averaged_by_their_degrees_of_freedom() -> None:
    found = calibration.settle(0.0006, 6, KNOWN)
    assert found is not None
    assert found.sd == pytest.approx(math.sqrt((6 * 0.0006**2 + 4 * 0.0004**2) / 10))
    assert (found.df, found.source) == (10, SHRUNK)
    assert calibration.settle(None, 0, KNOWN) == calibration.Noise(0.0004, 4, CALIBRATED)
    assert calibration.settle(0.0006, 6, None) == calibration.Noise(0.0006, 6, OWN)
    assert calibration.settle(None, 0, None) is None
    for far in (0.004, 0.00004):
        assert calibration.settle(far, 6, KNOWN) == calibration.Noise(far, 6, OWN), "significantly off"


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.0, 0.004])
def test_p_stays_uniform_with_a_calibration(luck: float) -> None:
    """The measured SD holds the luck of seeds too, so a shrunken noise may only be too large."""
    rng = np.random.default_rng(2)
    p = []
    for _ in range(250):
        measured = float(rng.normal(0.0, math.hypot(0.002, luck), 5).std(ddof=1))
        known = replace(KNOWN, sd=measured)
        frame = runs({"a": 0.0, "b": 0.0}, seeds=3, rng=rng, noise=0.002, luck=luck)
        (found, _) = effects(frame, "val_bpb", alpha=0.1, known=known)
        assert found.p is not None
        p.append(found.p)
    if luck == 0.0:
        assert stats.kstest(p, "uniform").pvalue > 0.001
    for level in (0.05, 0.1):
        below = sum(value <= level for value in p)
        assert stats.binomtest(below, len(p), level, alternative="greater").pvalue > 0.001


def test_a_single_seed_can_be_judged_by_a_calibration() -> None:
    frame = runs({"a": -0.003}, seeds=1)
    (found,) = effects(frame, "val_bpb", alpha=0.1, known=KNOWN)
    assert found.standard_error == pytest.approx(0.0004 * math.sqrt(2))
    assert (found.df, found.noise_source) == (4, CALIBRATED)


def test_the_file_keeps_the_latest(tmp_path: Path) -> None:
    assert calibration_file.read(tmp_path) == []
    calibration_file.add(tmp_path, [KNOWN, replace(KNOWN, depth=20)])
    newer = replace(KNOWN, sd=0.0005)
    calibration_file.add(tmp_path, [newer])
    assert calibration_file.read(tmp_path) == [newer, replace(KNOWN, depth=20)]
    (tmp_path / calibration_file.NAME).write_text("{")
    with pytest.raises(SweepkitError, match="delete it"):
        calibration_file.read(tmp_path)
    fsio.write_json(tmp_path / calibration_file.NAME, {"schema_version": 2, "noise": []})
    with pytest.raises(SweepkitError, match="update sweepkit"):
        calibration_file.read(tmp_path)
