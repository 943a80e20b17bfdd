"""What an override of a sweep file sets, and what its value is however it is spelled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sweepkit import errors, fsio
from sweepkit.config import override
from sweepkit.config.facts import Identity, declared
from sweepkit.config.schema import RunConfig
from sweepkit.errors import ConfigError

#: Blocks of the RunConfig that say how a run is carried out, not what it computes.
EXECUTION_BLOCKS = frozenset(
    item.name for item in fields(RunConfig) if declared(item).identity is Identity.none
) - {"ladder"}


def split(text: object, where: str) -> tuple[str, Any]:
    """``(key, value)`` of one override; two spellings of a number (0.80, 8e-1) are one value.

    Args:
        text: what was written.
        where: the place it was written in, for the error.

    Raises:
        ConfigError: it is not of the form ``key=value``.
    """
    if not isinstance(text, str) or "=" not in text:
        raise errors.invalid(
            where, text, "be an override key=value", "write for example optimizer.matrix.lr=0.02"
        )
    try:
        parsed = override.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    value = parsed.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        fsio.canonical_json(value)
    except ValueError:
        raise errors.invalid(where, text, "hold finite numbers", "write a number") from None
    return parsed.key, value


def check(where: str, overrides: Iterable[object]) -> None:
    """Raises ConfigError for the first that is not of the form ``key=value``."""
    for item in overrides:
        split(item, where)


def settings(overrides: Iterable[str], where: str) -> dict[str, object]:
    """What overrides set in the end: single fields and groups → values; a block counts as its fields."""
    found: dict[str, object] = {}

    def note(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                note(f"{key}.{name}", item)
        else:
            found[key] = value

    for item in overrides:
        note(*split(item, where))
    return found


def key(text: str) -> str:
    """What an override sets: a field, a group or a block of the RunConfig."""
    return text.lstrip("+").partition("=")[0]


def block(text: str) -> str:
    """The first part of an override's key: a group or a block of the RunConfig."""
    return key(text).partition(".")[0]


def is_execution(text: str) -> bool:
    """Whether it only says how runs are carried out (launcher, logging, trainer)."""
    return block(text) in EXECUTION_BLOCKS
