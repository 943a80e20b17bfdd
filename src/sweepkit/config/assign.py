"""Setting single fields of a RunConfig, each value converted and type-checked by OmegaConf.

A scratch OmegaConf node per schema class does the checking, so that a value costs microseconds and not
the merge of a whole configuration. One with interpolations takes the slow way (``interpolations.py``).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepkit import errors
from sweepkit.config import facts, interpolations
from sweepkit.config.override import Override
from sweepkit.config.schema import RunConfig, field_at

_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_ITEM_NAMES = {str: "texts", int: "whole numbers", float: "numbers"}
_DIGITS = re.compile(r"[+-]?\d[\d_]*", re.ASCII)
_EXAMPLES = {int: "8", float: "0.1", str: "name", bool: "true"}  # for fields that are null


def clone(block: Any) -> Any:
    """A deep copy of a configuration (dataclasses, lists, plain values)."""
    if dataclasses.is_dataclass(block):
        twin = copy.copy(block)
        for name, value in vars(block).items():
            if isinstance(value, list) or dataclasses.is_dataclass(value):
                setattr(twin, name, clone(value))
        return twin
    return [clone(item) for item in block] if isinstance(block, list) else block


def assign(cfg: DictConfig, base: RunConfig | None, overrides: Iterable[Override]) -> RunConfig:
    """A configuration with ``overrides`` set in order, and then what refers to others resolved.

    Args:
        cfg: the configuration for OmegaConf; left as it is.
        base: the same as an object; None where it cannot be one yet, for values are to be given or resolved.
        overrides: values, not groups.

    Raises:
        ConfigError: unknown field, wrong type, or an interpolation that stands for nothing.
    """
    singly = [single for override in overrides for single in _singly(override)]
    refers = any(interpolations.are_in(override.value) for override in singly)
    config: RunConfig = clone(base) if base is not None and not refers else RunConfig()
    for override in singly:
        _set(config, override)
    if base is None or refers:
        config = RunConfig()
        for item in interpolations.resolve(cfg, singly):
            _set(config, Override(item.key, item.value, ""), item.shown)
    for field in _read_from_text():
        _read(config, field)
    return config


def _singly(override: Override) -> Iterator[Override]:
    """A block of values as its single fields: ``x0={lr: 1}`` is ``x0.lr=1``."""
    if isinstance(override.value, dict) and override.value and not field_at(override.key):
        for key, value in override.value.items():
            yield from _singly(Override(f"{override.key}.{key}", value, str(value)))
    else:
        yield override


@lru_cache(maxsize=1)
def _read_from_text() -> tuple[facts.Field, ...]:
    """The fields that people write in another form than their unit."""
    return tuple(field for field in facts.fields_of(RunConfig).values() if field.facts.read)


def _read(config: RunConfig, field: facts.Field) -> None:
    """Text of such a field, as its unit."""
    *parents, name = field.key.split(".")
    block = functools.reduce(getattr, parents, config)
    if read := field.facts.read:
        setattr(block, name, read(getattr(block, name)))


def _set(config: RunConfig, override: Override, shown: Any = None) -> None:
    """Set one field; ``shown`` is what an error shows instead of the value, which may be a secret."""
    *parents, name = override.key.split(".")
    block: Any = config
    for depth, parent in enumerate(parents):
        block = _inside(block, override, depth, parent)
    _inside(block, override, len(parents), name, wants_block=False)
    current, value = getattr(block, name), override.value
    if not dataclasses.is_dataclass(current):
        setattr(block, name, _converted(type(block), name, override, current, shown))
    elif isinstance(value, dict):  # what another block came out as, or an empty one
        for single in _singly(override) if value else ():
            _set(config, single, shown)
    elif not interpolations.are_in(value):
        raise errors.invalid(
            override.key,
            value if shown is None else shown,
            "be a block of fields",
            f"set one of them: {', '.join(f'{override.key}.{field}' for field in vars(current))}",
        )


def _inside(block: Any, override: Override, depth: int, name: str, wants_block: bool = True) -> Any:
    """What is called ``name`` in a block."""
    keys = override.key.split(".")
    if not dataclasses.is_dataclass(block) or name not in vars(block):
        raise _unknown(block, "".join(f"{key}." for key in keys[:depth]), keys[depth:])
    found = getattr(block, name)
    if wants_block and not dataclasses.is_dataclass(found):
        dotted = ".".join(keys[: depth + 1])
        raise errors.invalid(
            override.key, override.value, f"name a field ({dotted} holds none)", f"write {dotted}=VALUE"
        )
    return found


def _converted(schema: type, name: str, override: Override, current: Any, shown: Any) -> Any:
    """The value as the field's type; ``current`` is what it replaces, the example of an error."""
    scratch, value = _scratch(schema), override.value
    hint = _hints(schema)[name]
    kinds = facts.alternatives(hint)
    wrong = functools.partial(_wrong_type, hint, override.key, value if shown is None else shown, current)
    if value == "???":
        raise errors.invalid(override.key, value, "be given", f"add {override.key}=VALUE")
    if str in kinds and int not in kinds and isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else override.text
        if text and text != str(value):  # true, 1.50, 77e12
            raise errors.invalid(
                override.key,
                value,
                "be text, and reads like another value",
                f"write '{override.key}=\"{text}\"'",
            )
    if {int, str} == set(kinds) and isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)  # in quotes, or from the environment
    try:
        if _is_number_field(hint) and isinstance(value, bool):
            raise wrong()
        if set(kinds) - {type(None)} == {bool} and isinstance(value, int | float) and value not in (0, 1):
            raise wrong()  # any other number would count as true
        if isinstance(value, list):  # merging, not setting, takes dicts for blocks in a list
            scratch = typing.cast(DictConfig, OmegaConf.merge(scratch, {name: value}))
        else:
            OmegaConf.update(scratch, name, value)  # converts, as text to an enum, which setting will not do
        if shown is None and interpolations.are_in(value):
            return current  # its turn comes when all values are known
        node = scratch[name]
        found = OmegaConf.to_object(node) if OmegaConf.is_config(node) else node
    except (OmegaConfBaseException, OverflowError) as error:  # of a float with a thousand digits
        raise wrong() from error
    if (
        isinstance(found, str)
        and {int, str} == set(kinds)
        and found != "auto"
        and interpolations.are_in(shown)
    ):
        raise wrong()
    return found


def _is_number_field(hint: Any) -> bool:
    """Whether a bool would silently count as 0 or 1."""
    kinds = facts.alternatives(hint)
    return bool not in kinds and not {int, float}.isdisjoint(kinds)


def _wrong_type(hint: Any, dotted: str, value: Any, current: Any) -> errors.ConfigError:
    kinds = [kind for kind in facts.alternatives(hint) if kind is not type(None)]
    null = " or null" if type(None) in facts.alternatives(hint) else ""
    if isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        names = [member.name for member in kinds[0]]
        close = errors.did_you_mean(str(value), names)
        remedy = close if close.startswith("did") else f"write {dotted}={names[0]}"
        return errors.invalid(dotted, value, f"be one of [{', '.join(names)}]{null}", remedy)
    if typing.get_origin(kinds[0]) is list:
        (item,) = typing.get_args(kinds[0])
        inside = _ITEM_NAMES.get(item) or f"blocks with fields among [{', '.join(vars(item()))}]"
        example = "[2,1]" if item in (int, float) else "[a,b]"
        return errors.invalid(
            dotted, value, f"be a list of {inside}", f"write '{dotted}={example}' in quotes"
        )
    if kinds == [int, str]:  # the only text that such a field takes
        wanted = "a whole number or auto"
    else:
        wanted = " or ".join(_TYPE_NAMES.get(kind, str(kind)) for kind in kinds)
    example = _EXAMPLES.get(kinds[0], "VALUE") if current is None else str(current)
    if isinstance(current, bool):
        example = example.lower()
    if isinstance(value, float) and value.is_integer():
        example = str(int(value))  # 1e9 is a float to the grammar
    return errors.invalid(dotted, value, f"be {wanted}{null}", f"write {dotted}={example}")


def _unknown(block: Any, prefix: str, keys: list[str]) -> errors.ConfigError:
    """The remedy names the field that was meant: by its end (x0.beta1), else by its spelling."""
    dotted, rest = f"{prefix}{keys[0]}", ".".join(keys)
    meant = [field for field in facts.fields_of(RunConfig) if f".{field}".endswith(f".{rest}")]
    if meant:
        remedy = f"did you mean {' or '.join(map(repr, meant))}?"
    else:
        remedy = errors.did_you_mean(dotted, [f"{prefix}{field}" for field in vars(block)])
    where = f"a field of {prefix[:-1]}" if prefix else "a field or a group of the configuration"
    listing = f"sweepkit fields {prefix[:-1]}".strip()
    return errors.ConfigError(f"{dotted} is not {where}; {remedy} ({listing} lists them)")


@lru_cache(maxsize=64)
def _scratch(schema: type) -> DictConfig:
    node = OmegaConf.structured(schema)
    assert isinstance(node, DictConfig)
    return node


@lru_cache(maxsize=64)
def _hints(schema: type) -> dict[str, object]:
    return typing.get_type_hints(schema)
