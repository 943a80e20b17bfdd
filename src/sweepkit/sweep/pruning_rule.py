"""When a run of a search is hopeless: ``pruning:`` of a ``search:`` block, off unless asked for.

    pruning: {kind: none}
    pruning: {kind: halving, reduction: 3, min_frac: 0.111}   # the best third goes on at 1/9, 1/3 of the run
    pruning: {kind: sigma, k: 3, min_frac: 0.3, min_runs: 4}  # judged by what finished runs still gained

Runs are compared at equal fractions of their schedules (``search/pruning.py`` carries the rule out). That
means something only between runs of one schedule and one text: a run that decays its learning rate early is
ahead until it is not. Spaces that change schedule, horizon, dataset, tokenizer or packing are refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweepkit import errors
from sweepkit.sweep import override

NONE, HALVING, SIGMA = "none", "halving", "sigma"
#: Kind → the keys that it reads.
_KEYS = {NONE: (), HALVING: ("min_frac", "reduction"), SIGMA: ("min_frac", "k", "min_runs")}
KINDS = tuple(_KEYS)
#: Blocks and groups within which losses at equal fractions do not compare.
_INCOMPARABLE = frozenset({"schedule", "horizon", "dataset", "tokenizer", "packing", "experiment"})
_SIGMA_EVERY = 0.05  # of the schedule


@dataclass(frozen=True)
class PruningRule:
    """What counts as hopeless.

    Attributes:
        min_frac: no run is judged before that fraction of its schedule.
        reduction: halving: one in that many goes on, at ``min_frac × reduction^j``.
        k: sigma: hopeless when the final loss predicted from the loss so far is worse than the best finished
            run by more than k standard deviations of that prediction.
        min_runs: sigma: how many finished runs the prediction needs.
    """

    kind: str = NONE
    min_frac: float = 1 / 9
    reduction: int = 3
    k: float = 3.0
    min_runs: int = 4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise errors.invalid(
                "search.pruning.kind",
                self.kind,
                f"be one of {', '.join(KINDS)}",
                errors.did_you_mean(str(self.kind), KINDS),
            )
        contracts = {
            "min_frac": (0 < self.min_frac < 1, "lie between 0 and 1", "0.111 is usual"),
            "reduction": (self.reduction >= 2, "be 2 or more", "3 is usual"),
            "k": (0 < self.k < math.inf, "be a number above 0", "3 is cautious"),
            "min_runs": (self.min_runs >= 3, "be 3 or more, to estimate a spread", "4 is usual"),
        }
        for name, (holds, contract, remedy) in contracts.items():
            if not holds:
                raise errors.invalid(f"search.pruning.{name}", getattr(self, name), contract, remedy)

    @property
    def fractions(self) -> list[float]:
        """Of the schedule, at which a run is judged."""
        found: list[float] = []
        at = self.min_frac
        while self.kind != NONE and at < 1 - 1e-9:
            found.append(round(at, 6))
            at = at * self.reduction if self.kind == HALVING else at + _SIGMA_EVERY
        return found

    def check_space(self, space: Iterable[str]) -> None:
        """Raises ConfigError where runs of this space do not compare half way."""
        for key in space if self.kind != NONE else ():
            if override.block(key) in _INCOMPARABLE:
                raise errors.invalid(
                    "search.pruning.kind",
                    self.kind,
                    f"be none where the space changes {key}, for losses half way then do not compare",
                    "write pruning: {kind: none}, or leave that field out of the space",
                )

    def to_json(self) -> dict[str, Any]:
        """The kind and the keys that it reads."""
        return {"kind": self.kind} | {name: getattr(self, name) for name in _KEYS[self.kind]}

    @classmethod
    def from_json(cls, value: object) -> PruningRule:
        """A rule from a ``pruning:`` block or from ``to_json``; what is left out has its default.

        Raises:
            ConfigError: an unknown key, a wrong type or a value out of range.
        """
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            raise errors.invalid("search.pruning", value, "map keys to values", "write {kind: halving}")
        known = {item.name: item for item in dataclasses.fields(cls)}
        for key, given in value.items():
            where = f"search.pruning.{key}"
            if key not in known:
                raise errors.invalid(where, given, "be a known key", errors.did_you_mean(str(key), known))
            wanted: tuple[type, ...] = {"str": (str,), "int": (int,)}.get(str(known[key].type), (int, float))
            if isinstance(given, bool) or not isinstance(given, wanted):
                names = " or ".join(kind.__name__ for kind in wanted)
                raise errors.invalid(where, given, f"be of type {names}", "see docs/search.md")
        rule = cls(**value)
        for key in value:
            if key != "kind" and key not in _KEYS[rule.kind]:
                raise errors.invalid(
                    f"search.pruning.{key}",
                    value[key],
                    f"be left out with kind: {rule.kind}, which does not read it",
                    f"write kind: {' or '.join(kind for kind in KINDS if key in _KEYS[kind])}",
                )
        return rule
