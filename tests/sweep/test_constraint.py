"""Constraints: worked out as Python does it, by degrees, and refused in the house's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.errors import ConfigError
from sweepkit.sweep import constraint

LR, X0, PATTERN = "optimizer.matrix.lr", "optimizer.x0.lr", "model.window_pattern"
NAMES = {LR: 0.02, X0: 0.5, "seed": 3, PATTERN: "SL"}

numbers = st.one_of(
    st.integers(-5, 5).map(lambda value: f"({value})"), st.sampled_from(["0.5", "2e-1", LR, X0, "seed"])
)
terms = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda it: f"({it[0]} {it[1]} {it[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda it: f"{it[0]}({it[1]}, {it[2]})"),
        inner.map(lambda it: f"-{it}"),
    ),
    max_leaves=5,
)
comparisons = st.one_of(
    st.tuples(terms, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), terms).map(" ".join),
    st.sampled_from([f"{PATTERN} == 'SL'", f"{PATTERN} != 'L'", f"'L' == {PATTERN}", f"0.01 < {LR} <= 0.02"]),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda it: f"({it[0]} {it[1]} {it[2]})"),
        inner.map(lambda it: f"not ({it})"),
    ),
    max_leaves=4,
)


@given(conditions)
def test_it_holds_where_python_says_so(text: str) -> None:
    plain = text
    for name, value in NAMES.items():
        plain = plain.replace(name, repr(value))
    try:
        found = constraint.parse(text)
    except ConfigError as error:
        assert "name a field" in str(error) and not any(name in text for name in NAMES)
        return
    excess = found.excess(NAMES.get)
    assert excess is not None
    assert (excess <= 0) == bool(eval(plain, {"min": min, "max": max}))
    assert not found.is_measured


def test_it_says_by_how_much() -> None:
    assert constraint.parse(f"{X0} <= 10 * {LR}").excess(NAMES.get) == pytest.approx(0.3)
    found = constraint.parse("train_time_s <= 600")
    assert found.is_measured
    assert found.excess({"train_time_s": 620.0}.get) == 20.0
    assert found.excess({}.get) is None, "what was not measured is not known"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.matirx.lr <= 1", "optimizer.matirx.lr is neither.*did you mean 'optimizer.matrix.lr'"),
        (LR, "be a comparison"),
        (f"{LR} <=", "be a comparison"),
        (f"{LR} + 1", "be a comparison"),
        ("1 < 2", "name a field"),
        (f"__import__('os').system('x') < {LR}", "hold names, numbers, text"),
        (f"{LR} < [1][0]", r"not \[1\]\[0\]"),
        (f"val_bpb <= {LR}", f"name either fields or what is measured .val_bpb., and not {LR} too"),
        (f"{LR} < (seed < 3)", "hold names"),
    ],
)
def test_what_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        constraint.parse(text)


@pytest.mark.parametrize("text", [f"{PATTERN} < 3", f"{LR} / 0 < 1", f"(9 ** 9) ** (9 ** 9) < {LR}"])
def test_what_cannot_be_worked_out_is_refused_when_it_is(text: str) -> None:
    values: Any = NAMES.get
    with pytest.raises(ConfigError, match=r"calculate with numbers|be worked out"):
        constraint.parse(text).excess(values)
