"""Declaring a field: default, facts, what it inherits, and its range."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional, Union

import pytest
from omegaconf import OmegaConf

from sweepkit.config.facts import (
    REQUIRED,
    Identity,
    block,
    check_ranges,
    either,
    fact,
    fields_of,
    spelled,
    unless,
    when,
)
from sweepkit.config.ranges import (
    at_least,
    auto_or_at_least_one,
    below_one,
    between,
    finite,
    more_than_zero,
    not_empty,
)
from sweepkit.errors import ConfigError


class Colour(Enum):
    red = "red"
    blue = "blue"


@dataclass
class Inner:
    rate: float = fact(0.1, "a rate", at_least(0), unit="1/step")
    start: float = fact(1.0, "where it begins", finite(), initial=True)
    name: str = fact("x", "a name", not_empty(), identity=Identity.none, why="a name", traced=False)


@dataclass
class Outer:
    colour: Colour = fact(Colour.red, "a choice")
    items: list[str] = fact(["a"], "some texts", data=True)
    size: Union[int, str] = fact("auto", "how large", auto_or_at_least_one(), example="3")  # noqa: UP007
    count: Optional[int] = fact(None, "how many", between(1, 9), example="2")  # noqa: UP045
    inner: Inner = block(Inner, "what is inside", traced=True, when=when("colour", Colour.red))
    other: Inner = block(lambda: Inner(rate=0.5), "the same", identity=Identity.none, why="for display")
    plain: int = 3
    empty: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    name: str = fact(REQUIRED, "given by the file")
    alpha: float = fact(0.05, "error rate", more_than_zero(0.5))


FIELDS = fields_of(Outer)


def test_every_field_stands_under_its_dotted_name() -> None:
    assert list(FIELDS) == [
        "colour", "items", "size", "count", "inner.rate", "inner.start", "inner.name",
        "other.rate", "other.start", "other.name", "plain", "empty",
    ]  # fmt: skip
    assert [FIELDS[key].default for key in ("items", "inner.rate", "other.rate", "plain", "empty")] == [
        ["a"], 0.1, 0.5, 3, [],
    ]  # fmt: skip
    assert FIELDS["count"].kinds == (int,) and FIELDS["count"].alternatives == (int, type(None))
    assert FIELDS["items"].is_text and not FIELDS["size"].is_text


def test_a_field_takes_over_what_its_block_says_and_it_does_not() -> None:
    inner, start, name = (FIELDS[f"inner.{item}"].facts for item in ("rate", "start", "name"))
    assert (inner.identity, inner.traced, inner.data) == (Identity.configured, True, False)
    assert (start.traced, start.initial) == (False, True)
    assert (name.identity, name.why, name.traced) == (Identity.none, "a name", False)
    assert inner.when == when("colour", Colour.red)
    assert (FIELDS["other.rate"].facts.identity, FIELDS["other.rate"].facts.why) == (
        Identity.none,
        "for display",
    )
    assert FIELDS["other.rate"].facts.when == ()
    assert FIELDS["plain"].facts.identity is Identity.configured, "nobody said anything"
    assert FIELDS["items"].facts.data and FIELDS["inner.rate"].facts.unit == "1/step"


def test_what_changes_no_number_says_why() -> None:
    with pytest.raises(AssertionError, match="why"):
        fact(1, "a number", identity=Identity.none)


def test_defaults_are_not_shared_and_omegaconf_takes_the_schema() -> None:
    first, second = Outer(), Outer()
    first.items.append("b")
    assert second.items == ["a"]
    config = OmegaConf.structured(Outer)
    assert OmegaConf.to_object(config) == Outer()
    config.count = 4
    with pytest.raises(Exception, match="Float"):
        config.inner.rate = "fast"


def test_a_frozen_dataclass_may_have_fields_that_have_to_be_given() -> None:
    with pytest.raises(TypeError, match="name"):
        Frozen()
    assert Frozen(name="a").alpha == 0.05
    assert fields_of(Frozen)["name"].default is REQUIRED
    with pytest.raises(
        ConfigError, match=r"decision\.alpha is 0\.7, but must be more than 0 and at most 0\.5"
    ):
        check_ranges(Frozen(name="a", alpha=0.7), "decision.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size is 0, but must be auto or a whole number of at least 1; try auto or 3"),
        ({"size": "big"}, "size is 'big', but must be auto or a whole number of at least 1; try auto or 3"),
        ({"count": 10}, "count is 10, but must lie between 1 and 9; try 2"),
        ({"count": 2**63}, f"count is {2**63}, but must fit in 64 bits; try 2"),
        ({"inner": Inner(rate=math.nan)}, "inner.rate is nan, but must be finite and at least 0; try 0.1"),
        ({"inner": Inner(start=math.inf)}, "inner.start is inf, but must be a finite number; try 1"),
        ({"other": Inner(rate=-1)}, "other.rate is -1, but must be at least 0; try 0.5"),
        ({"other": Inner(name=" ")}, "other.name is ' ', but must not be empty; try other.name=x"),
    ],
)
def test_a_range_names_the_field_the_value_the_contract_and_a_remedy(
    changes: dict[str, object], message: str
) -> None:
    check_ranges(Outer())
    with pytest.raises(ConfigError) as error:
        check_ranges(Outer(**changes))  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("limits", "inside", "outside"),
    [
        (at_least(2), [2, 3.5], [1.9, math.inf, math.nan]),
        (between(0, 1), [0, 0.5, 1], [-0.1, 1.1, math.nan]),
        (more_than_zero(), [1e-300, 1e300], [0, -1, math.inf, math.nan]),
        (more_than_zero(2), [0.1, 2], [0, 2.1]),
        (below_one(), [0, 0.999], [1, -0.1, math.nan]),
    ],
)
def test_ranges(limits: object, inside: list[object], outside: list[object]) -> None:
    assert all(map(limits.holds, inside))  # type: ignore[attr-defined]
    assert not any(map(limits.holds, outside))  # type: ignore[attr-defined]


def test_conditions_and_values_in_words() -> None:
    (only,), (other,) = when("a.b", Colour.red, Colour.blue), unless("c", None, 0.0)
    assert (str(only), str(other)) == ("a.b=red or blue", "c is not null or 0")
    values = {"a.b": Colour.red, "c": 0.0}.__getitem__
    assert only.holds(values) and not other.holds(values) and other.holds(lambda _: 0.1)
    (one,) = either(when("a.b", Colour.blue), unless("c", 1))
    assert str(one) == "a.b=blue or c is not 1"
    assert one.holds(values) and not one.holds(lambda _: 1)
    assert [spelled(value) for value in (True, 1e-10, 100_000.0, ["a", "b"], None, "x")] == [
        "true", "1e-10", "100000", "[a,b]", "null", "x",
    ]  # fmt: skip
