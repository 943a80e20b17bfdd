"""Facts of a field, declared where the field is defined and read by everything else.

    lr: float = fact(0.02, "peak learning rate at the reference batch", at_least(0))

gives a dataclass field its default, and puts its facts into the field's metadata; ``block`` does so for a
dataclass within a dataclass. Of the facts, two decide what a field is to a run (``identity.py``): where it
stands in the run's identity, and which of the other keys it is in. A field that says nothing is configured,
which is inside: forgetting a mark costs a run that could have been shared, never one that is wrongly shared.

``fields_of(schema)`` is the one walk over a schema: every field by its dotted name, with what it inherits
from the blocks around it.
"""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

from sweepkit.config.ranges import Range

KEY = "facts"
#: A field without a default, which has to be given.
REQUIRED = dataclasses.MISSING


class Identity(Enum):
    """How a field stands in the identity of a run."""

    configured = "configured"  # as it is written
    resolved = "resolved"  # as what it comes out as in the plan
    evaluation = "evaluation"  # decides what is measured of a trained model
    replicate = "replicate"  # a seed: another run of the same variant
    none = "none"  # changes no number


@dataclasses.dataclass(frozen=True)
class When:
    """Another field's value under which a field is read at all.

    Attributes:
        key: the other field, dotted, from the root of the schema.
        values: one of which it has; with ``is_other``, none of which.
    """

    key: str
    values: tuple[Any, ...]
    is_other: bool = False

    def holds(self, value_of: Callable[[str], Any]) -> bool:
        """Whether it does; ``value_of`` gives a field's value, as it comes out where the plan resolves it."""
        return (value_of(self.key) in self.values) is not self.is_other

    def __str__(self) -> str:
        values = " or ".join(map(spelled, self.values))
        return f"{self.key} is not {values}" if self.is_other else f"{self.key}={values}"


@dataclasses.dataclass(frozen=True)
class Either:
    """At least one of some conditions."""

    conditions: tuple[When, ...]

    def holds(self, value_of: Callable[[str], Any]) -> bool:
        return any(condition.holds(value_of) for condition in self.conditions)

    def __str__(self) -> str:
        return " or ".join(map(str, self.conditions))


Conditions = tuple[When | Either, ...]


def when(key: str, *values: Any) -> tuple[When, ...]:
    """Read where ``key`` has one of the values; conditions are added with ``+``, and all must hold."""
    return (When(key, values),)


def unless(key: str, *values: Any) -> tuple[When, ...]:
    """Read where ``key`` has none of the values."""
    return (When(key, values, is_other=True),)


def either(*conditions: tuple[When, ...]) -> tuple[Either, ...]:
    """Read where one of several conditions holds."""
    return (Either(tuple(item for single in conditions for item in single)),)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is declared of one field or block.

    Attributes:
        help: one line.
        range: which values it may have, its type apart.
        unit: of its value; "" for a pure number and for text.
        example: a value that is allowed, for remedies; its default where nothing is said.
        identity: None: as the block around it, and configured where no block says anything.
        why: it changes no number; needed with ``Identity.none``.
        comes_out_as: names of what the plan makes of it besides (``plan/resolution.py``), which stand in its
            keys too; what bears a resolved field's own dotted name need not be named.
        traced: it is in the compile key. None: as the block around it.
        data: it is in the pair key. None: as the block around it.
        initial: it sets initial values only, and is not traced.
        when: conditions, all of which hold where it is read; a field that is not read is in no key.
        same_training: another run, whose training comes out alike but for rounding.
        limit: it can end a run without a result, and may differ from start to start.
        measured: what a loss is a loss on: of the run's own dataset ("own"), of a validation text beside it
            ("validation"), or of every text ("every").
        names_variables: text that changes no number and keeps the names of environment variables.
        instead_of_variables: what to write where it may not.
        holds_overrides: texts that are composed elsewhere, and whose interpolations are resolved there.
        read: from a value as people may write it to the field's own; leaves any other as it is.
        is_written: it stands in files; another is worked out, or filled in, when they are read.
        is_sparse: where it is null it stands in no file and no hash: those of before it was there stay true.
    """

    help: str = ""
    range: Range | None = None
    unit: str = ""
    example: str = ""
    identity: Identity | None = None
    why: str = ""
    comes_out_as: tuple[str, ...] = ()
    traced: bool | None = None
    data: bool | None = None
    initial: bool = False
    when: Conditions = ()
    same_training: bool = False
    limit: bool = False
    measured: str | None = None
    names_variables: bool = False
    instead_of_variables: str = "write the text out"
    holds_overrides: bool = False
    read: Callable[[Any], Any] | None = None
    is_written: bool = True
    is_sparse: bool = False

    def __post_init__(self) -> None:
        assert self.why or self.identity is not Identity.none, "say why it changes no number"

    def inside(self, block: Facts) -> Facts:
        """These facts with what a block hands down to what is in it."""
        own_traced = False if self.initial and self.traced is None else self.traced
        return dataclasses.replace(
            self,
            identity=self.identity or block.identity,
            why=self.why or (block.why if self.identity is None else ""),
            traced=block.traced if own_traced is None else own_traced,
            data=block.data if self.data is None else self.data,
            when=block.when + self.when,
        )


@dataclasses.dataclass(frozen=True)
class Field:
    """A field in its place.

    Attributes:
        key: its dotted name from the root.
        hint: its type.
        default: REQUIRED where there is none.
        facts: with what it inherits; ``identity``, ``traced`` and ``data`` are never None.
    """

    key: str
    hint: Any
    default: Any
    facts: Facts

    @property
    def alternatives(self) -> tuple[Any, ...]:
        """The types a value may have, NoneType among them where null is allowed."""
        return alternatives(self.hint)

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types of a value, null apart."""
        return tuple(kind for kind in self.alternatives if kind is not type(None))

    @property
    def is_text(self) -> bool:
        """Text, or a list of texts; not ``auto`` or a number."""
        return int not in self.alternatives and (str in self.alternatives or list[str] in self.alternatives)

    def is_read(self, value_of: Callable[[str], Any]) -> bool:
        """Whether the field is read; ``value_of`` as for ``When.holds``."""
        return all(condition.holds(value_of) for condition in self.facts.when)

    @property
    def example(self) -> str:
        """A value that is allowed, as it is written on a command line."""
        return self.facts.example or spelled(self.default)


def fact(default: Any, help: str, range: Range | None = None, **others: Any) -> Any:
    """Declare a field of a dataclass.

    Args:
        default: REQUIRED where there is none; a list or dict is copied for every instance.
        help: one line.
        range: which values it may have.
        others: see ``Facts``.

    Raises:
        TypeError: there is neither a default nor an example to name in an error.
    """
    facts = Facts(help, range, **others)
    if default is REQUIRED and range and "{example}" in range.remedy and not facts.example:
        raise TypeError(f"{help!r}: a field without a default says an example, which the remedy names")
    metadata = {KEY: facts}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def block(make: Callable[[], Any], help: str, **others: Any) -> Any:
    """Declare a dataclass within a dataclass.

    Args:
        make: gives its default.
        help: one line.
        others: see ``Facts``; what is in it inherits identity, traced, data and when.
    """
    return dataclasses.field(default_factory=make, metadata={KEY: Facts(help, **others)})


@lru_cache(maxsize=64)
def fields_of(schema: type) -> Mapping[str, Field]:
    """Every field of a schema by its dotted name, in the order of definition; blocks are walked into."""
    outermost = Facts(identity=Identity.configured, traced=False, data=False)
    return dict(_walk(schema, None, "", outermost))


def declared(item: dataclasses.Field[Any]) -> Facts:
    """The facts of a field or block itself; none of them where it was not declared with ``fact``."""
    found: Facts = item.metadata.get(KEY) or Facts()
    return found


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of an annotation: of Optional and Union what is in them."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Check every field of a dataclass against its range.

    Args:
        config: its types are right.
        prefix: what errors put before its names, as ``decision.``.

    Raises:
        ConfigError: the first that is outside.
    """
    for key, get, limits, example in _ranges(cast(type, type(config))):
        limits.check(f"{prefix}{key}", get(config), example)


def spelled(value: Any) -> str:
    """A value as it is written on a command line; of a number the shortest text that is the same number."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        short = f"{value:.12g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelled, value))}]"
    return str(value)


@lru_cache(maxsize=64)
def _ranges(schema: type) -> list[tuple[str, Callable[[Any], Any], Range, str]]:
    return [
        (key, attrgetter(key), field.facts.range, field.example)
        for key, field in fields_of(schema).items()
        if field.facts.range is not None
    ]


@lru_cache(maxsize=64)
def _hints(schema: type) -> dict[str, object]:
    return typing.get_type_hints(schema)


def _walk(schema: type, instance: Any, prefix: str, around: Facts) -> Iterator[tuple[str, Field]]:
    hints = _hints(schema)
    for item in dataclasses.fields(schema):
        value, hint = default(item, instance), hints[item.name]
        key, facts = f"{prefix}{item.name}", declared(item).inside(around)
        if dataclasses.is_dataclass(hint):
            yield from _walk(cast(type, hint), value, f"{key}.", facts)
        else:
            yield key, Field(key, hint, value, facts)


def default(item: dataclasses.Field[Any], instance: Any = None) -> Any:
    """The default of a field, or its value in the block around it: two of a type may differ."""
    if instance not in (None, REQUIRED):
        return getattr(instance, item.name)
    return item.default_factory() if item.default_factory is not REQUIRED else item.default
