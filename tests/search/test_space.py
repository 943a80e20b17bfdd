"""Search spaces: every value survives JSON, Optuna and the command line's grammar unchanged."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.config import override, typed
from sweepkit.search import space
from sweepkit.sweep import points
from sweepkit.sweep.search_space import Choices
from sweepkit.sweep.search_spec import SearchSpec

KEY = "optimizer.matrix.lr"
WHOLE = "optimizer.matrix.num_iterations"
MIXED = "model.window_pattern"  # text; a choice may be anything that its field then takes or refuses


@st.composite
def parameters(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A field and what is searched of it; the ends of a float field may be spelled whole."""
    kind = draw(st.sampled_from(["float", "whole", "choices"]))
    if kind == "choices":
        values = st.one_of(
            st.integers(-99, 99), st.booleans(), st.none(), st.floats(0.001, 9.5), st.text(max_size=12)
        )
        return MIXED, {
            "choices": draw(st.lists(values, min_size=1, max_size=5, unique_by=lambda v: str(v).lower()))
        }
    log = draw(st.booleans())
    if kind == "whole":
        low = draw(st.integers(1 if log else -50, 50))
        high = low + draw(st.integers(1, 100))
        step = None if log else draw(st.one_of(st.none(), st.integers(1, high - low)))
        high = low + (high - low) // step * step if step else high
    else:
        number = st.one_of(st.floats(1e-6 if log else -5, 5), st.integers(1 if log else -5, 5))
        low = draw(number)
        step = None if log else draw(st.one_of(st.none(), st.floats(0.01, 3), st.integers(1, 3)))
        high = low + (draw(st.integers(1, 50)) * step if step else draw(st.floats(0.01, 10)))
    return (WHOLE if kind == "whole" else KEY), {"low": low, "high": high, "log": log} | (
        {"step": step} if step else {}
    )


@settings(max_examples=150, deadline=None)
@given(searched=parameters(), seed=st.integers(0, 2**32 - 1))
def test_a_space_survives_json_and_holds_what_optuna_draws(
    searched: tuple[str, dict[str, Any]], seed: int
) -> None:
    key, parameter = searched
    spec = typed.load(SearchSpec, {"space": {key: parameter}}, "search")
    assert typed.load(SearchSpec, typed.dump(spec), "search") == spec
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask(fixed_distributions=space.distributions(spec.space))
    value = trial.params[key]
    assert spec.space[key].holds(value)
    if "choices" not in parameter:
        assert type(value) is (int if key == WHOLE else float)
    spelled = override.parse(points.spell(key, value)).value
    assert spelled == value
    assert spelled is None or isinstance(spelled, type(value) if type(value) is not float else float | int)


@settings(max_examples=100, deadline=None)
@given(searched=parameters())
def test_ends_and_choices_are_in_the_space_and_what_is_beyond_is_not(
    searched: tuple[str, dict[str, Any]],
) -> None:
    key, parameter = searched
    found = typed.load(SearchSpec, {"space": {key: parameter}}, "search").space[key]
    distribution = space.distributions({key: found})[key]
    if isinstance(found, Choices):
        assert all(found.holds(value) for value in found.choices)
        return
    assert found.holds(found.low)
    assert found.holds(found.high)
    assert found.high == pytest.approx(parameter["high"])
    assert not found.holds(found.low - 1)
    assert not found.holds(found.high + (found.step or 0) + 1)
    assert distribution.high == pytest.approx(found.high)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({}, "search.space is None, but must be given"),
        ({"space": {KEY: 3}}, f"search.space.{KEY} is 3"),
        ({"space": {KEY: {"low": 1}}}, "high is None, but must be given"),
        ({"space": {KEY: {"low": 2, "high": 1}}}, "low < high"),
        ({"space": {KEY: {"low": 0.0, "high": 1.0, "log": True}}}, "above 0 with log"),
        ({"space": {WHOLE: {"low": 0, "high": 9, "log": True}}}, "1 or more with log"),
        ({"space": {WHOLE: {"low": 2.5, "high": 9}}}, "low is 2.5, but must be whole, as its field is"),
        ({"space": {"model.smear": {"low": 0, "high": 1}}}, "its field takes no numbers"),
        (
            {"space": {KEY: {"low": 0.1, "high": 0.5, "step": 0.15}}},
            "divide high - low (0.1 to 0.5 is 2.667 steps); write high: 0.4 or 0.55, or step: 0.133333",
        ),
        ({"space": {WHOLE: {"low": 1, "high": 9, "step": 3}}}, "write high: 7 or 10$"),
        ({"space": {KEY: [1, 1.0]}}, "every value once"),
        ({"space": {KEY: {"low": 0.1, "high": 1.0, "log": True, "step": 0.1}}}, "stand without log"),
        ({"space": {KEY: {"low": 0.1, "high": "1.0"}}}, "be a number"),
        ({"space": {KEY: {"low": 0.1, "hihg": 1.0}}}, "did you mean 'high'"),
        ({"space": {KEY: []}}, "list of plain values"),
        ({"space": {KEY: [1, 1]}}, "every value once"),
        ({"space": {"seed": [1, 2]}}, "seeds: lists replicates"),
        ({"space": {"launcher.num_workers": [1, 2]}}, "leave it out of the space"),
        ({"space": {KEY: [1, 2]}, "sampler": "tpr"}, "did you mean 'tpe'"),
        ({"space": {KEY: [1, 2]}, "n_trials": 0}, "at least 1"),
        ({"space": {KEY: [1, 2]}, "n_trial": 3}, "did you mean 'n_trials'"),
        ({"space": {KEY: [1, 2]}, "max_peak_memory_gib": 0}, "be more than 0"),
        ({"space": {KEY: [1, 2]}, "enqueue": [["model.depth=3"]]}, "set a field of the space"),
        ({"space": {KEY: [1, 2]}, "enqueue": [[f"{KEY}=3"]]}, "lie in the space"),
        ({"space": {KEY: [1, 2]}, "pruning": {"kind": "halfing"}}, "did you mean 'halving'"),
        (
            {"space": {KEY: [1, 2]}, "pruning": {"kind": "sigma", "k": "3"}},
            "pruning.k is '3', but must be a number",
        ),
        ({"space": {KEY: [1, 2]}, "pruning": {"kind": "sigma", "min_fraq": 0.3}}, "did you mean 'min_frac'"),
        ({"space": {KEY: [1, 2]}, "pruning": {"kind": "halving", "k": 2}}, "k is 2.0, but must be left out"),
        ({"space": {KEY: [1, 2]}, "pruning": {"min_frac": 0.3}}, "write kind: halving or hyperband"),
        ({"space": {KEY: [1, 2]}, "pruning": {"kind": "sigma", "k": float("inf")}}, "a number above 0"),
        ({"space": {"schedule.warmdown_ratio": [0.1, 0.2]}, "pruning": "halving"}, "do not compare"),
        ({"space": {"horizon.num_steps": [10, 20]}, "pruning": "sigma"}, "do not compare"),
    ],
)
def test_what_a_search_may_not_say(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        typed.load(SearchSpec, search, "search")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.0, 1), (0, 1.0)])
def test_a_float_field_is_searched_in_floats_however_its_ends_are_spelled(low: float, high: float) -> None:
    found = typed.load(SearchSpec, {"space": {KEY: {"low": low, "high": high}}}, "search").space[KEY]
    assert found.holds(0.5)
    assert isinstance(space.distributions({KEY: found})[KEY], optuna.distributions.FloatDistribution)
