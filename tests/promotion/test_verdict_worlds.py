"""Worlds of one rung: the fast code is the real one, and the rule clears the bars written before it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sample import sample
from sweepkit.promotion.simulation import verdict_arrays, verdicts
from sweepkit.sweep.decision import STEPS_ALONE, DecisionRule

CONTENT = verdicts.load()
CELLS = verdicts.cells(CONTENT)
RULE = DecisionRule(alpha=0.05, min_effect=0.0, axes=STEPS_ALONE)


def named(cell: verdicts.Cell) -> str:
    return f"{cell.rung.name}, {cell.design} seeds, {cell.num_better} better"


@pytest.mark.parametrize("cell", sample([c for c in CELLS if not c.rung.worst_lost], 6), ids=named)
def test_the_arrays_decide_as_the_code_that_judges_real_runs(cell: verdicts.Cell) -> None:
    loss_WQ, frame = verdicts.draw(cell, 6, np.random.default_rng(7))
    promoted_WV, waits_W = verdict_arrays.judge(*verdicts.split(cell, loss_WQ), 0.05)
    for loss_Q, promoted_V, waits in zip(loss_WQ, promoted_WV, waits_W, strict=True):
        found, does_wait = verdicts.judge(frame.assign(val_bpb=loss_Q), RULE)
        assert sorted(found) == [f"v{place}" for place in np.flatnonzero(promoted_V)]
        assert does_wait == waits


@pytest.mark.parametrize(
    "cell",
    sample([c for c in CELLS if verdicts.bar(CONTENT, c) is not None and not c.rung.worst_lost], 4),
    ids=named,
)
def test_the_bar_is_cleared(cell: verdicts.Cell) -> None:
    bar = verdicts.bar(CONTENT, cell)
    assert bar is not None
    found = verdicts.measure(cell, 600, seed=3)
    wrong = round(found.promoted * found.num_worlds)
    assert wrong == 0 or stats.binomtest(wrong, found.num_worlds, bar, alternative="greater").pvalue > 0.001
    if cell.rung.reference_run_off == 10.0:
        assert found.waits > 0.95
