"""A whole campaign in synthetic worlds: how often its last reference is worse than its first.

Every round is played by the rule that decides real ones, in arrays (``promotion/simulation``), with its
variants, rungs, seeds, looks and part of α; what a round adopts moves the reference, and what moved is
combined in later rounds, as ``course.py`` has it. Effects of levels add up. Arrays carry their axes as
suffixes: W worlds, L levels of all rounds, V variants of one, R rungs, M levels that moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from sweepkit.campaign.course import Course
from sweepkit.config import typed, yaml_words
from sweepkit.promotion.simulation import policies, worlds
from sweepkit.promotion.simulation.design import Design, Stage
from sweepkit.promotion.simulation.rung import Index, Mask
from sweepkit.promotion.simulation.worlds import Array, Truth
from sweepkit.sweep import expand
from sweepkit.sweep.file import ALL, SweepFile

FILE = Path(__file__).with_name("campaign_worlds.yaml")
_LUCK_SD = 3.0  # of all runs of a seed, in SDs of a run's own noise


@dataclass(frozen=True)
class Kind:
    """Of a world; ``campaign_worlds.yaml`` explains the fields."""

    mean: float
    sd: float
    top_mean: float
    top_sd: float
    null_frac: float


@dataclass
class _Play:
    """W worlds in the course of a campaign.

    Attributes:
        effect_WLR: of every level that a round has tried; ``axis`` is the axis of each.
        taken_WL: whether the reference has it.
        shrunk: round → shrunken effects of levels alone on its lowest rung [W, L], 0 where it had none.
        sum_W: true effect of the reference on the last rung, against the first.
        changed_W: rounds that adopted something.
    """

    sum_W: Array
    changed_W: Array
    effect_WLR: Array
    taken_WL: Array
    axis: list[str] = field(default_factory=list)
    shrunk: dict[str, Array] = field(default_factory=dict)


def load() -> dict[str, Kind]:
    """The worlds by name."""
    return typed.load(dict[str, Kind], yaml_words.read(FILE.read_text()))


def simulate(
    course: Course,
    noise_sd: float,
    num_worlds: int,
    seed: int = 1,
    on_progress: Callable[[str], None] = lambda kind: None,
) -> pd.DataFrame:
    """A row a kind of world; the same arguments give the same numbers.

    Args:
        noise_sd: of one run, without the luck that its seed shares, in the metric's unit.

    Returns:
        worlds; changed: share of worlds in which any round adopted something; worse: share in which the last
        reference is truly worse than the first on the last rung, with its 95% interval worse_low, worse_high
        (Clopper and Pearson 1934); gain: mean true improvement, in the metric's unit.
    """
    rows = []
    for name, kind in load().items():
        on_progress(name)
        played = _play(course, kind, noise_sd, num_worlds, np.random.default_rng([seed, *name.encode()]))
        num_worse = int((played.sum_W > 0).sum())
        ends = stats.binomtest(num_worse, num_worlds).proportion_ci(method="exact")
        row = {"world": name, "worlds": num_worlds, "changed": float((played.changed_W > 0).mean())}
        row |= {"worse": num_worse / num_worlds, "worse_low": float(ends.low), "worse_high": float(ends.high)}
        rows.append(row | {"gain": float(-played.sum_W.mean())})
    return pd.DataFrame(rows)


def _play(course: Course, kind: Kind, noise_sd: float, num_worlds: int, rng: np.random.Generator) -> _Play:
    num_rungs = len(expand.stacks(course.guessed(course.campaign.order[0]), course.extra))
    played = _Play(
        np.zeros(num_worlds),
        np.zeros(num_worlds),
        np.zeros((num_worlds, 0, num_rungs)),
        np.zeros((num_worlds, 0), dtype=bool),
    )
    for name in course.campaign.order:
        sweep = course.guessed(name)
        written = course.campaign.rounds[name]
        if written.moved:
            places_WM, there_WM = _moved(played, written.after, written.moved)
        else:
            places_WM = np.tile(_new_levels(played, sweep, kind, noise_sd, rng), (num_worlds, 1))
            there_WM = np.ones(places_WM.shape, dtype=bool)
        members = _combinations(written, places_WM.shape[1])
        _round(played, course, name, places_WM, there_WM, members, noise_sd, rng)
    return played


def _new_levels(
    played: _Play, sweep: SweepFile, kind: Kind, noise_sd: float, rng: np.random.Generator
) -> list[int]:
    """The levels of a round's axes, with true effects."""
    num_worlds, first, num_rungs = played.effect_WLR.shape
    axes = [f"{sweep.name} {axis}" for axis, levels in sweep.axes.items() for _ in levels]
    unit_WL1 = rng.standard_normal((num_worlds, len(axes), 1))
    mean_R = np.array([kind.mean] * (num_rungs - 1) + [kind.top_mean])
    sd_R = np.array([kind.sd] * (num_rungs - 1) + [kind.top_sd])
    effect_WLR = noise_sd * (mean_R + sd_R * unit_WL1)
    effect_WLR[rng.random((num_worlds, len(axes))) < kind.null_frac] = 0.0
    played.effect_WLR = np.concatenate([played.effect_WLR, effect_WLR], axis=1)
    not_taken_WL = np.zeros((num_worlds, len(axes)), dtype=bool)
    played.taken_WL = np.concatenate([played.taken_WL, not_taken_WL], axis=1)
    played.axis += axes
    return list(range(first, first + len(axes)))


def _moved(played: _Play, after: Sequence[str], most: int) -> tuple[Index, Mask]:
    """Places of the levels that gained most, best first, and whether there are so many: [W, M] each."""
    gain_WL = np.zeros(played.taken_WL.shape)
    for name in after:
        shrunk_WL = played.shrunk[name]
        known = shrunk_WL.shape[1]
        gain_WL[:, :known] = np.maximum(gain_WL[:, :known], -shrunk_WL)
    gain_WL[played.taken_WL] = 0.0
    order_WM = np.argsort(-gain_WL, axis=1, kind="stable")[:, :most]
    return order_WM, np.take_along_axis(gain_WL, order_WM, axis=1) > 0.0


def _combinations(sweep: SweepFile, num_levels: int) -> list[tuple[int, ...]]:
    """The variants as places among the levels: how many of them together, as the sweep file says."""
    sizes = range(1, num_levels + 1) if sweep.combine == ALL else sweep.combine
    sizes = range(1, sizes + 1) if isinstance(sizes, int) else sizes
    return [item for size in sizes for item in itertools.combinations(range(num_levels), size)]


def _round(
    played: _Play,
    course: Course,
    name: str,
    places_WM: Index,
    there_WM: Mask,
    members: list[tuple[int, ...]],
    noise_sd: float,
    rng: np.random.Generator,
) -> None:
    """Run a round's variants up its ladder, and move the reference by what it adopts."""
    num_worlds, _, num_rungs = played.effect_WLR.shape
    played.shrunk[name] = np.zeros(played.taken_WL.shape)
    if not members:
        return
    row_W1 = np.arange(num_worlds)[:, None]
    level_WMR = played.effect_WLR[row_W1, places_WM]
    effect_WVR = np.stack([level_WMR[:, list(item)].sum(axis=1) for item in members], axis=1)
    axis_WM = np.array([played.axis.index(axis) for axis in played.axis])[places_WM]
    active_WV = np.stack(
        [
            there_WM[:, list(item)].all(axis=1)
            & np.array([len(set(own)) == len(item) for own in axis_WM[:, list(item)].tolist()])
            for item in members
        ],
        axis=1,
    )
    world = worlds.World(
        name, (len(members),), 0.0, 0.0, 0.0, 0.0, (1.0,) * num_rungs, 0.0, 0.0, 0.0, 0.0, 0.0,
        (noise_sd,) * num_rungs, (_LUCK_SD * noise_sd,) * num_rungs, 0.0, 0.0, (1.0,) * num_rungs,
    )  # fmt: skip
    truth = Truth(world, effect_WVR, np.zeros(effect_WVR.shape))
    done = policies.climb(_design(course, name), truth, active_WV, rng)
    for place, item in enumerate(members):
        if len(item) == 1 and done.shrunk_WV is not None:
            shrunk_W = np.where(active_WV[:, place], done.shrunk_WV[:, place], 0.0)
            played.shrunk[name][np.arange(num_worlds), places_WM[:, item[0]]] = shrunk_W
    winners = np.flatnonzero(done.best_W >= 0)
    played.sum_W[winners] += effect_WVR[winners, done.best_W[winners], -1]
    played.changed_W[winners] += 1
    for place, item in enumerate(members):
        mine = winners[done.best_W[winners] == place]
        for position in item:
            played.taken_WL[mine, places_WM[mine, position]] = True


def _design(course: Course, name: str) -> Design:
    """The rungs of a round as it would be run."""
    sweep = course.guessed(name)
    found = []
    stacks = expand.stacks(sweep, course.extra)
    for place, stack in enumerate(stacks):
        is_last = place == len(stacks) - 1
        limit = None if is_last or sweep.decision.scale_sensitive else stack.rungs[place].max_promoted
        looks = sweep.decision.looks if is_last else ()
        found.append(Stage(place, len(stack.seeds), limit, looks))
    if sweep.decision.scale_sensitive:  # all climb, so that only the last rung decides
        found = found[-1:]
    return Design(tuple(found), sweep.decision)
