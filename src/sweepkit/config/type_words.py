"""Types as people say them, in errors and in the field reference."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union

from sweepkit.config import facts

#: Type → one of it and several of it.
_PLAIN: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "switches"),
    str: ("text", "texts"),
    type(None): ("null", "nulls"),
}


def in_words(hint: Any) -> str:
    """A type as a person would say it: ``a whole number or null``, ``a list of texts``."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint][0]
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in inside if not (kind is int and float in inside)]
        return _joined([word for kind in kinds for word in _choices(kind) or [in_words(kind)]])
    if origin is Literal:
        return _joined(_choices(hint))
    if origin in (list, tuple, frozenset, Sequence):
        return f"a list of {_several(inside[0])}"
    if origin in (dict, Mapping):
        return f"a mapping of {_several(inside[0])} to {_several(inside[1])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of [{', '.join(member.name for member in hint)}]"
    return "a block of keys and values" if dataclasses.is_dataclass(hint) else "a value"


def _choices(hint: Any) -> list[str]:
    return list(map(str, typing.get_args(hint))) if typing.get_origin(hint) is Literal else []


def _joined(words: Sequence[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def _several(hint: Any) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint][1]
    if typing.get_origin(hint) in (list, tuple, frozenset, Sequence):
        return f"lists of {_several(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) in (dict, Mapping):
        return "mappings"
    if all(map(dataclasses.is_dataclass, facts.alternatives(hint))):
        return "blocks"
    return in_words(hint) if len(facts.alternatives(hint)) == 1 else "values"
