"""Names made from values are levels, whatever the value, and differ where the values do."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sweepkit.sweep import labels


@given(st.text(max_size=12) | st.text("${}._+-'\"/a1", max_size=12))
def test_every_value_has_a_name_that_is_a_level(text: str) -> None:
    assert labels.is_level(labels.of_value(text))


@given(st.lists(st.text("${}._a1-", max_size=6), unique=True, max_size=6))
@example([".1", "_.1"])
@example(["-1", "'-1'"])
def test_different_values_have_different_names(texts: list[str]) -> None:
    found = labels.names(texts)
    assert len(set(found)) == len(texts)
    assert all(map(labels.is_level, found))


@pytest.mark.parametrize(
    ("value", "name"),
    [("${..resid.lr}", "resid.lr"), ("${seed}", "seed"), (-0.5, "-0.5"), (".5", ".5"), ("..", "value")],
)
def test_names_read_like_the_values(value: object, name: str) -> None:
    assert labels.of_value(value) == name
