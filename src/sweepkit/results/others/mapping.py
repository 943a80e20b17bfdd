"""How the columns of a table of others become those of the runs table, as the command line says it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweepkit.errors import did_you_mean, invalid
from sweepkit.results.columns import Column, Direction, find
from sweepkit.results.others import template

#: What is said of seeds: runs of one seed share their data order, or not, or there are none.
SEEDS = SHARED, INDEPENDENT, NO_SEEDS = "shared", "independent", "none"
DROP, KEEP = "drop", "keep"


@dataclass(frozen=True)
class Metric:
    """A number that runs are compared by: which way is better, and its unit."""

    name: str
    direction: str = Direction.lower.value
    unit: str = ""


@dataclass(frozen=True)
class Mapping:
    """What is said of a table.

    Attributes:
        names: their name of a column → ours.
        parsed: column → pattern whose groups become columns.
        variant: columns that together name a variant; none: the column of that name.
        where: a filter of rows, as ``sweepkit results`` takes one.
        metrics: what runs may be compared by; the first is what they are.
        reference: the variant that others are compared with.
        seeds: shared, independent or none; None: nobody has said.
        ledger: the column that says of every run, in the order of rows, whether it was kept.
        duplicates: what becomes of rows that are one run twice: drop, keep, or None (refuse them).
    """

    names: dict[str, str]
    parsed: dict[str, re.Pattern[str]]
    variant: tuple[str, ...] = ()
    where: str | None = None
    metrics: tuple[Metric, ...] = ()
    reference: str | None = None
    seeds: str | None = None
    ledger: str | None = None
    duplicates: str | None = None

    @property
    def compared(self) -> list[str]:
        """What runs may be compared by; the first is what they are."""
        return [metric.name for metric in self.metrics] or ["val_bpb"]

    def is_higher_better(self, name: str) -> bool:
        """Of a metric that was declared; the others are losses."""
        return any(item.name == name and item.direction == Direction.higher.value for item in self.metrics)


def pairs(option: str, items: Sequence[str], example: str) -> dict[str, str]:
    """``THEIRS=OURS`` as a dictionary; what is left of the first ``=`` is theirs."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if key.startswith("decision."):
            remedy = f"a setting of the rule stands before {option}, or behind another option"
            raise invalid(option, item, "be two names with = between", remedy)
        if not (key.strip() and equals and value.strip()):
            raise invalid(option, item, "be two names with = between", f"write {option} {example}")
        if key in found:
            raise invalid(option, key, "be there once", "give a column one name")
        found[key.strip()] = value.strip()
    return found


def metrics(items: Sequence[str]) -> tuple[Metric, ...]:
    """``NAME=lower`` or ``NAME=higher,UNIT``."""
    found = []
    for name, said in pairs("--metric", items, "accuracy=higher,ratio").items():
        direction, _, unit = said.partition(",")
        if direction not in (Direction.lower.value, Direction.higher.value):
            remedy = did_you_mean(direction, ["lower", "higher"])
            raise invalid("--metric", said, "begin with lower or higher, which is better", remedy)
        known = find(name)
        if known is not None and known.direction not in (Direction.none, Direction(direction)):
            contract = f"be {known.direction.value}, which is better for {name}"
            raise invalid(
                f"--metric {name}", direction, contract, "leave it out, or --map it to another name"
            )
        found.append(Metric(name, direction, unit or (known.unit if known else "")))
    return tuple(found)


def patterns(items: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """``COLUMN=TEMPLATE`` with fields in braces, as ``name=d{depth}_lr{lr}``."""
    found = pairs("--parse", items, "'name=d{depth}_lr{lr}'")
    return {column: template.pattern(f"--parse {column}", text) for column, text in found.items()}


def own_column(name: str, dtype: str, metric: Metric | None, source: str) -> Column:
    """A column that only this table has."""
    direction = Direction(metric.direction) if metric else Direction.none
    return Column(name, dtype, metric.unit if metric else "", direction, f"as {source} has it")


_KEPT = frozenset({"keep", "kept", "yes", "true", "1", "accept", "accepted", "adopt", "adopted", "baseline"})
_LEFT = frozenset(
    {
        "discard",
        "discarded",
        "no",
        "false",
        "0",
        "reject",
        "rejected",
        "revert",
        "reverted",
        "drop",
        "dropped",
    }
)
_CRASHED = frozenset({"crash", "crashed", "fail", "failed", "error", "oom", "timeout", "diverged", "nan"})


def is_kept(word: str) -> bool | None:
    """Whether a ledger's word says that a try was kept; None for one that says neither."""
    plain = word.strip().lower()
    return True if plain in _KEPT else False if plain in _LEFT | _CRASHED else None


def state_of(word: str) -> str:
    """The state of a run that a ledger's word tells; nothing where its loss tells."""
    plain = word.strip().lower()
    return "diverged" if plain == "diverged" else "failed" if plain in _CRASHED else ""
