"""What is left goes by what was measured: steps by their FLOPs, and what a run takes beside them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.launch.budget import Estimate
from sweepkit.launch.ledger import Run
from sweepkit.launch.pace import Pace
from sweepkit.results.record import RunState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def run(num_steps: int, seconds: float, steps_s: float | None, flops: float | None = 1e9) -> Run:
    """One that is done: ``seconds`` from its start to its end, ``steps_s`` of them in its steps."""
    results = {"compile_time_s": 0.0} | ({} if steps_s is None else {"train_time_s": steps_s})
    record = SimpleNamespace(
        state=RunState.complete,
        attempt=1,
        started_at=BEGIN.isoformat(),
        ended_at=(BEGIN + timedelta(seconds=seconds)).isoformat(),
        results=results,
    )
    return cast(Run, SimpleNamespace(plan=plan(num_steps, flops), record=record))


def plan(num_steps: int, flops: float | None = 1e9) -> Any:
    total = None if flops is None else flops * num_steps
    return SimpleNamespace(compile_key="k", depth=2, total_flops=total, num_steps=num_steps)


@given(
    each_s=st.floats(0.001, 2.0), besides_s=st.floats(0.0, 30.0), known=st.integers(1, 500),
    asked=st.integers(1, 500), frac=st.floats(0.0, 1.0),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_a_short_run_has_as_much_beside_its_steps(
    each_s: float, besides_s: float, known: int, asked: int, frac: float
) -> None:
    pace = Pace([run(known, besides_s + known * each_s, known * each_s)] * 3)
    step = int(frac * asked)
    wanted = besides_s + (asked - step) * each_s
    assert pace.seconds_left(plan(asked), step) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_what_nobody_measured_is_in_the_whole() -> None:
    pace = Pace([run(100, 50.0, None)])
    assert pace.seconds_left(plan(8), 0) == pytest.approx(4.0)
    command = Pace([run(100, 3.0, 0.1, flops=None)])  # its start-up is most of it
    assert command.seconds_left(plan(100, flops=None), 0) == pytest.approx(3.0)


def test_the_start_is_said() -> None:
    found = Estimate(3, 0.01, None, None, True, "2 cores", 1, 1, 0, "")
    assert "about 36 s and some seconds to start, by those that are done" in str(found)
