"""A cost axis is switched off in words, and stays off."""

from __future__ import annotations

import pytest

from sweepkit.config import typed
from sweepkit.errors import ConfigError
from sweepkit.sweep.decision import DecisionRule

DEFAULT_AXES = {"steps": "superior", "wall_clock": "not_worse", "flops": "not_worse"}


@pytest.mark.parametrize("axis", ["wall_clock", "flops"])
def test_an_axis_that_is_ignored_is_not_judged(axis: str) -> None:
    rule = DecisionRule.from_json({"axes": {axis: "ignore"}})
    assert rule.axes.judged == {name: demand for name, demand in DEFAULT_AXES.items() if name != axis}
    assert typed.dump(rule)["axes"] == DEFAULT_AXES | {axis: "ignore"}
    assert DecisionRule.from_json(typed.dump(rule)) == rule
    assert DecisionRule.amended([f"decision.axes.{axis}=ignore"]) == rule
    assert DecisionRule.amended([f"decision.axes.{axis}=not_worse"], rule) == DecisionRule()


def test_the_metric_itself_cannot_be_ignored() -> None:
    with pytest.raises(ConfigError, match=r"decision.axes.steps.*be superior or not_worse"):
        DecisionRule.from_json({"axes": {"steps": "ignore"}})


@pytest.mark.parametrize("demand", [False, "off", None])
def test_other_words_are_refused_with_the_right_one(demand: object) -> None:
    with pytest.raises(ConfigError, match=r"decision.axes.wall_clock.*or ignore"):
        DecisionRule.from_json({"axes": {"wall_clock": demand}})
