"""A variant that took other steps than the reference is not compared "at equal steps"."""

from __future__ import annotations

import pandas as pd
import pytest
from other_tables import table

from sweepkit.promotion.compare import Comparison, compare
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.report import sheets


def judged(steps: int, **columns: float) -> Comparison:
    frame = table({"mine": -0.02, "other": 0.0}, num_steps=1000)
    mine = frame["variant"] == "mine"
    frame.loc[mine, "num_steps"] = steps
    for name, ratio in columns.items():
        frame[name] = pd.Series(1e9, frame.index).mask(mine, ratio * 1e9)
    return compare(frame, "baseline")


def test_more_steps_show_nothing_by_themselves() -> None:
    found = judged(2000)
    mine = found.final["mine"]
    assert mine.outcome is Outcome.inconclusive
    assert "after 2,000 steps, the reference after 1,000" in mine.reasons[0]
    assert "at equal steps:" not in " ".join(sheets.axes(found.verdicts, found.decision).headers)
    assert found.final["other"].outcome is not Outcome.promote


def test_more_steps_that_cost_no_more_count() -> None:
    mine = judged(2000, total_flops=1.0).final["mine"]
    assert mine.outcome is Outcome.promote
    assert "after 2,000 steps, the reference after 1,000" in mine.reasons[0]
    assert judged(2000, total_flops=2.0).final["mine"].outcome is Outcome.reject


@pytest.mark.parametrize(("steps", "said"), [(500, True), (1000, False)])
def test_fewer_steps_are_all_the_better(steps: int, said: bool) -> None:
    found = judged(steps)
    assert found.final["mine"].outcome is Outcome.promote
    assert ("steps, the reference" in found.final["mine"].reasons[0]) is said
    assert ("at equal steps:" in " ".join(sheets.axes(found.verdicts, found.decision).headers)) is not said
