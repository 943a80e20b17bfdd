"""Losses of groups of runs as parabolas in a coordinate, with one curvature or one each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sweepkit import errors
from sweepkit.analysis.laws.intervals import Fitted, Floats, Interval, least_squares, t_limit
from sweepkit.analysis.laws.trust_region import Group, Part, region_about, within
from sweepkit.printable import degrees

_TOO_FEW = "too few levels stand for a parabola of its own: the others diverged, or tower over them"
_UNSHARED = "no seed is at two levels: what seeds do is counted as noise"
_LENT = "curvature from the other groups too, and how unlike theirs are: too few runs for its own"
Curvature = Literal["auto", "shared", "separate"]


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


def recentred(group: Group, fit: Parabola) -> Group:
    if fit.vertex is None:
        return group
    centre = int(np.argmin(np.abs(group.z_L - fit.vertex) + np.where(np.isfinite(group.mean_L), 0, np.inf)))
    first, last = region_about(group, centre)
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
        x_NP, y_N, _, num_blocks, _ = within(group, 3)
        try:
            fitted = least_squares(x_NP, y_N, num_blocks)
        except np.linalg.LinAlgError:
            return group
        limit = t_limit(fitted.df, confidence) if fitted.df > 0 else math.inf
        if abs(fitted.beta_P[2]) <= limit * math.sqrt(float(fitted.cov_PP[2, 2])) or fitted.df < 1:
            return group
        group = replace(group, region=(group.region[0] + 1, group.region[1] - 1))
    return group


def fit_all(
    groups: Sequence[Group], curvature: Curvature
) -> tuple[dict[str, Parabola], dict[str, list[str]]]:
    """Every group's parabola. Their own noise where its degrees of freedom are three or more, else pooled."""
    parts = {group.name: within(group) for group in groups}
    notes = {group.name: [_UNSHARED] * group.is_unshared for group in groups}
    thin = {group.name for group in groups if _is_thin(group, parts[group.name])}
    if curvature == "shared" or (curvature == "auto" and len(thin) == len(groups) > 1):
        said = "curvature shared between groups" + (
            ": too few runs for one each" if curvature == "auto" else ""
        )
        stand = [group for group in groups if parts[group.name][0].any()]
        fits = {group.name: _unknown(parts[group.name][2]) for group in groups}
        for group in groups:
            notes[group.name].append(said if group in stand else _TOO_FEW)
        return fits | _fit_shared(stand, parts), notes
    lends = curvature == "auto" and len(groups) > 1
    own: dict[str, Fitted] = {}
    for name, (x_NP, y_N, _, absorbed, _) in parts.items():
        if lends and name in thin:
            continue
        try:
            own[name] = least_squares(x_NP, y_N, absorbed)
        except np.linalg.LinAlgError:
            notes[name].append(_TOO_FEW)
    df = sum(item.df for item in own.values() if item.df > 0)
    total = sum(float(item.residual_N @ item.residual_N) for item in own.values())
    fits = {}
    for name, part in parts.items():
        fitted = own.get(name)
        if fitted is None:
            fits[name] = _unknown(part[2])
            if lends and name in thin and df > 0:
                fits[name] = _lent(part, [*own.values()], math.sqrt(total / df), df)
                notes[name].append(_LENT if math.isfinite(fits[name].c) else _TOO_FEW)
            continue
        sd, here, cov = fitted.sd, fitted.df, fitted.cov_PP
        if here < 3 and df > here and len(groups) > 1:
            sd, here = math.sqrt(total / df), df
            cov = np.linalg.inv(part[0].T @ part[0]) * sd**2
            notes[name].append(f"noise pooled over groups ({degrees(df)})")
        b, c = (float(item) for item in fitted.beta_P)
        fits[name] = _parabola(part, b, c, cov, sd, here)
    return fits, notes


def _is_thin(group: Group, part: Part) -> bool:
    """Whether its runs do not tell a curvature and its noise."""
    _, y_N, _, absorbed, _ = part
    return len(y_N) - absorbed - 2 < 2 or group.region[1] - group.region[0] - len(group.holes_L) < 2


def _lent(part: Part, others: Sequence[Fitted], sd: float, df: int) -> Parabola:
    """The parabola of a group that tells its curvature badly or not at all.

    The curvatures of the others, and by how much they differ beyond their errors (DerSimonian and Laird
    1986), are what is known of it before its own runs are looked at; noise is the others'.
    """
    x_NP, y_N, zero, _, _ = part
    if not x_NP[:, 0].any():
        return _unknown(zero)
    sd = max(sd, 1e-15 * float(np.abs(y_N).max()), 1e-150)  # of losses without noise
    c_G = np.array([float(item.beta_P[1]) for item in others])
    v_G = np.array([max(float(item.cov_PP[1, 1]), 1e-300) for item in others])
    weight_G = 1.0 / v_G
    middle = float(weight_G @ c_G / weight_G.sum())
    excess = float(weight_G @ (c_G - middle) ** 2) - (len(c_G) - 1)
    between = excess / float(weight_G.sum() - weight_G @ weight_G / weight_G.sum()) if len(c_G) > 1 else 0.0
    weight_G = 1.0 / (v_G + max(between, 0.0))
    usual = float(weight_G @ c_G / weight_G.sum())
    variance = 1.0 / float(weight_G.sum()) + max(between, 0.0)
    inverse_22 = x_NP.T @ x_NP / sd**2 + np.diag([0.0, 1.0 / variance])
    cov_22 = np.linalg.inv(inverse_22)
    b, c = (float(item) for item in cov_22 @ (x_NP.T @ y_N / sd**2 + np.array([0.0, usual / variance])))
    return _parabola(part, b, c, cov_22, sd, df)


def _parabola(part: Part, b: float, c: float, cov_22: Floats, sd: float, df: int) -> Parabola:
    _, _, zero, _, (mean_y, mean_P) = part
    return Parabola(zero, mean_y - b * float(mean_P[0]) - c * float(mean_P[1]), b, c, cov_22, sd, df)


def _unknown(zero: float) -> Parabola:
    return Parabola(zero, math.nan, math.nan, math.nan, np.full((2, 2), math.nan), math.nan, 0)


def _fit_shared(groups: Sequence[Group], parts: dict[str, Part]) -> dict[str, Parabola]:
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
        fits[group.name] = _parabola(parts[group.name], b, c, fitted.cov_PP[pick], fitted.sd, fitted.df)
    return fits


def falls_towards(group: Group, fit: Parabola, edge: int, confidence: float) -> int:
    """1 or −1 where losses about the level at an edge are shown to fall with or against z, else 0.

    A t test on the line through the levels that a parabola about that level would be fitted to, with the
    noise about the parabolas; where no run is left to estimate that from, on the line through all levels that
    stand, with the noise about it.
    """
    part = replace(group, region=region_about(group, edge))
    if fit.df <= 0:
        stands = np.flatnonzero(np.isfinite(group.mean_L))
        part = replace(group, region=(int(stands[0]), int(stands[-1])))
    x_N1, y_N, _, num_blocks, _ = within(part, 1)
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
