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
     (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (172_769, "47 h 59 min"), (180_000, "2 d 2 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (99.4, "99 s"), (99.6, "1 min 40 s")])
def test_durations_in_whole_seconds(seconds: float, text: str) -> None:
    assert numbers.duration(seconds, decimals=0) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1234, "1.23k"),
        (24_960, "25.0k"),
        (213e9, "213B"),
        (999_600, "1.00M"),
        (2.5e6, "2.50M"),
        (7.1e12, "7.10T"),
        (4.33e19, "4.33e19"),
        (-5e3, "-5.00k"),
    ],
)
def test_large_numbers(value: float, text: str) -> None:
    assert numbers.scaled(value) == text


@given(st.floats(1, 9e14))
def test_a_large_number_has_three_digits_and_reads_back(value: float) -> None:
    text = numbers.scaled(value)
    scale = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1])
    assert float(text[:-1]) * scale if scale else float(text) == pytest.approx(value, rel=0.006)
    assert not scale or len(text[:-1].replace(".", "")) == 3


def test_an_axis_needs_no_zeros_at_the_end() -> None:
    assert [numbers.scaled(value, fixed=False) for value in (0, 5e10, 1.5e12)] == ["0", "50B", "1.5T"]


def test_the_points_of_a_column_line_up() -> None:
    values = [7.62476, 7.0664, None, 12.5]
    assert numbers.column(values) == ["7.62476", "7.06640", "–", "12.50000"]
    assert numbers.column([1, 20]) == ["1", "20"]
    assert numbers.column(["a", None]) == ["a", "–"]
    assert numbers.column([1e-9, 0.5]) == ["1e-09", "0.5"]


def test_changes_carry_their_sign() -> None:
    assert numbers.change(-0.0007) == "−0.00070"
    assert numbers.change(0.0033) == "+0.00330"
    assert numbers.percent_change(1.3) == "+30.0%"


@given(st.floats(0, 1e7), st.sampled_from([0, 1]))
def test_a_duration_never_shows_sixty_of_anything(seconds: float, decimals: int) -> None:
    assert "60" not in numbers.duration(seconds, decimals).replace("min", "").split()[1:]
