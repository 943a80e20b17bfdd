"""What the schema says of a field beside its default: its type, and the facts in its metadata."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from sweepkit.config.schema import RunConfig


@dataclasses.dataclass(frozen=True)
class Facts:
    """Of one field.

    Attributes:
        alternatives: the types a value may have, NoneType among them where null is allowed.
        names_variables: text that changes no number and keeps the names of environment variables.
        instead_of_variables: what to write where it may not.
        holds_overrides: texts that are composed elsewhere, and whose interpolations are resolved there.
        read: from text as people write it to the field's unit.
    """

    alternatives: tuple[Any, ...]
    names_variables: bool = False
    instead_of_variables: str = "write the text out"
    holds_overrides: bool = False
    read: Callable[[str], Any] | None = None

    @property
    def is_text(self) -> bool:
        """Text, or a list of texts; not ``auto`` or a number."""
        return int not in self.alternatives and (str in self.alternatives or list[str] in self.alternatives)


def at(key: str) -> Facts | None:
    """The facts of a dotted field; None for a block, and for a field that does not exist."""
    return _all().get(key)


@lru_cache(maxsize=1)
def read_from_text() -> tuple[str, ...]:
    """The dotted fields that people write in another form than their unit."""
    return tuple(key for key, facts in _all().items() if facts.read)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of an annotation: of Optional and Union what is in them."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)


@lru_cache(maxsize=1)
def _all() -> dict[str, Facts]:
    return dict(_walk(RunConfig, ""))


def _walk(schema: type, prefix: str) -> Iterator[tuple[str, Facts]]:
    hints = typing.get_type_hints(schema)
    known = {item.name for item in dataclasses.fields(Facts)}
    for field in dataclasses.fields(schema):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _walk(typing.cast(type, hint), f"{prefix}{field.name}.")
        else:
            facts = {name: value for name, value in field.metadata.items() if name in known}
            yield f"{prefix}{field.name}", Facts(alternatives(hint), **facts)
