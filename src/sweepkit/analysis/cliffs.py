"""Cliffs: a swept value whose neighbour is catastrophically worse.

An axis whose levels are numbers has neighbours. Two of them are a cliff when the step from one to the other
loses more than the best level of the axis gains, shown one-sided at alpha over all steps of the axis
(Bonferroni), or when the neighbour's runs diverged. A good value beside a cliff is not robust: a little scale
or luck may push it over.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweepkit.analysis.effects import Effect


@dataclass(frozen=True)
class Cliff:
    """Between ``edge`` and ``beyond``, neighbouring levels of ``axis``; ``drop`` in the metric's unit."""

    axis: str
    edge: str
    beyond: str
    drop: float | None  # None: diverged
    sentence: str


def cliffs(
    axis: str,
    levels: Sequence[tuple[str, float]],
    effects: Mapping[str, Effect],
    diverged: Sequence[str],
    alpha: float,
    min_effect: float,
) -> list[Cliff]:
    """The cliffs of one axis on one rung.

    Args:
        levels: level → its number, the reference's level among them.
        effects: level → its effect; the reference's is absent and counts as exactly 0.
        diverged: levels with a diverged run.
        min_effect: what a drop must at least be beyond the gain, in the metric's unit.
    """
    order = [level for level, _ in sorted(levels, key=lambda item: item[1])]
    known = {level: item.effect for level, item in effects.items() if item.effect is not None}
    gain = max((-value for value in known.values()), default=0.0)
    threshold = max(gain, min_effect)
    steps = list(itertools.pairwise(order))
    found = []
    for one, other in [*steps, *(pair[::-1] for pair in steps)]:
        if other in diverged and one not in diverged:
            found.append(Cliff(axis, one, other, None, f"cliff: {axis} {one} → {other} diverges"))
            continue
        if not {one, other} <= known.keys() | {level for level in order if level not in effects}:
            continue
        drop = known.get(other, 0.0) - known.get(one, 0.0)
        beyond = effects.get(other)
        shown = None if beyond is None else beyond.p_above(threshold + known.get(one, 0.0))
        if drop > threshold and shown is not None and shown <= alpha / max(1, len(steps)):
            said = (
                f"cliff: {axis} {one} → {other} loses {drop:.5f}, the best level gains {max(gain, 0.0):.5f}"
            )
            found.append(Cliff(axis, one, other, drop, said))
    return found
