"""Which seeds a rung runs: the sweep's on the lowest, fresh ones on every rung above.

A seed that made a variant look good below may do so again, so no decision uses a seed that an earlier one
has used. Where the rule looks several times at the last rung, its seeds are those of the last look; they
are frozen with the plan, so that nobody adds some until the result is liked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweepkit import errors
from sweepkit.config.schema import RungConfig
from sweepkit.printable import counted


def on_rung(
    seeds: Sequence[int],
    rungs: Sequence[RungConfig],
    rung: RungConfig,
    looks: Sequence[int] = (),
    replaced: Mapping[int, int] | None = None,
) -> tuple[int, ...]:
    """The seeds of every variant on ``rung``.

    Args:
        seeds: the sweep's.
        rungs: its ladder, from the bottom up.
        rung: one of them.
        looks: the decision rule's.
        replaced: seed → the one in its place, where a run with it was seen (``seen.py``).

    Raises:
        ConfigError: the rung wants more seeds than the sweep has.
    """
    instead = replaced or {}
    place = next(index for index, item in enumerate(rungs) if item.name == rung.name)
    first = list(seeds) if place == 0 else _fresh(max(seeds) + 1 + (place - 1) * len(seeds), len(seeds))
    if looks and place == len(rungs) - 1:
        more = max(0, looks[-1] - len(first))
        wanted_here = [*first, *_fresh(max(first) + 1, more)][: looks[-1]]
        return tuple(instead.get(seed, seed) for seed in wanted_here)
    wanted = len(seeds) if rung.num_seeds is None else rung.num_seeds
    if not 1 <= wanted <= len(seeds):
        raise errors.invalid(
            f"ladder rung {rung.name}: num_seeds",
            rung.num_seeds,
            f"lie between 1 and the sweep's {counted(len(seeds), 'seed')}",
            "list more seeds in the sweep file",
        )
    return tuple(instead.get(seed, seed) for seed in first[:wanted])


def _fresh(start: int, count: int) -> list[int]:
    return list(range(start, start + count))
