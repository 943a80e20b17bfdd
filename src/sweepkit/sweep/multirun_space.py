"""Hydra's sweep syntax as a search space: ``a=interval(1e-3,1e-1) b=tag(log,interval(...)) c=choice(x,y)``.

A multirun searches when one of its fields is an interval, which cannot be enumerated, or when its command
line has ``search.n_trials=40`` or anything else of a sweep file's ``search:`` block. Every swept field then
is in the space: intervals and ranges as they are, ``int(interval(1,8))`` as whole numbers, choices as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from sweepkit import errors
from sweepkit.config import typed
from sweepkit.config.schema import kinds
from sweepkit.sweep import set_fields
from sweepkit.sweep.search_spec import SearchSpec


def read(
    parsed: Sequence[Override], values: Mapping[str, Sequence[str]], options: Mapping[str, Any]
) -> SearchSpec:
    """The search that overrides ask for.

    Args:
        parsed: the whole command line.
        values: field → the values of every choice.
        options: of a ``search:`` block, without its space.

    Raises:
        ConfigError: a tag or an option is unknown, or a value breaks its contract.
    """
    space: dict[str, object] = {}
    for item in parsed:
        key = item.get_key_element()
        if item.is_sweep_override() and key != "seed":
            space[key] = _parameter(key, item, values)
    return typed.load(SearchSpec, dict(options) | {"space": space}, "search", is_referenced=True)


def _parameter(key: str, item: Override, values: Mapping[str, Sequence[str]]) -> dict[str, object]:
    value = item.value()
    tags = set(getattr(value, "tags", ())) - {"log"}
    if tags:
        raise errors.invalid(
            key, item.get_value_string(), "have no tag but log", "write tag(log, interval(0.01, 0.1))"
        )
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        found: dict[str, object] = {"low": value.start, "high": value.end, "log": log}
        # int(interval(...)) of a float field
        return found | {"step": 1} if whole and float in kinds(key) else found
    if isinstance(value, RangeSweep) and not log and len(values[key]) > 1:
        numbers = [set_fields.split(f"{key}={text}", key)[1] for text in values[key]]
        if value.step and value.step > 0:
            return {"low": value.start, "high": max(numbers), "step": value.step}
    return {"choices": [set_fields.split(f"{key}={text}", key)[1] for text in values[key]]}
