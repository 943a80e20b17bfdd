"""What a sweep tests: the fields in which every variant differs from the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sweepkit.code.levels import Code
from sweepkit.code.planner import FIELD
from sweepkit.config import facts
from sweepkit.config.facts import Identity
from sweepkit.config.schema import RunConfig
from sweepkit.plan.run_spec import RunSpec
from sweepkit.sweep.cell import REFERENCE, VARIANT
from sweepkit.sweep.search_spec import SearchSpec

#: In place of a variant: what a search proposes values of.
SEARCH = "(search)"
_MISSING = "as base says"
_NO_CODE = "the program as it is"


class Place(Protocol):
    """As much of a cell as is read."""

    @property
    def variant(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def rung(self) -> str: ...
    @property
    def plan(self) -> RunSpec: ...


@dataclass(frozen=True)
class Change:
    """A field that a variant changes, as it is configured: before rates are scaled.

    Attributes:
        old, new: the reference's value and the variant's, as they are written on a command line.
        rungs: where it is so; "" where it is so on all that the variant is planned for.
    """

    variant: str
    field: str
    old: str
    new: str
    rungs: str = ""


def changes(
    cells: Iterable[Place], search: SearchSpec | None = None, code: Code | None = None
) -> list[Change]:
    """What every variant changes, in the order of the plan, then what is searched.

    The reference's other horizons are no variants.

    Args:
        code: what trees were frozen of, in whose words they are named.
    """
    cells = list(cells)
    reference = {cell.rung: cell.plan.settings for cell in cells if cell.role == REFERENCE}
    variants = {(cell.variant, cell.rung): cell.plan.settings for cell in cells if cell.role == VARIANT}
    planned = Counter(variant for variant, _ in variants)
    where: dict[tuple[str, str, str, str], list[str]] = {}
    for (variant, rung), settings in variants.items():
        if rung not in reference:
            continue
        for name, *values in _between(reference[rung], settings):
            before, after = (_in_words(value, code) if name == FIELD else value for value in values)
            where.setdefault((variant, name, before, after), []).append(rung)
    found = [
        Change(*changed, "" if len(rungs) == planned[changed[0]] else ", ".join(rungs))
        for changed, rungs in where.items()
    ]
    if search:
        base = next(iter(reference.values()))
        old = {name: facts.spelled(base[name]) if name in base else _MISSING for name in search.space}
        found += [Change(SEARCH, name, old[name], item.in_words) for name, item in search.space.items()]
    return found


def _in_words(value: str, code: Code | None) -> str:
    """What a tree was frozen of."""
    if code is None:
        return value
    level = code.level(value)
    return level.in_words if level else code.reference.text if value == "null" else value


def _between(base: Mapping[str, Any], mine: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Field, the reference's value and the other's, of fields that decide what is computed; seeds apart."""

    def said(side: Mapping[str, Any], name: str) -> str:
        missing = _NO_CODE if name == FIELD else _MISSING
        return facts.spelled(side[name]) if name in side else missing

    known = facts.fields_of(RunConfig)
    return [
        (name, said(base, name), said(mine, name))
        for name in dict.fromkeys([*base, *mine])
        if base.get(name) != mine.get(name)
        and (name not in known or known[name].facts.identity not in (Identity.replicate, Identity.none))
    ]
