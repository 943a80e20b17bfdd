"""Optuna's samplers, by the names that a search gives them.

A sampler is made anew for every trial, seeded by the search's seed and the trial's number: what is proposed
is a function of those and of what has been told, whichever process asks.

CMA-ES keeps its state in the study, pickled, and NSGA-II its generations. Nothing is unpickled here that lies
in a folder, and a study can be made anew from what it was told: that is played again to a study in memory,
trial by trial, which comes to the same state.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from sweepkit import fsio
from sweepkit.search import space
from sweepkit.sweep.search_spec import CMAES, NSGAII, SearchSpec

#: How often each is asked for a point that is new. Only those without a model have more to say.
TRIES = {"tpe": 5, "gp": 3, CMAES: 3, NSGAII: 5, "qmc": 200, "random": 200, "grid": 5}
#: Of NSGA-II. Optuna's 50 would draw every trial of a search of this size at random.
_GENERATION = 10
_PLAYED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def of(
    spec: SearchSpec,
    number: int,
    repeats: int = 0,
    name: str | None = None,
    told: Sequence[FrozenTrial] = (),
) -> BaseSampler:
    """The sampler for trial ``number``, asked again after so many repeats.

    Args:
        name: another than the search has.
        told: what the study knows, which CMA-ES and NSGA-II go by.
    """
    seed = int(fsio.digest([spec.seed, number, *([repeats] if repeats else [])])[:8], 16)
    name = name or spec.sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return TPESampler(seed=seed, multivariate=True, constant_liar=True, group=spec.is_conditional)
        if name == "gp":
            return GPSampler(seed=seed)
        if name == "qmc":  # one sequence for all trials, so one seed; its place in it is in the study
            return QMCSampler(seed=spec.seed, scramble=True, independent_sampler=RandomSampler(seed=seed))
        if name in (CMAES, NSGAII):
            return PartialFixedSampler(_after(spec, name, told, repeats, seed), RandomSampler(seed=seed))
        if name == "grid":  # whose own attributes no one has who makes the journal anew
            return BruteForceSampler(seed=seed)
        return RandomSampler(seed=seed)


def _after(
    spec: SearchSpec, name: str, told: Sequence[FrozenTrial], repeats: int, seed: int
) -> dict[str, object]:
    """What CMA-ES or NSGA-II proposes after those trials."""
    own = int(fsio.digest([spec.seed, *([repeats] if repeats else [])])[:8], 16)
    sampler = (
        NSGAIISampler(seed=own, population_size=_GENERATION)
        if name == NSGAII
        else CmaEsSampler(
            seed=own, independent_sampler=RandomSampler(seed=seed), warn_independent_sampling=False
        )
    )
    played = optuna.create_study(sampler=sampler, directions=["minimize"] * spec.num_objectives)
    for item in told:
        if item.state not in _PLAYED:
            continue
        played.enqueue_trial(item.params)
        trial = played.ask()
        assert trial.relative_params is not None  # asked for, so that the trial is one of its generation
        space.propose(trial, spec.space)
        for constraint, excess in item.constraints.items() if name == NSGAII else ():
            trial.set_constraint(constraint, excess)
        if item.state == TrialState.COMPLETE:
            played.tell(trial, item.values)
        elif item.state == TrialState.PRUNED:
            played.tell(trial, state=TrialState.PRUNED)
    return dict(played.ask().relative_params or {})  # the rest is drawn at random, by the trial's own seed
