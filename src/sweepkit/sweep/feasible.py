"""Whether a search space has any point that keeps its constraints, asked before anything is frozen.

Constraints say by how much they are broken, so a space of numbers is searched: points at random, its corners,
and from the best of them downhill. Where none keeps them all, or plans have to tell (``total_params``,
groups), a few points are planned, and only if each of these breaks one the search is refused.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweepkit import errors
from sweepkit.errors import ConfigError
from sweepkit.sweep import search_space
from sweepkit.sweep.constraint import Constraint
from sweepkit.sweep.search_space import Choices, Interval, Parameter, Value

Point = dict[str, Value]
_DRAWN, _DOWNHILL, _PLANNED, _CORNERS = 500, 60, 32, 64


def check(
    space: Mapping[str, Parameter],
    constraints: Sequence[Constraint],
    flat: Mapping[str, Any],
    keeps: Callable[[Point, Constraint], bool],
) -> None:
    """Raises ConfigError for a constraint that no point keeps, or several that none keeps together.

    Args:
        constraints: those that are known before a run.
        flat: the reference's configuration.
        keeps: whether the run of a point keeps one, which plans it.
    """
    if not constraints:
        return
    for some in ([item] for item in constraints):
        if not _is_met(space, some, flat, keeps):
            raise _refused(some, "be kept by some point of the space")
    if len(constraints) > 1 and not _is_met(space, constraints, flat, keeps):
        raise _refused(constraints, "be kept together by some point of the space")


def lightest(
    space: Mapping[str, Parameter], constraints: Sequence[Constraint], flat: Mapping[str, Any]
) -> list[tuple[float, Point]]:
    """Points by how much they break the worst of the constraints, those that break it least first."""

    def excess(point: Point) -> float:
        known = {**flat, **point}
        found = (item.excess(lambda name: known[name]) for item in constraints)
        return max(0.0 if one is None else one for one in found)

    ranked = sorted(((excess(point), point) for point in _points(space)), key=lambda item: item[0])
    best, at = ranked[0]
    widths = {key: 0.25 for key, item in space.items() if isinstance(item, Interval) and key in at}
    for _ in range(_DOWNHILL):
        if best <= 0.0:
            break
        for key, width in widths.items():
            tried = [_moved(space[key], at, key, sign * width) for sign in (-1, 1)]
            found, point = min(((excess(item), item) for item in tried), key=lambda item: item[0])
            if found < best:
                best, at = found, point
            else:
                widths[key] = width / 2
    return [(best, at), *ranked]


def _is_met(
    space: Mapping[str, Parameter],
    constraints: Sequence[Constraint],
    flat: Mapping[str, Any],
    keeps: Callable[[Point, Constraint], bool],
) -> bool:
    is_plain = all(key in flat for key in space) and all(
        name in flat for item in constraints for name in item.names
    )
    ranked = lightest(space, constraints, flat) if is_plain else [(math.inf, it) for it in _points(space)]
    if ranked[0][0] <= 0.0:
        return True
    return any(all(keeps(point, item) for item in constraints) for _, point in ranked[:_PLANNED])


def _points(space: Mapping[str, Parameter]) -> list[Point]:
    """Corners of the space, then points at random, the same each time."""
    ends = (
        item.choices if isinstance(item, Choices) else (item.low, item.high, _at(item, 0.5))
        for item in space.values()
    )
    corners = [
        dict(zip(space, values, strict=True))
        for values in itertools.islice(itertools.product(*ends), _CORNERS)
    ]
    drawn, generator = [], random.Random(1)
    for _ in range(_DRAWN):
        drawn.append(
            {
                key: generator.choice(item.choices)
                if isinstance(item, Choices)
                else _at(item, generator.random())
                for key, item in space.items()
            }
        )
    mixed = [point for pair in itertools.zip_longest(corners, drawn) for point in pair if point is not None]
    return [_without_others(space, point) for point in mixed]


def _without_others(space: Mapping[str, Parameter], point: Point) -> Point:
    """The fields that are proposed with those values."""
    found: Point = {}
    for key, item in space.items():
        if search_space.applies(item, found):
            found[key] = point[key]
    return found


def _at(item: Interval, share: float) -> float:
    """A value of an interval, ``share`` of the way up."""
    if item.log:
        value = math.exp(math.log(item.low) + share * (math.log(item.high) - math.log(item.low)))
    else:
        value = item.low + share * (item.high - item.low)
    value = round(value) if item.is_whole else item.on_step(value)
    return min(max(value, item.low), item.high)


def _moved(item: Parameter, point: Point, key: str, by: float) -> Point:
    """A point with one number moved by a share of its interval."""
    assert isinstance(item, Interval)
    value = float(point[key])  # type: ignore[arg-type]
    low, high = (math.log(item.low), math.log(item.high)) if item.log else (item.low, item.high)
    share = ((math.log(value) if item.log else value) - low) / (high - low) + by
    return point | {key: _at(item, min(1.0, max(0.0, share)))}


def _refused(constraints: Sequence[Constraint], contract: str) -> ConfigError:
    said = constraints[0].text if len(constraints) == 1 else [item.text for item in constraints]
    return errors.invalid("search.constraints", said, contract, "widen the space, or correct the comparison")
