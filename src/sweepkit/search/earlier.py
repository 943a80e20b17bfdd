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
from sweepkit.config.typed import flatten
from sweepkit.errors import ConfigError
from sweepkit.results.record import FINAL_STATES, RunDir
from sweepkit.sweep import expand, points
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.points import Params
from sweepkit.sweep.search_space import Choices, Parameter, Value
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.set_fields import EXECUTION_BLOCKS

#: Combinations of groups' options that are looked for at most.
_MOST_GROUPS = 256
_LEFT_OUT = object()
_ELSEWHERE = (*EXECUTION_BLOCKS, "ladder", "seed", "init_seed")


class Around:
    """What the runs of a space have in common, to find the point that a run is.

    Args:
        overrides: the command line's.
    """

    def __init__(self, sweep: Frozen, overrides: Sequence[str]) -> None:
        assert sweep.search is not None
        self._spec, first = sweep.search, sweep.stacks[0]
        groups = {key: parameter for key, parameter in self._spec.space.items() if points.is_group(key)}
        self._fields = [key for key in self._spec.space if key not in groups]
        self._bases: dict[str, list[tuple[Params, dict[str, Any]]]] = {}
        for options in _combinations(groups):
            own = [points.spell(key, value) for key, value in options.items()]
            try:
                config = first.config([*own, *expand.above(overrides)])
            except ConfigError:
                continue
            base = flatten(config)
            self._bases.setdefault(_outside(base, self._fields), []).append((options, base))

    def point(self, flat: Mapping[str, Any]) -> Params | None:
        """The point that a run of that configuration is, if it is one of the space."""
        bases = self._bases.get(_outside(flat, self._fields), ())
        found = (_point(self._spec, options, base, flat) for options, base in bases)
        return next((point for point in found if point is not None), None)


def points_of(around: Around, results_dir: Path) -> Iterator[Params]:
    """Points of the space that runs have ended at, in the order in which they began; each once."""
    seen: set[str] = set()
    for flat in _ended(results_dir / "runs"):
        point = around.point(flat)
        if point is not None and (name := fsio.canonical_json(point)) not in seen:
            seen.add(name)
            yield point


def _point(
    spec: SearchSpec, chosen: Params, base: Mapping[str, Any], flat: Mapping[str, Any]
) -> Params | None:
    """The point that a run is, if it is one: fields that are not proposed with the others are as in the base.

    Args:
        chosen: options of groups.
        base: the configuration with those, flat.
        flat: the run's.
    """
    point = points.typed(spec, {**dict.fromkeys(spec.space), **flat, **chosen})
    left_out = [key for key in spec.space if key not in point]
    is_one = (
        chosen.keys() == {key for key in point if points.is_group(key)}
        and all(spec.space[key].holds(value) for key, value in point.items())
        and all(flat.get(key) == base.get(key) for key in left_out if not points.is_group(key))
    )
    return point if is_one else None


def _combinations(groups: Mapping[str, Parameter]) -> Iterator[Params]:
    """Of options; a group that is not always proposed may be left out."""
    listed: list[tuple[Value | object, ...]] = [
        (*([_LEFT_OUT] if parameter.when else []), *parameter.choices)
        for parameter in groups.values()
        if isinstance(parameter, Choices)
    ]
    for chosen in itertools.islice(itertools.product(*listed), _MOST_GROUPS):
        pairs = zip(groups, chosen, strict=True)
        yield {key: value for key, value in pairs if value is not _LEFT_OUT}  # type: ignore[misc]


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
            run_dir = RunDir(path)
            record = run_dir.read(run_dir.record_path)
            if record["state"] in FINAL_STATES:
                config = run_dir.read(run_dir.plan_path)["config"]
                found.append((str(record.get("started_at")), path.name, flatten(config)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    yield from (flat for _, _, flat in sorted(found, key=lambda item: item[:2]))
