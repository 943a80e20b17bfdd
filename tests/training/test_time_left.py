"""The time left against a run that is walked through step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.training.time_left import TimeLeft


@given(
    num_steps=st.integers(1, 30), every=st.integers(0, 12), at=st.integers(0, 30),
    is_evaluated=st.booleans(), row_s=st.sampled_from([None, 0.5]),
)  # fmt: skip
def test_it_is_what_the_loop_still_does(
    num_steps: int, every: int, at: int, is_evaluated: bool, row_s: float | None
) -> None:
    at = min(at, num_steps)
    step_s, left = 3.0, TimeLeft(num_steps, step_rows=4, every_steps=every, eval_rows=7, last_rows=9)
    if row_s is not None:
        left.evaluated(9 * row_s, at_end=True)
    a_row = 3.0 / 3 / 4 if row_s is None else row_s
    wanted, step, evaluated = 0.0, at, is_evaluated
    while True:  # as ``TrainLoop.run`` does
        if not evaluated and step == num_steps:
            wanted += 9 * a_row
        elif not evaluated and every and step and step % every == 0:
            wanted += 7 * a_row
        if step == num_steps:
            break
        step, evaluated = step + 1, False
        wanted += step_s
    assert left.seconds(at, step_s, is_evaluated) == pytest.approx(wanted)
