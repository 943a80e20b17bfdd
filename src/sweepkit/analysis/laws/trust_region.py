"""Which runs of a group a parabola is fitted to: levels near the best one, up to what diverged or towers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sweepkit import errors
from sweepkit.analysis.laws.intervals import Floats

#: Levels on either side of the best one that are fitted, and how far beyond them in the logarithm.
REACH, REACH_LOG = 2, math.log(4.0) + 1e-9
#: How far above the best level one may lie, over what the middle one of those near it does: four times in a
#: parabola seen from its minimum; more is another slope, or a cliff.
TOWERS = 10.0
#: Levels closer than this share of the grid are one: a value and its float32, say.
_SAME = 1e-4


@dataclass(frozen=True)
class Axis:
    """How a value is measured along the axis: its coordinate, and back."""

    forward: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]
    contract: str
    is_valid: Callable[[Floats], Floats]

    def out(self, z: float | None) -> float | None:
        """A coordinate as a value; what rounding added to a level is taken off, and no number none."""
        if z is None:
            return None
        with np.errstate(over="ignore"):
            value = float(self.back(np.asarray(z)))
        return float(f"{value:.11g}") if math.isfinite(value) else None


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
        mean_L: mean over a level's runs; what seeds do is taken out where they are not at all levels alike.
        usual: how deep valleys of these groups are; ``depth_of`` in the middle one of them.
        region: first and last level that is fitted; levels between them where a run diverged are left out.
        is_unshared: seeds were named, and none is at two levels.
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
    is_unshared: bool = False

    @property
    def rows_N(self) -> Floats:
        first, last = self.z_L[self.region[0]], self.z_L[self.region[1]]
        stands_N = np.isfinite(self.mean_L)[np.searchsorted(self.z_L, self.z_N)]
        found: Floats = (self.z_N >= first) & (self.z_N <= last) & stands_N
        return found

    @property
    def holes_L(self) -> npt.NDArray[np.intp]:
        """Levels inside of the region at which a run diverged."""
        first, last = self.region
        return first + np.flatnonzero(~np.isfinite(self.mean_L[first : last + 1]))


def group_of(
    name: str, z_N: Floats, y_N: Floats, names: list[str], blocks: list[str], is_blocked: bool, reach: float
) -> Group:
    mine = np.array([item == name for item in names])
    z, y = z_N[mine], np.where(np.isfinite(y_N[mine]), y_N[mine], np.inf)
    block = [blocks[row] for row in np.flatnonzero(mine)] if is_blocked else ["-"] * int(mine.sum())
    z_L, place_N = _levels_of(z)
    is_unshared = len(block) > 1 and len(set(block)) == len(block)
    block = ["-"] * len(block) if is_unshared else block
    if len(z_L) < 3:
        remedy = "run more levels, or leave the group out with --where"
        raise errors.invalid(f"levels of {name}", len(z_L), "be three or more for a parabola", remedy)
    count_L = np.bincount(place_N).astype(float)
    mean_L = _means(place_N, y, block, count_L)
    if not np.isfinite(mean_L).any():
        raise errors.invalid(
            f"runs of {name}", "diverged", "not all have diverged", "leave the group out with --where"
        )
    whole = (0, len(z_L) - 1)
    return Group(name, z_L[place_N], y, block, z_L, mean_L, count_L, reach, math.inf, whole, is_unshared)


def _levels_of(z_N: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Levels in their order, and which one each run is at."""
    exact_K, place_N = np.unique(np.round(z_N, 12), return_inverse=True)
    level_K: npt.NDArray[np.intp] = np.cumsum(np.diff(exact_K, prepend=exact_K[0]) > _SAME * np.ptp(exact_K))
    first_L = np.unique(level_K, return_index=True)[1]
    return exact_K[first_L], level_K[place_N]


def _means(place_N: npt.NDArray[np.intp], y_N: Floats, block_N: Sequence[str], count_L: Floats) -> Floats:
    """Mean of every level; where blocks are not at all levels alike, of levels and blocks that add up."""
    mean_L: Floats = np.bincount(place_N, weights=y_N) / count_L
    stands_N = np.isfinite(mean_L)[place_N]
    names, where_N = np.unique(np.asarray(block_N)[stands_N], return_inverse=True)
    levels, at_N = np.unique(place_N[stands_N], return_inverse=True)
    num_LB = np.zeros((len(levels), len(names)))
    np.add.at(num_LB, (at_N, where_N), 1.0)
    if num_LB.size == 0 or np.ptp(num_LB) == 0.0:  # balanced: the raw means, to the last bit
        return mean_L
    x_NP = np.concatenate([np.eye(len(levels))[at_N], np.eye(len(names))[where_N]], axis=1)
    beta_P, _, rank, _ = np.linalg.lstsq(x_NP, y_N[stands_N], rcond=None)
    if rank == x_NP.shape[1] - 1:  # every level can be compared with every other one
        share_B = num_LB.sum(axis=0) / num_LB.sum()
        mean_L[levels] = beta_P[: len(levels)] + share_B @ beta_P[len(levels) :]
    return mean_L


def placed(groups: Sequence[Group]) -> list[Group]:
    """The groups with the regions about their best levels."""
    centres = [int(np.argmin(group.mean_L)) for group in groups]
    depths = [
        depth_of(group.mean_L[_near(group, centre)]) for group, centre in zip(groups, centres, strict=True)
    ]
    usual = float(np.median([depth for depth in depths if depth > 0] or [0.0]))  # a tie is no valley
    known = [replace(group, usual=usual) for group in groups]
    return [
        replace(group, region=region_about(group, centre))
        for group, centre in zip(known, centres, strict=True)
    ]


def _near(group: Group, centre: int) -> npt.NDArray[np.bool_]:
    """Two levels on either side of one of them, and what lies within its reach."""
    steps_L = np.abs(np.arange(len(group.z_L)) - centre)
    found: npt.NDArray[np.bool_] = (steps_L <= REACH) | (np.abs(group.z_L - group.z_L[centre]) <= group.reach)
    return found


def region_about(group: Group, centre: int) -> tuple[int, int]:
    """Levels around one of them, not past what diverged or towers over the rest; three where there are.

    A level that diverged between levels that stand is passed over: the optimum may lie there.
    A valley that is ten times as deep as those of the other groups starts with a cliff: theirs counts then.
    """
    mean_L, near_L = group.mean_L, _near(group, centre)
    depth = depth_of(mean_L[near_L])
    depth = depth if depth <= TOWERS * group.usual else group.usual
    stands_L = mean_L - np.min(mean_L) <= TOWERS * depth

    def after(place: int, side: int) -> int | None:
        """The next level that stands, over what diverged before it."""
        place += side
        while 0 <= place < len(mean_L) and not math.isfinite(mean_L[place]):
            place += side
        return place if 0 <= place < len(mean_L) and stands_L[place] else None

    first = last = centre
    while (found := after(first, -1)) is not None and near_L[found]:
        first = found
    while (found := after(last, 1)) is not None and near_L[found]:
        last = found
    while last - first < 2 and (found := after(last, 1)) is not None:
        last = found
    while last - first < 2 and (found := after(first, -1)) is not None:
        first = found
    return first, last


def depth_of(near_K: Floats) -> float:
    """How far the middle one of some levels lies above the best of them, in the metric's unit.

    What is high is measured by it, so that neither the metric's zero nor its unit matters. Of four beside
    the best one it is the third: a tie does not make it nothing, nor a cliff on one side everything.
    """
    stands_K = np.sort(near_K[np.isfinite(near_K)])
    above_K = stands_K[1:] - stands_K[:1]
    return float(above_K[len(above_K) // 2]) if len(above_K) else 0.0


Part = tuple[Floats, Floats, float, int, tuple[float, Floats]]


def within(group: Group, degree: int = 2) -> Part:
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
