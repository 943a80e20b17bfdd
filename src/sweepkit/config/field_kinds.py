"""What type a field of the schema has, by its dotted name."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import lru_cache

from sweepkit.config.schema import RunConfig


@lru_cache(maxsize=512)
def kinds(dotted: str) -> tuple[typing.Any, ...]:
    """The types that a field takes, null apart; none where there is no such field, or it is a block.

    ``optimizer.matrix.lr`` gives ``(float,)``, ``horizon.total_batch_size`` ``(int, str)``.
    """
    block: typing.Any = RunConfig
    for name in dotted.split("."):
        hints = typing.get_type_hints(block) if dataclasses.is_dataclass(block) else {}
        if name not in hints:
            return ()
        block = hints[name]
    if dataclasses.is_dataclass(block):
        return ()
    is_union = typing.get_origin(block) in (typing.Union, types.UnionType)
    return tuple(
        kind for kind in (typing.get_args(block) if is_union else (block,)) if kind is not type(None)
    )
