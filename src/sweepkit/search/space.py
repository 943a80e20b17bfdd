"""A search space as Optuna's distributions: one line a parameter, values unchanged in both directions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from sweepkit.sweep import search_space
from sweepkit.sweep.search_space import Choices, Parameter, Value


def distributions(space: Mapping[str, Parameter]) -> dict[str, BaseDistribution]:
    """Field → what Optuna draws from for it."""
    return {key: _distribution(parameter) for key, parameter in space.items()}


def propose(trial: Trial, space: Mapping[str, Parameter]) -> dict[str, Value]:
    """A value for every field that is proposed, one after the other; what was asked for at once is there."""
    chosen: dict[str, Value] = {}
    for key, parameter in space.items():
        if search_space.applies(parameter, chosen):
            chosen[key] = _suggest(trial, key, _distribution(parameter))
    return chosen


def _suggest(trial: Trial, key: str, given: BaseDistribution) -> Value:
    if isinstance(given, CategoricalDistribution):
        return trial.suggest_categorical(key, given.choices)
    if isinstance(given, IntDistribution):
        return trial.suggest_int(key, given.low, given.high, step=given.step, log=given.log)
    assert isinstance(given, FloatDistribution)
    return trial.suggest_float(key, given.low, given.high, step=given.step, log=given.log)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choices):
        return CategoricalDistribution(parameter.choices)
    if parameter.is_whole:
        step = int(parameter.step) if parameter.step else 1
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    if parameter.step is None:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    # The last step may be one rounding above ``high``: ask for half a step more, and Optuna cuts that off.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return FloatDistribution(parameter.low, parameter.high + parameter.step / 2, step=parameter.step)
