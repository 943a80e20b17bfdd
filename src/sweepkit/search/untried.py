"""Which points of a space are left, where it has only so many."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Mapping, Sequence

from sweepkit import fsio
from sweepkit.sweep.points import Params
from sweepkit.sweep.search_space import Choices, Parameter, Value

#: Spaces with more points are as good as endless.
_MOST = 20_000


def key(params: Params) -> str:
    """The same for equal points."""
    return fsio.canonical_json(params)


def points(space: Mapping[str, Parameter], tried: Collection[str]) -> list[Params] | None:
    """The points that nobody has tried; None where the space is endless.

    Args:
        tried: keys.
    """
    values = [_values(parameter) for parameter in space.values()]
    sizes = [len(some) for some in values if some is not None]
    if len(sizes) < len(values) or math.prod(sizes) > _MOST:
        return None
    product = itertools.product(*(some for some in values if some is not None))
    every = [dict(zip(space, point, strict=True)) for point in product]
    return [point for point in every if key(point) not in tried]


def draw(left: Sequence[Params], seed: int, number: int) -> Params:
    """One of them, for a trial of that number."""
    return random.Random(fsio.digest([seed, number])).choice(left)


def _values(parameter: Parameter) -> Sequence[Value] | None:
    """All of them, as the sampler spells them; None for more than are worth listing."""
    if isinstance(parameter, Choices):
        return parameter.choices
    step = parameter.step or (1 if parameter.is_whole else None)
    if step is None or (parameter.high - parameter.low) / step > _MOST:
        return None
    count = round((parameter.high - parameter.low) / step) + 1
    return [parameter.low + index * step for index in range(count)]
