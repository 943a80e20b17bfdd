"""Search spaces: every value survives JSON, Optuna and the command line's grammar unchanged."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.config import override
from sweepkit.search import space
from sweepkit.sweep import points
from sweepkit.sweep.search_spec import Choices, SearchSpec

KEY = "optimizer.matrix.lr"


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["float", "whole", "choices"]))
    if kind == "choices":
        values = st.one_of(
            st.integers(-99, 99), st.booleans(), st.none(), st.floats(0.001, 9.5), st.text(max_size=12)
        )
        return {"choices": draw(st.lists(values, min_size=1, max_size=5, unique_by=lambda v: str(v).lower()))}
    log = draw(st.booleans())
    if kind == "whole":
        low = draw(st.integers(1 if log else -50, 50))
        high = low + draw(st.integers(1, 100))
        step = None if log else draw(st.one_of(st.none(), st.integers(1, high - low)))
    else:
        low = draw(st.floats(1e-6 if log else -5, 5))
        high = low + draw(st.floats(0.01, 10))
        step = None if log else draw(st.one_of(st.none(), st.floats((high - low) / 50, high - low)))
    return {"low": low, "high": high, "log": log} | ({"step": step} if step else {})


@settings(max_examples=150, deadline=None)
@given(parameter=parameters(), seed=st.integers(0, 2**32 - 1))
def test_a_space_survives_json_and_holds_what_optuna_draws(parameter: dict[str, Any], seed: int) -> None:
    spec = SearchSpec.from_json({"space": {KEY: parameter}})
    assert SearchSpec.from_json(spec.to_json()) == spec
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask(fixed_distributions=space.distributions(spec.space))
    value = trial.params[KEY]
    assert spec.space[KEY].holds(value)
    spelled = override.parse(points.spell(KEY, value)).value
    assert spelled == value
    assert isinstance(spelled, type(value)) or spelled is None


@settings(max_examples=100, deadline=None)
@given(parameter=parameters())
def test_ends_and_choices_are_in_the_space_and_what_is_beyond_is_not(parameter: dict[str, Any]) -> None:
    found = SearchSpec.from_json({"space": {KEY: parameter}}).space[KEY]
    distribution = space.distributions({KEY: found})[KEY]
    if isinstance(found, Choices):
        assert all(found.holds(value) for value in found.values)
        return
    assert found.holds(found.low)
    assert found.holds(found.high)
    assert not found.holds(found.low - 1)
    assert not found.holds(found.high + (found.step or 0) + 1)
    assert distribution.high == pytest.approx(found.high)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({}, "search.space is None, but must name at least one field"),
        ({"space": {KEY: 3}}, f"search.space.{KEY} is 3"),
        ({"space": {KEY: {"low": 1}}}, "high is None, but must be given"),
        ({"space": {KEY: {"low": 2, "high": 1}}}, "low < high"),
        ({"space": {KEY: {"low": 0.0, "high": 1.0, "log": True}}}, "above 0 with log"),
        ({"space": {KEY: {"low": 0, "high": 9, "log": True}}}, "1 or more with log"),
        ({"space": {KEY: {"low": 0.1, "high": 1.0, "log": True, "step": 0.1}}}, "stand without log"),
        ({"space": {KEY: {"low": 0.1, "high": "1.0"}}}, "be a number"),
        ({"space": {KEY: {"low": 0.1, "hihg": 1.0}}}, "did you mean 'high'"),
        ({"space": {KEY: []}}, "list of plain values"),
        ({"space": {KEY: [1, 1]}}, "every value once"),
        ({"space": {"seed": [1, 2]}}, "seeds: lists replicates"),
        ({"space": {"launcher.num_workers": [1, 2]}}, "leave it out of the space"),
        ({"space": {KEY: [1, 2]}, "sampler": "tpr"}, "did you mean 'tpe'"),
        ({"space": {KEY: [1, 2]}, "n_trials": 0}, "1 or more"),
        ({"space": {KEY: [1, 2]}, "n_trial": 3}, "did you mean 'n_trials'"),
        ({"space": {KEY: [1, 2]}, "max_peak_memory_gib": 0}, "be above 0"),
        ({"space": {KEY: [1, 2]}, "enqueue": [["model.depth=3"]]}, "set a field of the space"),
        ({"space": {KEY: [1, 2]}, "enqueue": [[f"{KEY}=3"]]}, "lie in the space"),
        ({"space": {KEY: [1, 2]}, "pruning": {"kind": "halfing"}}, "did you mean 'halving'"),
        ({"space": {KEY: [1, 2]}, "pruning": {"kind": "sigma", "k": "3"}}, "be of type"),
        ({"space": {"schedule.warmdown_ratio": [0.1, 0.2]}, "pruning": "halving"}, "do not compare"),
        ({"space": {"horizon.num_steps": [10, 20]}, "pruning": "sigma"}, "do not compare"),
    ],
)
def test_what_a_search_may_not_say(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        SearchSpec.from_json(search)
