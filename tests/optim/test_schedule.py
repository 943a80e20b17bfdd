"""The schedules at their corners, as the baseline states them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.config.compose import compose
from sweepkit.optim.schedule import lr_factor, momentum, weight_decay_factor
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan


def plan(*overrides: str) -> RunPlan:
    return build(compose(["model=d12", *overrides]))


BASELINE = plan("horizon.num_steps=2000")  # warm-down from step 700 on


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 40),
        (19, 0.5),
        (39, 1.0),
        (40, 1.0),
        (700, 1.0),
        (701, 1 - 0.95 / 1300),
        (1350, 0.525),
        (1999, 0.05 + 0.95 / 1300),
    ],
)
def test_learning_rate(step: int, factor: float) -> None:
    assert lr_factor(step, BASELINE) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.85),
        (200, 0.91),
        (400, 0.97),
        (699, 0.97),
        (700, 0.97),
        (1350, 0.935),
        (1999, 0.97 - 0.07 * 1299 / 1300),
    ],
)
def test_momentum(step: int, expected: float) -> None:
    assert momentum(step, BASELINE) == pytest.approx(expected)


def test_momentum_warmup_has_precedence_over_the_warmdown() -> None:
    short = plan("horizon.num_steps=500")  # warm-down from step 175 on
    assert momentum(300, short) == pytest.approx(0.85 + 0.12 * 0.75)
    assert momentum(400, short) == pytest.approx(0.97 - 0.07 * 225 / 325)


def test_weight_decay() -> None:
    assert weight_decay_factor(0, BASELINE) == 1.0
    assert weight_decay_factor(500, BASELINE) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert weight_decay_factor(1000, BASELINE) == pytest.approx(0.5)
    assert weight_decay_factor(1999, BASELINE) < 1e-5
    constant = plan("horizon.num_steps=2000", "schedule.weight_decay=constant")
    assert [weight_decay_factor(s, constant) for s in (0, 1999)] == [1.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(1, 5000),
    warmup=st.integers(0, 100),
    warmdown=st.floats(0, 1),
    final=st.floats(0, 1),
    at=st.floats(0, 1, exclude_max=True),
)
def test_values_stay_in_range_for_any_run(
    steps: int, warmup: int, warmdown: float, final: float, at: float
) -> None:
    any_plan = plan(
        f"horizon.num_steps={steps}",
        f"schedule.warmup_steps={warmup}",
        f"schedule.warmdown_ratio={warmdown}",
        f"schedule.final_lr_frac={final}",
    )
    step = int(at * steps)
    assert 0 <= lr_factor(step, any_plan) <= 1
    assert 0.85 <= momentum(step, any_plan) <= 0.97
    assert 0 <= weight_decay_factor(step, any_plan) <= 1


def test_no_warmup_no_warmdown() -> None:
    flat = plan(
        "horizon.num_steps=10",
        "schedule.warmup_steps=0",
        "schedule.warmdown_ratio=0",
        "schedule.momentum_warmup_steps=0",
    )
    assert {lr_factor(s, flat) for s in range(10)} == {1.0}
    assert {momentum(s, flat) for s in range(10)} == {0.97}
