"""Which points of a space are left, where it has only so many."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence

from sweepkit import fsio
from sweepkit.sweep import search_space
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
    return [point for point in _every(list(space.items()), {}) if key(point) not in tried]


def _every(left: Sequence[tuple[str, Parameter]], chosen: Params) -> Iterator[Params]:
    """All points that go on from those values."""
    if not left:
        yield chosen
        return
    (key, parameter), *others = left
    if not search_space.applies(parameter, chosen):
        yield from _every(others, chosen)
        return
    for value in _values(parameter) or ():
        yield from _every(others, chosen | {key: value})


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
    return [parameter.on_step(parameter.low + index * step) for index in range(count)]
