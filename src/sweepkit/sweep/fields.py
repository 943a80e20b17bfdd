"""Reading the fields of a sweep file: each function checks what was written and returns it typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sweepkit import errors
from sweepkit.sweep import override

#: ``combine: all``, the full product.
ALL = "all"
#: ``seeds: auto``, as many as the power asks for; ``reference_replicates: auto``, the root of the variants.
AUTO = "auto"
MAX_REPLICATES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_MAX_NAME_LENGTH = 128  # a file system takes 255 bytes, and files are named after it
_NUMBER = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")
_RESERVED = frozenset({"runs", "all"})  # results/runs holds the run directories, "all" means every run


def check_name(name: object) -> str:
    """A name that can be a folder, part of a file's name and of a label."""
    if (
        not isinstance(name, str)
        or not _NAME.fullmatch(name)
        or name in _RESERVED
        or len(name) > _MAX_NAME_LENGTH
    ):
        raise errors.invalid(
            "sweep name",
            name,
            f"be at most {_MAX_NAME_LENGTH} letters, digits and _ . + - (and not 'runs' or 'all')",
            "rename the sweep file",
        )
    return name


def read_axes(value: object) -> dict[str, dict[str, tuple[str, ...]]]:
    """Axis → level → overrides, from the long form or from a plain list of values."""
    if not isinstance(value, Mapping) or not value:
        raise errors.invalid(
            "axes", value, "name at least one axis", "add one, as optimizer.matrix.lr: [0.02, 0.03]"
        )
    axes = {}
    for name, (axis, levels) in _named("axes", value, "axis").items():
        where = f"axes.{axis}"
        if isinstance(levels, list) and levels:
            axes[name] = _short_form(name, levels)
        elif isinstance(levels, Mapping) and levels:
            axes[name] = {
                level: read_overrides(f"{where}.{level}", given)
                for level, (_, given) in _named(where, levels, "level").items()
            }
        else:
            raise errors.invalid(
                where, levels, "be a list of values or map level names to overrides", "write [0.02, 0.03]"
            )
    return axes


def _named(where: str, value: Mapping[Any, Any], kind: str) -> dict[str, tuple[Any, Any]]:
    """Name → key and content; 1 and "1" are two keys to YAML and one name."""
    found: dict[str, tuple[Any, Any]] = {}
    for key, content in value.items():
        name = _check_label(f"{where}.{key}" if kind == "axis" else where, key, kind)
        if name in found:
            raise errors.invalid(where, key, f"name every {kind} once", "rename one of them")
        found[name] = (key, content)
    return found


def _short_form(axis: str, values: list[Any]) -> dict[str, tuple[str, ...]]:
    where = f"axes.{axis}"
    levels: dict[str, tuple[str, ...]] = {}
    for value in values:
        if isinstance(value, list | Mapping):
            raise errors.invalid(
                where, value, "hold plain values in the short form", "use {level: [overrides]} instead"
            )
        text = spelled(value)
        if text in levels:
            raise errors.invalid(where, values, f"hold {text} only once", "delete the second one")
        override.split(f"{axis}={text}", where)
        levels[_check_label(where, text, "level")] = (f"{axis}={text}",)
    return levels


def spelled(value: object) -> str:
    """A plain YAML value as it is written on a command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_label(where: str, label: object, kind: str) -> str:
    """An axis or level name that cannot be mistaken inside ``axis=level,axis=level``."""
    if isinstance(label, bool) or label is None:
        raise errors.invalid(
            where, label, f"be a name for the {kind}", "put it in quotes, YAML reads it as a value"
        )
    text = str(label)
    if not _NAME.fullmatch(text) and not _NUMBER.fullmatch(text):
        contract = f"be a {kind} name of letters, digits and _ . + -"
        raise errors.invalid(where, label, contract, "rename it, or use the long form")
    return text


def read_overrides(where: str, value: object) -> tuple[str, ...]:
    """A list of ``key=value``."""
    if not isinstance(value, list):
        raise errors.invalid(where, value, "be a list of overrides", "write [optimizer.x0.beta1=0.96]")
    for item in value:
        override.split(item, where)
    return tuple(value)


def read_reference(value: object, axes: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Axis → the level of the reference, both of which must exist."""
    reference = {}
    for axis, level in read_mapping("reference", value).items():
        if axis not in axes:
            raise errors.invalid("reference", axis, "name an axis", errors.did_you_mean(str(axis), axes))
        known, text = axes[axis], spelled(level)
        if text not in known:
            raise errors.invalid(
                f"reference.{axis}", level, "name a level of that axis", errors.did_you_mean(text, known)
            )
        reference[str(axis)] = text
    return reference


def read_combine(value: object) -> int | str:
    """1, 2 or "all"."""
    if value == ALL:
        return ALL
    if isinstance(value, int) and not isinstance(value, bool) and value in (1, 2):
        return value
    raise errors.invalid(
        "combine", value, "be 1 (one axis at a time), 2 (all pairs too) or all", "leave it out for 1"
    )


def read_seeds(value: object) -> tuple[int, ...]:
    """Distinct whole numbers, at least one; none for ``auto``, which the noise decides."""
    if value == AUTO:
        return ()
    seeds = tuple(value) if isinstance(value, list) else ()
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise errors.invalid(
            "seeds", value, "be a list of whole numbers, 0 or more, or auto", "write [1, 2, 3]"
        )
    if len(set(seeds)) < len(seeds):
        raise errors.invalid("seeds", value, "hold every seed once", "delete the repeated one")
    return seeds


def read_horizons(value: object) -> tuple[float, ...] | None:
    """Distinct multiples of a horizon, above 0 and other than 1; None where nothing is said."""
    if value is None:
        return None
    given = list(value) if isinstance(value, list | tuple) else [None]
    numbers = tuple(
        float(item) for item in given if isinstance(item, int | float) and not isinstance(item, bool)
    )
    right = len(numbers) == len(given) == len(set(numbers)) and all(0 < item <= 16 for item in numbers)
    if not right or 1.0 in numbers:
        raise errors.invalid(
            "reference_horizons",
            value,
            "be a list of distinct multiples of the horizon, above 0, at most 16 and not 1",
            "write [0.5, 2], or [] for none",
        )
    return numbers


def read_replicates(value: object) -> int | str | None:
    """A whole number of at least 1, or ``auto``; None where nothing is said."""
    if value is None or value == AUTO:
        return None if value is None else AUTO
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_REPLICATES:
        return value
    raise errors.invalid(
        "reference_replicates",
        value,
        f"be auto or a whole number from 1 to {MAX_REPLICATES}, of the reference's runs a seed",
        "leave it out for the ladder's, which is 1 unless it says more",
    )


def read_text(where: str, value: object) -> str:
    """Plain text."""
    if not isinstance(value, str):
        raise errors.invalid(where, value, "be text", "put it in quotes")
    return value


def read_mapping(where: str, value: object) -> Mapping[str, Any]:
    """Keys and values."""
    if not isinstance(value, Mapping):
        raise errors.invalid(where, value, "map keys to values", "see the sweep files shipped in sweeps/")
    return value
