"""Values first, then what refers to them: a configuration with ``${...}`` in a file or on the command line.

As in Hydra, every override is set in its order, and interpolations are resolved when all values are known:
in an override, a group's or an experiment's file, a list, or behind another interpolation.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from sweepkit import errors
from sweepkit.config import variables
from sweepkit.config.override import Override
from sweepkit.config.schema import RunConfig, field_at

_HYDRAS_OWN = re.compile(r"\$\{\s*hydra:")
_UNSET = re.compile(r"Environment variable '([^']*)' not found")
_MISSING = "???"


@dataclasses.dataclass(frozen=True)
class Value:
    """What a field comes out as; ``shown`` is what was written, for errors: a value may be a secret."""

    key: str
    value: Any
    shown: Any


def are_in(value: object) -> bool:
    """Whether text, a list or nested blocks hold an interpolation, or a value that is still to be given."""
    if isinstance(value, str):
        return "${" in value or value == _MISSING
    if isinstance(value, Mapping):
        return any(map(are_in, value.values()))
    return isinstance(value, list) and any(map(are_in, value))


def resolve(cfg: DictConfig, overrides: Sequence[Override]) -> Iterator[Value]:
    """Every field of a configuration with overrides set, in the order of the schema.

    Args:
        cfg: what the choice of groups gives, unresolved; left as it is.
        overrides: of single fields, whose names and plain values are right.

    Raises:
        ConfigError: an interpolation stands for nothing, for itself, or for a text of the environment.
    """
    tree = copy.deepcopy(cfg)
    for override in overrides:
        try:
            OmegaConf.update(tree, override.key, override.value)
        except OmegaConfBaseException as error:
            raise _unresolved(override.key, override.text, error) from error
    raw = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(raw, dict)
    for key, written in _leaves(raw, RunConfig()):
        yield Value(key, _resolved(tree, key, written), written)


def literally(value: Any) -> Any:
    """Text, or lists and blocks of it, escaped so that OmegaConf gives it back as it is."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, Mapping):
        return {key: literally(item) for key, item in value.items()}
    return [literally(item) for item in value] if isinstance(value, list) else value


def literally_all(block: Any) -> Any:
    """A copy of a configuration whose texts OmegaConf gives back as they are."""
    found = {
        name: literally_all(value) if dataclasses.is_dataclass(value) else literally(value)
        for name, value in vars(block).items()
    }
    return dataclasses.replace(block, **found)


def _leaves(raw: Mapping[Any, Any], block: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, written in raw.items():
        inside = getattr(block, str(name), None)
        if isinstance(written, Mapping) and dataclasses.is_dataclass(inside):
            yield from _leaves(written, inside, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", written


def _resolved(tree: DictConfig, key: str, written: Any) -> Any:
    if written == _MISSING or not are_in(written):
        return written
    field = field_at(key)
    is_whole = isinstance(written, str)  # an interpolation in place of a whole list, and not inside one
    if field and field.facts.holds_overrides and not is_whole:  # they are composed and resolved elsewhere
        return literally(written)
    if _HYDRAS_OWN.search(str(written)):
        raise errors.invalid(
            key, written, "not ask for Hydra's own settings, which no other command has", "write it out"
        )
    if field is None or not field.is_text:
        return _selected(tree, key, written)
    with variables.kept_by_name():
        found = _selected(tree, key, written)
    if variables.names_one(found) and not field.facts.names_variables:
        raise errors.invalid(
            key,
            written,
            "not come from the environment: it may be a secret, and every plan and record would show it",
            field.facts.instead_of_variables,
        )
    return literally(found)


def _selected(tree: DictConfig, key: str, written: Any) -> Any:
    try:
        found = OmegaConf.select(tree, key, throw_on_missing=True, throw_on_resolution_failure=True)
        return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        raise _unresolved(key, written, error) from error


def _unresolved(key: str, written: Any, error: Exception) -> errors.ConfigError:
    """Says why, but never a value that was found: it may be a secret."""
    message = " ".join(str(error).split())
    if (unset := _UNSET.search(message)) is not None:
        name = unset[1]
        return errors.invalid(
            key,
            written,
            f"resolve (the environment variable {name} is not set here)",
            f"export {name}=..., or write the value out",
        )
    said = isinstance(error, InterpolationKeyError) or "Recursive" in message
    detail = f" ({message.partition(' full_key')[0]})" if said else " to a value of the field's type"
    return errors.invalid(
        key, written, f"resolve{detail}", "name a field that exists, or write the value out"
    )
