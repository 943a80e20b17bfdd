"""Verdicts as a table: of a ladder, by name and by its promotion, and of a table of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from promotion_worlds import RULE, World, climb, freeze

import sweepkit.results
from sweepkit.promotion.compare import compare


@pytest.mark.slow
def test_a_row_is_a_verdict(tmp_path: Path) -> None:
    effects = {"better": -0.05, "worse": 0.05}
    frozen = freeze(tmp_path, list(effects))
    world = World(frozen, effects)
    promotion = climb(world)
    frame = promotion.to_frame()
    verdicts = [verdict for rung in promotion.rungs for verdict in rung.verdicts]
    assert len(frame) == len(verdicts) >= 3
    for row, verdict in zip(frame.to_dict("records"), verdicts, strict=True):
        assert (row["rung"], row["variant"], row["outcome"]) == (
            verdict.rung,
            verdict.variant,
            verdict.outcome,
        )
        assert row["effect"] == pytest.approx(verdict.effect.effect)
        assert row["p_corrected"] == pytest.approx(verdict.evidence.p_corrected)
    stored = sweepkit.results.verdicts(frozen.name, frozen.sweep_dir.parent)
    assert stored.equals(frame) and stored["n"].dtype == "Int64"
    compared = compare(world.load(), "reference", RULE)
    assert list(compared.to_frame()["variant"]) == [item.variant for item in compared.verdicts]
