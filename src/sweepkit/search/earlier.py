"""Runs that ended before a search began and lie in its space, whoever asked for them.

A run's folder holds its plan, and the plan its whole configuration: it belongs to a point of the space
where it is the reference's in all fields but those of the space. So a copy of a search that asks for more
trials begins with all that the first one has found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.errors import ConfigError
from sweepkit.results.record import FINAL_STATES
from sweepkit.sweep import expand, points
from sweepkit.sweep.conflicts import flatten
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.points import Params
from sweepkit.sweep.search_space import Choices, Parameter
from sweepkit.sweep.set_fields import EXECUTION_BLOCKS

#: Combinations of groups' options that are looked for at most.
_MOST_GROUPS = 256
_ELSEWHERE = (*EXECUTION_BLOCKS, "ladder", "seed", "init_seed")


def points_of(sweep: Frozen, overrides: Sequence[str], results_dir: Path) -> Iterator[Params]:
    """Points of the space that runs have ended at, in the order in which they began; each once."""
    assert sweep.search is not None
    space, first = sweep.search.space, sweep.stacks[0]
    groups = {key: parameter for key, parameter in space.items() if points.is_group(key)}
    fields = [key for key in space if key not in groups]
    around: dict[str, Params] = {}
    for options in _combinations(groups):
        own = [points.spell(key, value) for key, value in options.items()]
        try:
            config = first.config([*own, *expand.above(overrides)])
        except ConfigError:
            continue
        around.setdefault(_outside(flatten(config), fields), options)
    seen: set[str] = set()
    for flat in _ended(results_dir / "runs"):
        chosen = around.get(_outside(flat, fields))
        if chosen is None or not all(space[key].holds(flat.get(key)) for key in fields):
            continue
        point = points.typed(sweep.search, chosen | {key: flat[key] for key in fields})
        if (name := fsio.canonical_json(point)) not in seen:
            seen.add(name)
            yield point


def _combinations(groups: Mapping[str, Parameter]) -> Iterator[Params]:
    listed = [parameter.choices for parameter in groups.values() if isinstance(parameter, Choices)]
    for chosen in itertools.islice(itertools.product(*listed), _MOST_GROUPS):
        yield dict(zip(groups, chosen, strict=True))


def _outside(flat: Mapping[str, Any], fields: Sequence[str]) -> str:
    """What a run is beside the fields of the space, and beside how and where it was carried out."""
    return fsio.digest(
        sorted(
            [key, value]
            for key, value in flat.items()
            if key not in fields and key.partition(".")[0] not in _ELSEWHERE
        )
    )


def _ended(folder: Path) -> Iterator[dict[str, Any]]:
    """Configurations, flat, of runs that have ended; folders that cannot be read are none."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            record = fsio.read_json(path / "record.json")
            if record["state"] in FINAL_STATES:
                config = fsio.read_json(path / "plan.json")["config"]
                found.append((str(record.get("started_at")), path.name, flatten(config)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    yield from (flat for _, _, flat in sorted(found, key=lambda item: item[:2]))
