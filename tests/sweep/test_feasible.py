"""A constraint that no point keeps is refused, and none that some point keeps: bands with a known answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.errors import ConfigError
from sweepkit.sweep import constraint, feasible
from sweepkit.sweep.search_space import Choices, Interval, Parameter, check_conditions

A, B = "optimizer.matrix.lr", "optimizer.x0.lr"
FLAT = {A: 0.02, B: 0.3}
ENDS = st.tuples(st.floats(0.001, 1.0), st.floats(1.05, 50.0)).map(lambda pair: (pair[0], pair[0] * pair[1]))


def is_refused(space: dict[str, Parameter], *texts: str) -> bool:
    own = [constraint.parse(text) for text in texts]

    def keeps(point: feasible.Point, item: constraint.Constraint) -> bool:
        excess = item.excess(lambda name: {**FLAT, **point}[name])
        return excess is None or excess <= 0

    try:
        feasible.check(space, own, FLAT, keeps)
    except ConfigError as error:
        assert "search.constraints" in str(error)
        return True
    return False


@given(ENDS, st.floats(0.0005, 60.0), st.booleans(), st.booleans())
def test_of_one_bound(ends: tuple[float, float], bound: float, is_least: bool, log: bool) -> None:
    space: dict[str, Parameter] = {A: Interval(*ends, log=log)}
    text = f"{A} {'>=' if is_least else '<='} {bound!r}"
    assert is_refused(space, text) is (bound > ends[1] if is_least else bound < ends[0])


@pytest.mark.slow
@given(ENDS, ENDS, st.booleans())
def test_of_a_band_between_two_bounds(
    ends: tuple[float, float], band: tuple[float, float], log: bool
) -> None:
    space: dict[str, Parameter] = {A: Interval(*ends, log=log)}
    meet = min(ends[1], band[1]) - max(ends[0], band[0])
    texts = [f"{A} >= {band[0]!r}", f"{A} <= {band[1]!r}"]
    assert is_refused(space, *texts) is (meet < 0)
    assert is_refused(space, " and ".join(texts)) is (meet < 0)


@given(ENDS, ENDS, st.floats(0.01, 100.0))
def test_of_two_fields(one: tuple[float, float], other: tuple[float, float], times: float) -> None:
    space: dict[str, Parameter] = {A: Interval(*one), B: Interval(*other, log=True)}
    assert is_refused(space, f"{B} >= {times!r} * {A}") is (other[1] < times * one[0])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True), st.integers(1, 40))
def test_of_choices_and_what_is_fixed(choices: list[int], bound: int) -> None:
    space: dict[str, Parameter] = {A: Choices(tuple(map(float, choices)))}
    assert is_refused(space, f"{A} > {bound}") is (max(choices) <= bound)
    assert is_refused(space, f"{B} > {bound}")  # the reference's 0.3, which is not searched


def test_a_condition_on_a_value_that_an_interval_never_takes_is_refused() -> None:
    on = Choices((1, 2), when={A: (0.02,)})
    for parent, is_met in ((Interval(0.01, 0.1), False), (Interval(0.01, 0.1, step=0.01), True)):
        space: dict[str, Parameter] = {A: parent, B: on}
        if is_met:
            check_conditions(space)
            continue
        with pytest.raises(ConfigError, match=f"search.space.{B}.when.{A}"):
            check_conditions(space)
