"""How numbers are written."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.report import numbers


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize(
    "write", [numbers.bpb, numbers.change, numbers.percent, numbers.count, numbers.scaled, numbers.duration,
              numbers.plain, numbers.percent_change],
)  # fmt: skip
def test_missing_is_a_dash(write: object, missing: object) -> None:
    assert write(missing) == "–"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (8.24, "8.2 s"), (99.94, "99.9 s"), (99.96, "1 min 40 s"), (200, "3 min 20 s"),
     (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1234, "1.23k"),
        (2.5e6, "2.5M"),
        (7.1e12, "7.1T"),
        (4.33e19, "4.33e19"),
        (-5e3, "-5k"),
    ],
)
def test_large_numbers(value: float, text: str) -> None:
    assert numbers.scaled(value) == text


def test_changes_carry_their_sign() -> None:
    assert numbers.change(-0.0007) == "−0.00070"
    assert numbers.change(0.0033) == "+0.00330"
    assert numbers.percent_change(1.3) == "+30.0%"


@given(st.floats(0, 1e7))
def test_a_duration_never_shows_sixty_of_anything(seconds: float) -> None:
    assert "60" not in numbers.duration(seconds).replace("min", "").split()[1:]
