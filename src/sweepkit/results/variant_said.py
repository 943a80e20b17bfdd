"""Which variant of a table somebody means: by its name, or by its levels as Hydra, YAML or pandas have them.

``optimizer=adam,lr=0.01`` is also ``adam,0.01``, ``lr=0.01 optimizer=adam``, ``{optimizer: adam, lr: 1e-2}``
and ``('adam', 0.01)``. What fits no variant, or more than one, is refused with those that are near.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections.abc import Sequence

from sweepkit.errors import ConfigError, invalid

#: An axis, "" where none is said, and its level.
Item = tuple[str, str]
_NEAR, _FEW = 4, 12
_OPEN, _CLOSE = "([{", ")]}"
#: A comma that may be a decimal one, as of a table whose cells are 0,01.
_DECIMAL = re.compile(r"(?<![\d.])(\d+),(\d+(?:[eE][+-]?\d+)?)(?![\w=:]|[.,]\d)")


def find(option: str, said: str, names: Sequence[str], contract: str = "be a variant of the table") -> str:
    """The name among ``names`` that is meant.

    Args:
        option: where it was said, for the error.

    Raises:
        ConfigError: none is, or several are.
    """
    if said in names:
        return said
    fitting = [name for name in names if _fits(said, name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed, more = ", ".join(fitting[:_NEAR]), len(fitting) - _NEAR
        several = f"{listed} and {more} more" if more > 0 else listed
        raise invalid(option, said, f"mean one variant, not {len(fitting)}", f"write one whole: {several}")
    raise unknown(option, said, names, contract)


def unknown(option: str, said: str, names: Sequence[str], contract: str) -> ConfigError:
    """The error for a name that no variant has, with those that are near."""
    shared = {name: _num_shared(said, name) for name in names}
    most = max(shared.values(), default=0)  # whatever else is alike, another value is another variant
    near = [name for name in names if shared[name] == most][:_NEAR]
    if not most:
        lower = {name.lower(): name for name in names}
        near = [lower[found] for found in difflib.get_close_matches(said.lower(), lower, n=_NEAR)]
    if near:
        listed = ", ".join(map(repr, near))
        return invalid(option, said, contract, f"did you mean {listed}?")
    if not names:
        return invalid(option, said, contract, "there is none")
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return invalid(option, said, contract, f"known: {', '.join(names[:_FEW])}{more}")


def axes(said: str) -> list[str]:
    """The axes that were said with their levels; none where a level stands alone."""
    found = [axis for axis, _ in _items(said)]
    return found if all(found) else []


def _fits(said: str, name: str) -> bool:
    """Whether every level that was said is the variant's; without axes all of them, in their order."""
    return any(_is_of(wanted, there) for wanted in _readings(said) for there in _readings(name))


def _is_of(wanted: list[Item], there: list[Item]) -> bool:
    if any(axis for axis, _ in wanted) and all(axis for axis, _ in there):
        return all(
            any(_is_axis(axis, own) and value == level for own, level in there) for axis, value in wanted
        )
    return [value for _, value in wanted] == [value for _, value in there]


def _num_shared(said: str, name: str) -> int:
    """How many levels both name, whatever their axes are called."""
    return max(
        len({value for _, value in wanted} & {level for _, level in there})
        for wanted in _readings(said)
        for there in _readings(name)
    )


def _readings(text: str) -> list[list[Item]]:
    """What a text may mean: a comma between digits parts two levels, or is a decimal one.

    Where axes are said, each level has one, which tells; without any it may be either.
    """
    plain, decimal = _items(text), _items(_DECIMAL.sub(r"\1.\2", text))
    if any(axis for axis, _ in plain):
        is_parted = any(not axis for axis, _ in plain) and all(axis for axis, _ in decimal)
        return [decimal if is_parted else plain]
    return [plain] if decimal == plain else [plain, decimal]


def _is_axis(said: str, own: str) -> bool:
    """An axis may be said by its last words: ``lr`` for ``optimizer.lr``."""
    return bool(said) and (said == own or own.endswith(f".{said}"))


def _items(text: str) -> list[Item]:
    """Axis and level, compared as numbers where they are; without an axis for a level alone."""
    text = text.strip()
    if text and text[0] in _OPEN and text[-1] in _CLOSE:
        text = text[1:-1]
    found = []
    for part in _split(text):
        axis, _, level = part.rpartition("=") if "=" in part else part.rpartition(": ")
        found.append((axis.strip().strip("'\""), _level(level)))
    return found


def _split(text: str) -> list[str]:
    """At commas and semicolons outside of brackets; where there are none, at blanks."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if sign in ",;" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    if len(parts) == 1 and not re.search(r"[:=]\s", text):
        parts = text.split()
    return [part.strip() for part in parts if part.strip()]


def _level(text: str) -> str:
    text = text.strip().strip("'\"")
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(text)):  # commits 77e0912 and 12e0999 are not one
            return repr(number)
    return text.lower()
