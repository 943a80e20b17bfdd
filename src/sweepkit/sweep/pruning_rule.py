"""When a run of a search is hopeless: ``pruning:`` of a ``search:`` block, off unless asked for.

    pruning: {kind: none}
    pruning: {kind: halving, reduction: 3, min_frac: 0.111}   # the best third goes on at 1/9, 1/3 of the run
    pruning: {kind: hyperband, reduction: 3, min_frac: 0.111} # Optuna's: some begin to be judged later
    pruning: {kind: median, min_frac: 0.3, min_runs: 4}       # Optuna's: worse than half of the finished
    pruning: {kind: sigma, k: 3, min_frac: 0.3, min_runs: 4}  # judged by what finished runs still gained

Runs are compared at equal fractions of their schedules (``search/pruning.py`` carries the rule out). That
means something only between runs of one schedule and one text: a run that decays its learning rate early is
ahead until it is not. Spaces that change schedule, horizon, dataset, tokenizer or packing are refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sweepkit import errors
from sweepkit.config.facts import fact
from sweepkit.config.ranges import Range
from sweepkit.sweep import set_fields

NONE, HALVING, HYPERBAND, MEDIAN, SIGMA = "none", "halving", "hyperband", "median", "sigma"
#: Kind → the keys that it reads.
_KEYS: dict[str, tuple[str, ...]] = {
    NONE: (),
    HALVING: ("min_frac", "reduction"),
    HYPERBAND: ("min_frac", "reduction"),
    MEDIAN: ("min_frac", "min_runs"),
    SIGMA: ("min_frac", "k", "min_runs"),
}
#: Blocks and groups within which losses at equal fractions do not compare.
_INCOMPARABLE = frozenset({"schedule", "horizon", "dataset", "tokenizer", "packing", "experiment"})
_OTHERWISE_EVERY = 0.05  # of the schedule


@dataclass(frozen=True)
class PruningRule:
    """What counts as hopeless."""

    kind: Literal["none", "halving", "hyperband", "median", "sigma"] = fact(
        NONE, "how runs are judged half way"
    )
    min_frac: float = fact(
        1 / 9,
        "no run is judged before that fraction of its schedule",
        Range(lambda value: 0 < value < 1, "lie between 0 and 1", "0.111 is usual"),
        unit="ratio",
    )
    reduction: int = fact(
        3,
        "halving, hyperband: one in that many goes on, at min_frac × reduction^j",
        Range(lambda value: value >= 2, "be 2 or more", "3 is usual"),
    )
    k: float = fact(
        3.0,
        "sigma: hopeless when the final loss predicted from the loss so far is worse than the best finished "
        "run by more than k standard deviations of that prediction",
        Range(lambda value: 0 < value < math.inf, "be a number above 0", "3 is cautious"),
    )
    min_runs: int = fact(
        4,
        "sigma, median: how many finished runs it takes before any is judged",
        Range(lambda value: value >= 3, "be 3 or more, to estimate a spread", "4 is usual"),
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name != "kind" and value != item.default and item.name not in _KEYS[self.kind]:
                raise errors.invalid(
                    f"search.pruning.{item.name}",
                    value,
                    f"be left out with kind: {self.kind}, which does not read it",
                    f"write kind: {' or '.join(kind for kind in _KEYS if item.name in _KEYS[kind])}",
                )

    @property
    def fractions(self) -> list[float]:
        """Of the schedule, at which a run is judged."""
        found: list[float] = []
        at = self.min_frac
        while self.kind != NONE and at < 1 - 1e-9:
            found.append(round(at, 6))
            at = at * self.reduction if self.kind in (HALVING, HYPERBAND) else at + _OTHERWISE_EVERY
        return found

    def check_space(self, space: Iterable[str]) -> None:
        """Raises ConfigError where runs of this space do not compare half way."""
        for key in space if self.kind != NONE else ():
            if set_fields.block(key) in _INCOMPARABLE:
                raise errors.invalid(
                    "search.pruning.kind",
                    self.kind,
                    f"be none where the space changes {key}, for losses half way then do not compare",
                    "write pruning: {kind: none}, or leave that field out of the space",
                )


def as_written(value: Any) -> Any:
    """``pruning: halving`` is a rule of that kind with its defaults."""
    return {"kind": value} if isinstance(value, str) else value
