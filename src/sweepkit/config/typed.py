"""One loader for all that is typed: plain YAML and JSON values to dataclasses, and back.

What a dataclass says is the whole contract: the types of its fields, their defaults, and the facts in their
metadata (a range, a way people write a value). A value that breaks it is refused by its dotted name, with
what it must be and what to write. Enums go by name, tuples as lists; rules across fields are the dataclass's
own (``__post_init__``).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from sweepkit import errors
from sweepkit.config import facts
from sweepkit.config.type_words import in_words

T = TypeVar("T")
Read = Callable[[Any], Any]

#: Type of a block → what was read last, and what it became, while ``load_alike`` reads.
_before: ContextVar[dict[type, tuple[Any, Any]] | None] = ContextVar("before", default=None)
#: Metadata of a field that no file holds.
UNWRITTEN = {facts.KEY: facts.Facts(is_written=False)}
#: Plain type → what to write where another stands.
_REMEDIES = {
    int: "write it without quotes and point, as 8",
    float: "write it without quotes, as 0.05",
    bool: "write true or false without quotes",
    str: "put it in quotes",
}
_KNOWN = "be a known key"
_EXAMPLES = {int: "8", float: "0.05", bool: "true", str: "text"}
_AS_THEY_ARE = frozenset([*_REMEDIES, type(None)])
_ACCEPTED: dict[Any, Any] = {int: int, float: (int, float), bool: bool, str: str}


class Misfit(Exception):
    """A value that does not fit; the names of the fields it stands in are added from the inside out."""

    def __init__(self, value: object, contract: str, remedy: str, *names: object) -> None:
        super().__init__()
        self.value, self.contract, self.remedy, self.names = value, contract, remedy, list(names)

    def as_error(self, where: str, is_referenced: bool) -> errors.ConfigError:
        dotted = ".".join([*([where] if where else []), *map(str, reversed(self.names))])
        remedy = self.remedy.replace("{key}", dotted)
        if is_referenced and self.contract == _KNOWN:
            remedy += (
                f"; sweepkit fields {dotted.partition('.')[0] if '.' in dotted else 'sweep'} lists every key"
            )
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return errors.invalid(dotted or "the content", value, self.contract, remedy)


def load(kind: type[T], value: object, where: str = "", is_referenced: bool = False) -> T:
    """An object of a dataclass, or of any type that its fields may have, from plain values.

    Args:
        kind: the type.
        value: what YAML or JSON gave.
        where: dotted name of the value, for errors.
        is_referenced: it is a sweep file's, whose keys ``sweepkit fields`` lists.

    Raises:
        ConfigError: an unknown key, a missing one, a wrong type or a value out of range.
    """
    try:
        found: T = _reader(typing.cast(Any, kind))(value)
    except Misfit as misfit:
        raise misfit.as_error(where, is_referenced) from None
    return found


def load_alike(kind: type[T], values: Iterable[object]) -> list[T]:
    """``load`` of many that are much alike: a block that says what the one before it said is that object.

    For what nobody changes, as the plans of a sweep: most of their configurations is decoded once.
    """
    token = _before.set({})
    try:
        return [load(kind, value) for value in values]
    finally:
        _before.reset(token)


def dump(value: Any) -> Any:
    """The inverse of ``load``: nested dicts, lists and plain values; shares nothing with ``value``."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum):
        return value.name
    if dataclasses.is_dataclass(value):
        own = vars(value)
        names = _written(typing.cast(Any, type(value)))
        kept = [name for name, is_sparse in names.items() if not (is_sparse and own[name] is None)]
        return {name: item if type(item := own[name]) in _AS_THEY_ARE else dump(item) for name in kept}
    if isinstance(value, Mapping):
        return {_key(key): dump(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [dump(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A dataclass, or nested mappings, as dotted name → plain value; lists stay whole."""
    flat: dict[str, Any] = {}
    for name, item in (value if isinstance(value, Mapping) else dump(value)).items():
        if isinstance(item, Mapping):
            flat |= flatten(item, f"{prefix}{name}.")
        else:
            flat[prefix + name] = item
    return flat


def _key(key: Any) -> str:
    return key.name if isinstance(key, Enum) else str(key)


@lru_cache(maxsize=256)
def _written(kind: type) -> Mapping[str, bool]:
    """The fields that stand in files → whether only where they are not null."""
    found = ((item.name, facts.declared(item)) for item in dataclasses.fields(kind))
    return {name: said.is_sparse for name, said in found if said.is_written}


@lru_cache(maxsize=1024)
def _reader(hint: Any) -> Read:
    """What makes a value of a type, or raises Misfit."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint in _ACCEPTED:
        return _plain(hint)
    if hint in (Any, object):
        return lambda value: value
    if origin in (Union, types.UnionType):
        return _union(hint, inside)
    if origin is Literal:
        return _choice({each: each for each in inside}, in_words(hint))
    if origin in (list, tuple, frozenset, Sequence):
        return _sequence(tuple if origin is Sequence else origin, hint, inside[0])
    if origin in (dict, Mapping):
        return _mapping(hint, *inside)
    if hint is Path:
        return lambda value: Path(_reader(str)(value))
    if isinstance(hint, type) and issubclass(hint, Enum):
        names = {member.name: member for member in hint}
        return _choice(names, in_words(hint))
    assert dataclasses.is_dataclass(hint), hint
    return _block(typing.cast(type, hint))


def _plain(kind: Any) -> Read:
    words, remedy, accepted = in_words(kind), _REMEDIES[kind], _ACCEPTED[kind]

    def read(value: Any) -> Any:
        if type(value) is kind and kind is not int:
            return value
        if isinstance(value, bool) or not isinstance(value, accepted):
            raise Misfit(value, f"be {words}", remedy)
        try:
            return kind(value)
        except OverflowError:
            raise Misfit(value, "fit in 64 bits", remedy) from None

    return read


def _choice(known: Mapping[Any, Any], words: str) -> Read:
    kinds = {type(each) for each in known}  # 1 is a choice, and true is not

    def read(value: Any) -> Any:
        if type(value) in kinds and value in known:
            return known[value]
        raise Misfit(value, f"be {words}", errors.did_you_mean(str(value), map(str, known)))

    return read


def _union(hint: Any, alternatives: Sequence[Any]) -> Read:
    readers = [(each, _reader(each)) for each in alternatives if each is not type(None)]
    blocks = [(each, read) for each, read in readers if dataclasses.is_dataclass(each)]
    is_optional = len(readers) < len(alternatives)
    if is_optional and len(readers) == 1:
        return _optional(readers[0][1], in_words(hint))

    def read(value: Any) -> Any:
        if value is None and is_optional:
            return None
        if blocks and isinstance(value, Mapping):  # the block that has most of the keys
            _, read_block = max(blocks, key=lambda each: _num_shared_keys(each[0], value))
            return read_block(value)
        misfits: list[Misfit] = []
        for _, each in readers:
            try:
                return each(value)
            except Misfit as misfit:
                misfits.append(misfit)
        furthest = max(misfits, key=lambda misfit: (len(misfit.names), not misfit.contract.startswith("be ")))
        if not furthest.names and furthest.contract.startswith("be "):
            near = [each.remedy for each in misfits if each.remedy.startswith("did you mean")]
            raise Misfit(value, f"be {in_words(hint)}", (near or [misfits[0].remedy])[0])
        raise furthest

    return read


def _num_shared_keys(kind: Any, value: Mapping[Any, Any]) -> int:
    return len(value.keys() & _written(kind).keys())


def _optional(read: Read, words: str) -> Read:
    def read_optional(value: Any) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except Misfit as misfit:
            if not misfit.names and misfit.contract.startswith("be "):
                misfit.contract = f"be {words}"
            raise

    return read_optional


def _sequence(kind: Any, hint: Any, item_hint: Any) -> Read:
    read_item, words = _reader(item_hint), in_words(hint)

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise Misfit(value, f"be {words}", f"write [{'' if value is None else value}]")
        return kind([_within(index, read_item, item) for index, item in enumerate(value)])

    return read


def _mapping(hint: Any, key_hint: Any, item_hint: Any) -> Read:
    read_key = _key_reader(key_hint)
    read_item, words = _reader(item_hint), in_words(hint)

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Misfit(value, f"be {words}", "write {name: value}")
        found: dict[Any, Any] = {}
        for key, item in value.items():
            name = read_key(key)
            if name in found:
                raise Misfit(key, "stand there once", "rename one of them")
            found[name] = _within(key, read_item, item)
        return found

    return read


def _key_reader(hint: Any) -> Read:
    """Of the names in a mapping, which JSON and YAML may spell otherwise: 1 and "1" are one name."""
    read = _reader(hint)

    def read_key(key: Any) -> Any:
        if isinstance(key, bool) or key is None:
            raise Misfit(key, "be a name", "put it in quotes, YAML reads it as a value")
        if hint is int and isinstance(key, str) and key.removeprefix("-").isdecimal():
            return int(key)
        if hint is int:
            return read(key)
        try:
            return read(str(key))
        except Misfit as misfit:
            raise Misfit(key, f"name {misfit.contract.removeprefix('be ')}", misfit.remedy) from None

    return read_key


def _within(name: object, read: Read, value: Any) -> Any:
    try:
        return read(value)
    except Misfit as misfit:
        misfit.names.append(name)
        raise


def _block(kind: type) -> Read:
    hints = typing.get_type_hints(kind)
    written = [item for item in dataclasses.fields(kind) if item.name in _written(kind)]
    readers = {item.name: _of_field(item, hints[item.name]) for item in written}
    needed = {
        item.name: facts.declared(item).example or _EXAMPLES.get(hints[item.name], "VALUE")
        for item in written
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    }

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Misfit(value, "map keys to values", f"its keys are {', '.join(readers)}")
        before = _before.get()
        if before is not None and kind in before and before[kind][0] == value:
            return before[kind][1]
        arguments: dict[str, object] = {}
        for name, item in value.items():
            if name not in readers:
                raise Misfit(item, _KNOWN, errors.did_you_mean(str(name), readers), name)
            try:
                arguments[name] = readers[name](item)
            except Misfit as misfit:
                misfit.names.append(name)
                raise
        for name, example in needed.items():
            if name not in arguments:
                raise Misfit(None, "be given", f"write {name}: {example}", name)
        found = kind(**arguments)
        if before is not None:
            before[kind] = value, found
        return found

    return read


def _of_field(item: dataclasses.Field[Any], hint: Any) -> Read:
    """The type's reader, with the facts of the field."""
    read, told = _reader(hint), facts.declared(item)
    spelled, limits = told.read, told.range
    if spelled is None and limits is None and not told.example:
        return read
    remedy = ""
    if told.example or limits is not None:
        example = told.example or facts.spelled(facts.default(item))
        remedy = (limits.remedy if limits else f"write {item.name}: {{example}}").replace(
            "{example}", example
        )

    def read_field(value: Any) -> Any:
        try:
            found = read(value if spelled is None else spelled(value))
        except Misfit as misfit:
            of_itself = all(isinstance(name, int) for name in misfit.names)
            if remedy and of_itself and not misfit.remedy.startswith("did you mean"):
                misfit.remedy = remedy
            raise
        if limits is not None and (outside := limits.outside(found)):
            names, inside, contract = outside
            raise Misfit(inside, contract, remedy, *reversed(names))
        return found

    return read_field
