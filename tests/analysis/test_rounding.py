"""The reference beside itself: what is measured, and what a chaotic one is called."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from sweepkit.analysis import calibration, rounding
from sweepkit.config import typed

KEY = {"depth": 2, "dataset": "embedded", "dtype": "fp32", "hardware": "cpu", "total_tokens": 1000}


def rows(losses: dict[str, float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "run_id": name,
                "variant": "reference",
                "variant_id": "moved" if name.startswith("m") else "plain",
                "state": "complete" if loss is not None else "failed",
                "ended_at": pd.Timestamp("2026-01-01", tz="UTC"),
                "val_bpb": loss,
                **KEY,
            }
            for name, loss in losses.items()
        ]
    )


BESIDE = {"m1": "p1", "m2": "p2", "m3": "p3"}


def test_the_differences_of_pairs_that_are_complete() -> None:
    table = rows({"p1": 2.0, "p2": 2.1, "p3": 2.2, "p4": 9.0, "m1": 2.003, "m2": 2.096, "m3": None})
    (found,) = rounding.measure(table, "val_bpb", BESIDE)
    assert found.sd == pytest.approx(math.sqrt((0.003**2 + 0.004**2) / 2))
    assert (found.df, found.depth, found.metric) == (2, 2, "val_bpb by rounding alone")
    assert found.run_ids == ("m1", "m2", "p1", "p2")
    assert typed.load(calibration.Calibration, typed.dump(found)) == found
    assert rounding.measure(rows({"p1": 2.0, "p2": 2.1}), "val_bpb", BESIDE) == []


def test_no_verdict_takes_it_for_the_noise_of_seeds() -> None:
    known = rounding.measure(rows({"p1": 2.0, "m1": 2.0}), "val_bpb", BESIDE)
    assert known[0].sd == 0.0
    assert calibration.fitting(known, rows({"p1": 2.0}), "val_bpb") is None


@pytest.mark.parametrize(("apart", "is_chaotic"), [(0.0009, False), (0.0011, True)])
def test_a_third_of_min_effect_is_the_bar(apart: float, is_chaotic: bool) -> None:
    reference = rows({"p1": 2.0})
    known = rounding.measure(rows({"p1": 2.0, "m1": 2.0 + apart}), "val_bpb", BESIDE)
    said = rounding.said(known, reference, "val_bpb", min_effect=0.003)
    assert [text.startswith("rounding decides") for text in said] == [True] * is_chaotic
    assert rounding.said(known, reference.assign(depth=4), "val_bpb", 0.003) == []
