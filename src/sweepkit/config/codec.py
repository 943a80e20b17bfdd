"""RunConfig to plain JSON and back, without Hydra: what plans and frozen sweeps hold.

Enums go by name. A field that a file lacks is read as the schema's default.
"""

from __future__ import annotations

import dataclasses
import typing
from enum import Enum
from functools import lru_cache
from typing import Any

from sweepkit import errors
from sweepkit.config.schema import RunConfig


def to_json(config: RunConfig) -> dict[str, Any]:
    """Nested dicts, lists and plain values; shares nothing with ``config``."""
    value = _encoded(config)
    assert isinstance(value, dict)
    return value


def from_json(value: dict[str, Any]) -> RunConfig:
    """The inverse of ``to_json``.

    Raises:
        ConfigError: a field or enum name that this version does not know.
    """
    config = _decoded(RunConfig, value, "")
    assert isinstance(config, RunConfig)
    return config


_PLAIN = (str, int, float, bool, type(None))


def _encoded(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    return {name: item if isinstance(item, _PLAIN) else _encoded(item) for name, item in vars(value).items()}


def _decoded(schema: Any, value: Any, prefix: str) -> Any:
    kinds = _kinds(schema)
    unknown = [name for name in value if name not in kinds]
    if unknown:
        name = f"{prefix}{unknown[0]}"
        raise errors.ConfigError(
            f"{name} is not a field of this version of sweepkit; the file was written by another version, "
            "use that one, or plan the run again"
        )
    arguments = {name: _decoded_field(kinds[name], item, f"{prefix}{name}") for name, item in value.items()}
    return schema(**arguments)


def _decoded_field(kind: Any, value: Any, dotted: str) -> Any:
    if kind is None or value is None:
        return list(value) if isinstance(value, list) else value
    if isinstance(value, list):
        return [_decoded_field(kind, item, dotted) for item in value]
    if dataclasses.is_dataclass(kind):
        return _decoded(kind, value, f"{dotted}.")
    try:
        return kind[value]
    except KeyError:
        names = [member.name for member in kind]
        raise errors.invalid(
            dotted, value, f"be one of [{', '.join(names)}]", errors.did_you_mean(str(value), names)
        ) from None


@lru_cache(maxsize=64)
def _kinds(schema: type) -> dict[str, Any]:
    """Field → the dataclass or enum in its type, None for plain values."""
    kinds = {}
    for name, hint in typing.get_type_hints(schema).items():
        nested = [kind for kind in (hint, *typing.get_args(hint)) if _is_nested(kind)]
        kinds[name] = nested[0] if nested else None
    return kinds


def _is_nested(kind: Any) -> bool:
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, Enum))
