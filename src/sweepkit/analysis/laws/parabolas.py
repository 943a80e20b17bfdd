"""Losses as parabolas in a coordinate: which runs of a group are fitted, one curvature or one each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from sweepkit import errors
from sweepkit.analysis.laws.intervals import Fitted, Floats, Interval, least_squares, t_limit
from sweepkit.printable import degrees

#: Levels on either side of the best one that are fitted, and how far beyond them in the logarithm.
REACH, REACH_LOG = 2, math.log(4.0) + 1e-9
#: How far above the best level one may lie, over what the middle one of those near it does: four times in a
#: parabola seen from its minimum; more is another slope, or a cliff.
TOWERS = 10.0
_TOO_FEW = "too few levels stand for a parabola of its own: the others diverged, or tower over them"
Curvature = Literal["auto", "shared", "separate"]


@dataclass(frozen=True)
class Axis:
    """How a value is measured along the axis: its coordinate, and back."""

    forward: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]
    contract: str
    is_valid: Callable[[Floats], Floats]


AXES = {
    "log": Axis(np.log, np.exp, "be above 0 on a logarithmic axis", lambda x: x > 0),
    "one_minus": Axis(
        lambda x: -np.log1p(-x), lambda z: -np.expm1(-z), "be below 1 on an axis of 1 − x", lambda x: x < 1
    ),
    "linear": Axis(lambda x: x, lambda z: z, "be a number", np.isfinite),
}


@dataclass(frozen=True)
class Group:
    """Runs of one group: coordinate, loss (inf: diverged) and seed of each; its levels and what is fitted.

    Attributes:
        usual: how deep valleys of these groups are; ``depth_of`` in the middle one of them.
        region: first and last level that is fitted.
    """

    name: str
    z_N: Floats
    y_N: Floats
    block_N: list[str]
    z_L: Floats
    mean_L: Floats
    count_L: Floats
    reach: float
    usual: float
    region: tuple[int, int]

    @property
    def rows_N(self) -> Floats:
        first, last = self.z_L[self.region[0]], self.z_L[self.region[1]]
        found: Floats = (self.z_N >= first) & (self.z_N <= last) & np.isfinite(self.y_N)
        return found


def group_of(
    name: str, z_N: Floats, y_N: Floats, names: list[str], blocks: list[str], is_blocked: bool, reach: float
) -> Group:
    mine = np.array([item == name for item in names])
    z, y = z_N[mine], np.where(np.isfinite(y_N[mine]), y_N[mine], np.inf)
    block = [blocks[row] for row in np.flatnonzero(mine)] if is_blocked else ["-"] * int(mine.sum())
    z_L, place_N = np.unique(np.round(z, 12), return_inverse=True)
    if len(z_L) < 3:
        remedy = "run more levels, or leave the group out with --where"
        raise errors.invalid(f"levels of {name}", len(z_L), "be three or more for a parabola", remedy)
    count_L = np.bincount(place_N).astype(float)
    mean_L = np.bincount(place_N, weights=y) / count_L
    if not np.isfinite(mean_L).any():
        raise errors.invalid(
            f"runs of {name}", "diverged", "not all have diverged", "leave the group out with --where"
        )
    return Group(name, z_L[place_N], y, block, z_L, mean_L, count_L, reach, math.inf, (0, len(z_L) - 1))


def placed(groups: Sequence[Group]) -> list[Group]:
    """The groups with the regions about their best levels."""
    centres = [int(np.argmin(group.mean_L)) for group in groups]
    depths = [
        depth_of(group.mean_L[_near(group, centre)]) for group, centre in zip(groups, centres, strict=True)
    ]
    usual = float(np.median([depth for depth in depths if depth > 0] or [0.0]))  # a tie is no valley
    known = [replace(group, usual=usual) for group in groups]
    return [
        replace(group, region=_region(group, centre)) for group, centre in zip(known, centres, strict=True)
    ]


def _near(group: Group, centre: int) -> npt.NDArray[np.bool_]:
    """Two levels on either side of one of them, and what lies within its reach."""
    steps_L = np.abs(np.arange(len(group.z_L)) - centre)
    found: npt.NDArray[np.bool_] = (steps_L <= REACH) | (np.abs(group.z_L - group.z_L[centre]) <= group.reach)
    return found


def _region(group: Group, centre: int) -> tuple[int, int]:
    """Levels around one of them, not past what diverged or towers over the rest; three where there are.

    A valley that is ten times as deep as those of the other groups starts with a cliff: theirs counts then.
    """
    mean_L, near_L = group.mean_L, _near(group, centre)
    depth = depth_of(mean_L[near_L])
    depth = depth if depth <= TOWERS * group.usual else group.usual
    stands_L = mean_L - np.min(mean_L) <= TOWERS * depth
    first = last = centre
    while first > 0 and near_L[first - 1] and stands_L[first - 1]:
        first -= 1
    while last < len(mean_L) - 1 and near_L[last + 1] and stands_L[last + 1]:
        last += 1
    while last - first < 2 and last < len(mean_L) - 1 and stands_L[last + 1]:
        last += 1
    while last - first < 2 and first > 0 and stands_L[first - 1]:
        first -= 1
    return first, last


def depth_of(near_K: Floats) -> float:
    """How far the middle one of some levels lies above the best of them, in the metric's unit.

    What is high is measured by it, so that neither the metric's zero nor its unit matters. Of four beside
    the best one it is the third: a tie does not make it nothing, nor a cliff on one side everything.
    """
    stands_K = np.sort(near_K[np.isfinite(near_K)])
    above_K = stands_K[1:] - stands_K[:1]
    return float(above_K[len(above_K) // 2]) if len(above_K) else 0.0


def recentred(group: Group, fit: Parabola) -> Group:
    if fit.vertex is None:
        return group
    centre = int(np.argmin(np.abs(group.z_L - fit.vertex) + np.where(np.isfinite(group.mean_L), 0, np.inf)))
    first, last = _region(group, centre)
    # levels that all tower over the best one elsewhere are no valley
    return (
        group
        if last - first < min(2, group.region[1] - group.region[0])
        else replace(group, region=(first, last))
    )


def straightened(group: Group, confidence: float) -> Group:
    """The group with a smaller region where its valley is shown to be no parabola.

    While a cubic term differs from 0 the outermost level on either side is left out; three levels stay.
    """
    while group.region[1] - group.region[0] >= 4:
        x_NP, y_N, _, num_blocks, _ = _within(group, 3)
        try:
            fitted = least_squares(x_NP, y_N, num_blocks)
        except np.linalg.LinAlgError:
            return group
        limit = t_limit(fitted.df, confidence) if fitted.df > 0 else math.inf
        if abs(fitted.beta_P[2]) <= limit * math.sqrt(float(fitted.cov_PP[2, 2])) or fitted.df < 1:
            return group
        group = replace(group, region=(group.region[0] + 1, group.region[1] - 1))
    return group


@dataclass(frozen=True)
class Parabola:
    """y = a + b(z − zero) + c(z − zero)², with the joint covariance of b and c."""

    zero: float
    a: float
    b: float
    c: float
    cov_22: Floats
    sd: float
    df: int

    @property
    def vertex(self) -> float | None:
        return self.zero - self.b / (2 * self.c) if self.c > 0 else None

    def at(self, z: float) -> float:
        return self.a + self.b * (z - self.zero) + self.c * (z - self.zero) ** 2


def fit_all(
    groups: Sequence[Group], curvature: Curvature
) -> tuple[dict[str, Parabola], dict[str, list[str]]]:
    """Every group's parabola. Their own noise where its degrees of freedom are three or more, else pooled."""
    parts = {group.name: _within(group) for group in groups}
    spare = {name: len(y) - absorbed - 2 for name, (_, y, _, absorbed, _) in parts.items()}
    is_thin = min(spare.values()) < 2 or min(g.region[1] - g.region[0] for g in groups) < 2
    shared = curvature == "shared" or (curvature == "auto" and is_thin and len(groups) > 1)
    notes: dict[str, list[str]] = {group.name: [] for group in groups}
    if shared:
        said = "curvature shared between groups" + (
            ": too few runs for one each" if curvature == "auto" else ""
        )
        stand = [group for group in groups if parts[group.name][0].any()]
        fits = {group.name: _unknown(parts[group.name][2]) for group in groups}
        for group in groups:
            notes[group.name].append(said if group in stand else _TOO_FEW)
        return fits | _fit_shared(stand, parts), notes
    own: dict[str, Fitted] = {}
    for group in groups:
        x_NP, y_N, _, absorbed, _ = parts[group.name]
        try:
            own[group.name] = least_squares(x_NP, y_N, absorbed)
        except np.linalg.LinAlgError:
            notes[group.name].append(_TOO_FEW)
    df = sum(item.df for item in own.values() if item.df > 0)
    total = sum(float(item.residual_N @ item.residual_N) for item in own.values())
    fits = {}
    for group in groups:
        zero, mean_y, mean_P = parts[group.name][2], *parts[group.name][4]
        fitted = own.get(group.name)
        if fitted is None:
            fits[group.name] = _unknown(zero)
            continue
        sd, here, cov = fitted.sd, fitted.df, fitted.cov_PP
        if here < 3 and df > here and len(groups) > 1:
            sd, here = math.sqrt(total / df), df
            cov = np.linalg.inv(parts[group.name][0].T @ parts[group.name][0]) * sd**2
            notes[group.name].append(f"noise pooled over groups ({degrees(df)})")
        b, c = (float(item) for item in fitted.beta_P)
        fits[group.name] = Parabola(zero, mean_y - b * mean_P[0] - c * mean_P[1], b, c, cov, sd, here)
    return fits, notes


def _unknown(zero: float) -> Parabola:
    return Parabola(zero, math.nan, math.nan, math.nan, np.full((2, 2), math.nan), math.nan, 0)


_Part = tuple[Floats, Floats, float, int, tuple[float, Floats]]


def _within(group: Group, degree: int = 2) -> _Part:
    """Columns (z, z², to the degree) and loss, every block's mean taken out; zero, blocks, and the means."""
    rows_N = group.rows_N
    z_N, y_N = group.z_N[rows_N], group.y_N[rows_N]
    zero = float(group.z_L[group.region[0] : group.region[1] + 1].mean())
    x_NP = np.stack([(z_N - zero) ** power for power in range(1, degree + 1)], axis=1)
    names, place_N = np.unique([group.block_N[row] for row in np.flatnonzero(rows_N)], return_inverse=True)
    count_B = np.bincount(place_N)
    means_BP = np.stack([np.bincount(place_N, weights=column) / count_B for column in x_NP.T], axis=1)
    mean_B = np.bincount(place_N, weights=y_N) / count_B
    whole = (float(y_N.mean()), x_NP.mean(axis=0))
    return x_NP - means_BP[place_N], y_N - mean_B[place_N], zero, len(names), whole


def _fit_shared(groups: Sequence[Group], parts: dict[str, _Part]) -> dict[str, Parabola]:
    """One curvature, a slope for each group."""
    rows = [len(parts[group.name][1]) for group in groups]
    x_NP, y_N = np.zeros((sum(rows), len(groups) + 1)), np.concatenate([parts[g.name][1] for g in groups])
    start = 0
    for place, (group, count) in enumerate(zip(groups, rows, strict=True)):
        x_NP[start : start + count, [place, -1]] = parts[group.name][0]
        start += count
    try:
        fitted = least_squares(x_NP, y_N, sum(parts[group.name][3] for group in groups))
    except np.linalg.LinAlgError:
        raise errors.invalid(
            "levels", "too few", "be three or more in some group", "run more levels"
        ) from None
    fits = {}
    for place, group in enumerate(groups):
        pick = np.ix_([place, len(groups)], [place, len(groups)])
        b, c = float(fitted.beta_P[place]), float(fitted.beta_P[-1])
        _, _, zero, _, (mean_y, mean_P) = parts[group.name]
        a = mean_y - b * float(mean_P[0]) - c * float(mean_P[1])
        fits[group.name] = Parabola(zero, a, b, c, fitted.cov_PP[pick], fitted.sd, fitted.df)
    return fits


def falls_towards(group: Group, fit: Parabola, edge: int, confidence: float) -> int:
    """1 or −1 where losses about the level at an edge are shown to fall with or against z, else 0.

    A t test on the line through the levels that a parabola about that level would be fitted to, with the
    noise about the parabolas; where no run is left to estimate that from, on the line through all levels that
    stand, with the noise about it.
    """
    part = replace(group, region=_region(group, edge))
    if fit.df <= 0:
        stands = np.flatnonzero(np.isfinite(group.mean_L))
        part = replace(group, region=(int(stands[0]), int(stands[-1])))
    x_N1, y_N, _, num_blocks, _ = _within(part, 1)
    try:
        line = least_squares(x_N1, y_N, num_blocks)
    except np.linalg.LinAlgError:  # every block has one level
        return 0
    sd, df = (fit.sd, fit.df) if fit.df > 0 else (line.sd, line.df)
    if df <= 0:
        return 0
    slope, error = float(line.beta_P[0]), sd / float(np.linalg.norm(x_N1))
    return 0 if abs(slope) <= t_limit(df, confidence) * error else -1 if slope > 0 else 1


def distinguishable(fit: Parabola, vertex: float, confidence: float) -> Interval:
    """Where c·d² ≤ t·SE of the difference to the minimum, d the distance from it."""
    if fit.df <= 0:
        return Interval(None, None, confidence)
    t2, v = t_limit(fit.df, confidence) ** 2, fit.cov_22
    at = 2 * (vertex - fit.zero)
    # |d|·sqrt(V_b + 2(at + d)V_bc + (at + d)²V_c)·t ≥ c·d²
    a = fit.c**2 - t2 * v[1, 1]
    b = -2 * t2 * (v[0, 1] + at * v[1, 1])
    c = -t2 * (v[0, 0] + 2 * at * v[0, 1] + at**2 * v[1, 1])
    if a <= 0:
        return Interval(None, None, confidence)
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return Interval(vertex + (-b - root) / (2 * a), vertex + (-b + root) / (2 * a), confidence)
