"""Optuna's pruners, asked about one run of a search.

They judge by what a study holds, so one is made in memory from the curves of all trials with the run's seed,
under the search's name and the trials' numbers, by which Hyperband deals its brackets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner

from sweepkit.sweep.pruning_rule import HYPERBAND, PruningRule

_WHOLE = 10_000  # a schedule, in Optuna's whole steps


@dataclass(frozen=True)
class Losses:
    """One trial's run: its losses at the rule's fractions so far, and at its end where it has one."""

    at: tuple[float, ...]
    final: float | None = None


def stops(rule: PruningRule, name: str, number: int, runs: Mapping[int, Losses]) -> bool:
    """Whether the pruner stops trial ``number`` at the last fraction that it has a loss at.

    Args:
        name: of the search.
        runs: of all trials with one seed, by number; that one's among them.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=name, pruner=_made(rule))
    trials = [study.ask() for _ in range(max(runs) + 1)]
    verdict = False
    for key in sorted(runs, key=lambda key: key == number):  # the one that is asked about comes last
        for place, loss in enumerate(runs[key].at):
            trials[key].report(loss, _step(rule, place))
            verdict = trials[key].should_prune()
        if (final := runs[key].final) is not None and key != number:
            study.tell(trials[key], final)
    return verdict


def _made(rule: PruningRule) -> BasePruner:
    first = _step(rule, 0)
    if rule.kind == HYPERBAND:
        return HyperbandPruner(first, _WHOLE, rule.reduction)
    return MedianPruner(n_startup_trials=rule.min_runs, n_warmup_steps=first)


def _step(rule: PruningRule, place: int) -> int:
    """Of a fraction; Hyperband's are exact multiples of the first."""
    if rule.kind == HYPERBAND:
        return int(math.floor(rule.min_frac * _WHOLE) * rule.reduction**place)
    return round(rule.fractions[place] * _WHOLE)
