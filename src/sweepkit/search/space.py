"""A search space as Optuna's distributions: one line a parameter, values unchanged in both directions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweepkit.sweep.search_space import Choices, Parameter


def distributions(space: Mapping[str, Parameter]) -> dict[str, BaseDistribution]:
    """Field → what Optuna draws from for it."""
    return {key: _distribution(parameter) for key, parameter in space.items()}


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
