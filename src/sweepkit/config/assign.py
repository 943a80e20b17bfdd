"""Setting single fields of a RunConfig, each value converted and type-checked by OmegaConf.

A scratch OmegaConf node per schema class does the checking, so that a value costs microseconds and not
the merge of a whole configuration. Values with interpolations need the whole configuration and take the
slow way through it.
"""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepkit import errors
from sweepkit.config.override import Override
from sweepkit.config.schema import RunConfig

_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_ITEM_NAMES = {str: "texts", float: "numbers"}
_EXAMPLES = {int: "8", float: "0.1", str: "name"}  # for fields that are null


def clone(block: Any) -> Any:
    """A deep copy of a configuration (dataclasses, lists, plain values)."""
    if dataclasses.is_dataclass(block):
        twin = copy.copy(block)
        for name, value in vars(block).items():
            if isinstance(value, list) or dataclasses.is_dataclass(value):
                setattr(twin, name, clone(value))
        return twin
    return [clone(item) for item in block] if isinstance(block, list) else block


def assign(cfg: DictConfig | None, base: RunConfig, overrides: Iterable[Override]) -> RunConfig:
    """A copy of ``base`` with ``overrides`` set in order.

    Args:
        cfg: the same configuration for OmegaConf, where interpolations are to be resolved.
        base: left as it is.
        overrides: values, not groups.

    Raises:
        ConfigError: unknown field or wrong type.
    """
    overrides = list(overrides)
    if any("${" in override.text for override in overrides):
        overrides = _resolved(cfg if cfg is not None else OmegaConf.structured(base), overrides)
    config: RunConfig = clone(base)
    for override in overrides:
        _set(config, "", override.key.split("."), override.value)
    return config


def refuse_unknown(block: Any, prefix: str = "") -> None:
    """Raise ConfigError for a field that the schema lacks; to OmegaConf it is an attribute like any other."""
    known = {field.name for field in dataclasses.fields(block)}
    for name, value in vars(block).items():
        if name not in known:
            raise _unknown(type(block)(), prefix, [name])
        if dataclasses.is_dataclass(value):
            refuse_unknown(value, f"{prefix}{name}.")


def _set(block: Any, prefix: str, keys: list[str], value: Any) -> None:
    name = keys[0]
    dotted = f"{prefix}{name}"
    if not dataclasses.is_dataclass(block) or name not in vars(block):
        raise _unknown(block, prefix, keys)
    current = getattr(block, name)
    if dataclasses.is_dataclass(current):
        if len(keys) > 1:
            _set(current, f"{dotted}.", keys[1:], value)
        elif isinstance(value, dict):
            for key, item in value.items():
                _set(current, f"{dotted}.", str(key).split("."), item)
        else:
            raise errors.invalid(
                dotted,
                value,
                "be a block of fields",
                f"set one of them: {', '.join(f'{dotted}.{field}' for field in vars(current))}",
            )
    elif len(keys) > 1:
        raise errors.invalid(
            f"{prefix}{'.'.join(keys)}", value, f"name a field ({dotted} holds none)", f"write {dotted}=VALUE"
        )
    else:
        setattr(block, name, _converted(type(block), name, dotted, value, current))


def _converted(schema: type, name: str, dotted: str, value: Any, current: Any) -> Any:
    """``value`` as the field's type; ``current`` is what it replaces, the example of an error."""
    scratch = _scratch(schema)
    hint = _hints(schema)[name]
    try:
        if _is_number_field(hint) and isinstance(value, bool):
            raise _wrong_type(hint, dotted, value, current)
        if isinstance(value, list):  # merging, not setting, takes dicts for blocks in a list
            scratch = typing.cast(DictConfig, OmegaConf.merge(scratch, {name: value}))
        else:
            scratch[name] = value
        node = scratch[name]
        return OmegaConf.to_object(node) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise _wrong_type(hint, dotted, value, current) from error


def _is_number_field(hint: Any) -> bool:
    """Whether a bool would silently count as 0 or 1."""
    return bool not in _alternatives(hint) and not {int, float}.isdisjoint(_alternatives(hint))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)


def _wrong_type(hint: Any, dotted: str, value: Any, current: Any) -> errors.ConfigError:
    kinds = [kind for kind in _alternatives(hint) if kind is not type(None)]
    null = " or null" if type(None) in _alternatives(hint) else ""
    if isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        names = [member.name for member in kinds[0]]
        close = errors.did_you_mean(str(value), names)
        remedy = close if close.startswith("did") else f"write {dotted}={names[0]}"
        return errors.invalid(dotted, value, f"be one of [{', '.join(names)}]{null}", remedy)
    if typing.get_origin(kinds[0]) is list:
        (item,) = typing.get_args(kinds[0])
        inside = _ITEM_NAMES.get(item) or f"blocks with fields among [{', '.join(vars(item()))}]"
        return errors.invalid(dotted, value, f"be a list of {inside}", f"write '{dotted}=[a,b]' in quotes")
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
    meant = [field for field in _all_fields() if f".{field}".endswith(f".{rest}")]
    if meant:
        remedy = f"did you mean {' or '.join(map(repr, meant))}?"
    else:
        remedy = errors.did_you_mean(dotted, [f"{prefix}{field}" for field in vars(block)])
    where = f"a field of {prefix[:-1]}" if prefix else "a field or a group of the configuration"
    return errors.ConfigError(f"{dotted} is not {where}; {remedy}")


@lru_cache(maxsize=1)
def _all_fields() -> tuple[str, ...]:
    def walk(block: Any, prefix: str) -> Iterable[str]:
        for name, value in vars(block).items():
            if dataclasses.is_dataclass(value):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    return tuple(walk(RunConfig(), ""))


@lru_cache(maxsize=64)
def _scratch(schema: type) -> DictConfig:
    node = OmegaConf.structured(schema)
    assert isinstance(node, DictConfig)
    return node


@lru_cache(maxsize=64)
def _hints(schema: type) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def _resolved(cfg: DictConfig, overrides: list[Override]) -> list[Override]:
    """The overrides with interpolations replaced by what they stand for."""
    whole = copy.deepcopy(cfg)
    for override in overrides:
        if "${" not in override.text:
            try:
                OmegaConf.update(whole, override.key, override.value)
            except OmegaConfBaseException:
                continue  # reported with its cause when it is set
    OmegaConf.set_struct(whole, False)
    plain = []
    for override in overrides:
        if "${" in override.text:
            root = OmegaConf.create({"it": override.value})
            root._set_parent(whole)
            try:
                value = OmegaConf.to_container(root, resolve=True)["it"]  # type: ignore[index,call-overload]
            except OmegaConfBaseException as error:
                detail = " ".join(str(error).split())
                raise errors.invalid(
                    override.key, override.text, f"resolve ({detail})", "name a field that exists"
                ) from error
            plain.append(Override(override.key, value, override.text))
        else:
            plain.append(override)
    return plain
