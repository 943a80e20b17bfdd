"""Is a run of the reference out of line? Every comparison of a rung leans on it.

A run of the reference that is far too bad makes all variants look better, and averages out over none of them.
Its deleted studentised residual in the two-way fit tells: what the run is off from its seed's other runs,
beside the reference's own runs with the other seeds, in units of the noise of all other runs. Variants that
are all better than the reference shift its mean and leave that residual alone. The p values are corrected for
the number of the reference's runs (Bonferroni) and held against ``LEVEL``; a verdict with a suspect waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from sweepkit.analysis import noise
from sweepkit.analysis.copies import copies_of, near_copies_of
from sweepkit.analysis.effects import block_names
from sweepkit.results.columns import REFERENCE

LEVEL = 0.01
_SAME = 1e-6  # relative; two seeds alone have residuals of one size


@dataclass(frozen=True)
class Suspect:
    """Runs of the reference that are out of line.

    Attributes:
        seeds: of the run; with two seeds both, for nobody can say which of the two is off.
        difference: what it is off, in the metric's unit; above 0 it makes variants look better.
        size_sd: the same in SDs of one run's noise.
        p: of a run as far off in either direction, corrected for the number of runs.
    """

    seeds: list[str]
    difference: float
    size_sd: float
    p: float


def suspect(rows: pd.DataFrame, metric: str, reference: str = REFERENCE) -> Suspect | None:
    """The reference's run that is out of line by most, if any is.

    Args:
        rows: one rung's runs: variant, seed, pair_key where there is one, and ``metric``; rows without a
            value are left out.
    """
    rows = rows[rows[metric].notna()]
    labels = [str(name) for name in rows["variant"]]
    values = [float(value) for value in rows[metric]]
    seeds = [str(seed) for seed in rows["seed"]]
    blocks = block_names(rows)
    copies = copies_of(labels, seeds, values, reference)  # they are as far off as what they equal
    near = near_copies_of(labels, blocks, values, reference)
    own = [place for place, label in enumerate(labels) if label not in copies and label not in near]
    labels, blocks = [labels[place] for place in own], [blocks[place] for place in own]
    values, seeds = [values[place] for place in own], [seeds[place] for place in own]
    shared = {block for name, block in zip(labels, blocks, strict=True) if name == reference}
    variants = {n for n, b in zip(labels, blocks, strict=True) if n != reference and b in shared}
    if len(variants) < 2:
        return _alone(labels, seeds, values, reference)
    seed_of = dict(zip(blocks, seeds, strict=True))
    fit = noise.pool(labels, blocks, values, reference).fit
    if reference not in fit.parts or fit.df < 2 or fit.sse == 0.0:
        return None
    residual_r, leverage_r = fit.residuals(reference)
    places = [seed_of[block] for block in fit.parts[reference].blocks]
    return _worst(places, residual_r, leverage_r, fit.sse, fit.df)


def _alone(
    labels: Sequence[str], seeds: Sequence[str], values: Sequence[float], reference: str
) -> Suspect | None:
    """Where no seed is shared: the reference's runs among themselves, with the noise of every group."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for name, seed, value in zip(labels, seeds, values, strict=True):
        groups.setdefault(name, []).append((seed, value))
    if len(groups) < 3 or len(groups.get(reference, [])) < 2:
        return None
    spread = {name: np.asarray([value for _, value in own]) for name, own in groups.items()}
    sse = math.fsum(float(((own - own.mean()) ** 2).sum()) for own in spread.values())
    df = len(values) - len(groups)
    mine = spread[reference]
    if df < 2 or sse <= 0.0:
        return None
    leverage = np.full(len(mine), 1.0 / len(mine))
    return _worst([seed for seed, _ in groups[reference]], mine - mine.mean(), leverage, sse, df)


def _worst(
    seeds: Sequence[str], residual_r: noise.Array, leverage_r: noise.Array, sse: float, df: int
) -> Suspect | None:
    """The run with the largest residual, held against what is left without it."""
    left_r = np.maximum(1.0 - leverage_r, 1e-12)
    squares_r = residual_r**2 / left_r
    rest_r = np.maximum(sse - squares_r, 1e-12 * sse) / (df - 1)
    t_r = np.sqrt(squares_r / rest_r)
    place = int(np.argmax(t_r))
    p = min(1.0, 2.0 * float(special.stdtr(df - 1, -t_r[place])) * len(t_r))
    if p >= LEVEL:
        return None
    as_far = [seed for seed, t in zip(seeds, t_r, strict=True) if t >= t_r[place] * (1.0 - _SAME)]
    off = float(residual_r[place] / left_r[place])
    return Suspect(list(dict.fromkeys(as_far)), off, abs(off) / math.sqrt(float(rest_r[place])), p)
