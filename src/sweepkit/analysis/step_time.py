"""How much longer a step of a variant takes than one of the reference, with hosts and moments in the error.

Seeds are no replicates of a clock: two nodes of one kind differ, and a machine is faster at one moment than
at another. Log step times of a variant and of the reference are therefore taken as

    variant + host + variant on that host + drift of that host + noise

The reference's other horizons run its program too and serve as further readings of it. Hosts are normal;
drift is a random walk in time, so that runs next to each other share nearly all of it and runs far apart do
not. Where both share a host, its level cancels; where they do not, what hosts differ by stays in the error.
Where the table has no times, nothing in it tells drift from the variant: runs of one seed are taken as one
moment, and the interval allows for a drift of ``UNTIMED_SD`` besides.

The sizes of the three (in units of the noise) are not known and a handful of runs does not tell: taking the
likeliest would be too sure of itself. So the model is solved for every combination in ``HOST``, ``ON_HOST``
and ``DRIFT``, each a generalised least squares fit with Student's t for the ratio, and the answers are
averaged by how likely they make the runs (marginal likelihood, flat over the grid; Box and Tiao 1973).

Shapes: n runs, G combinations of the grid, P = 2 coefficients.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from sweepkit.analysis.effects import Effect, block_names
from sweepkit.printable import counted
from sweepkit.results.columns import REFERENCE, is_horizon

Array = NDArray[np.float64]

#: Variance over that of the noise: between hosts; of a ratio between hosts; of drift, per length of a run.
HOST = (0.1, 1.0, 10.0, 100.0, 1000.0)
ON_HOST = (0.0, 1.0, 10.0)
DRIFT = (0.0, 0.1, 1.0, 10.0, 100.0)
#: What must be equal for clocks to be compared.
SETUP = ("hardware", "concurrency", "num_threads", "num_ranks", "torch")
#: The columns that are read. A runs table has a hundred more, and every selection of rows would copy them.
READ = (
    "variant",
    "seed",
    "pair_key",
    "median_step_time_s",
    "host",
    "started_at",
    "ended_at",
    "compile_key",
    *SETUP,
)
CLOCK = "clock"
#: Standard deviation of a log ratio by drift that no times show. It holds 90% intervals up to a host that
#: slows by 5% meanwhile (docs/comparisons.md); whom it hits depends on an order that no table tells.
UNTIMED_SD = 0.03
_MOST_RUNS = 32
_ROUNDING = 1e-9  # residuals of logarithms below this are none


@dataclass(frozen=True)
class StepTime:
    """One variant's step time over the reference's.

    Attributes:
        effect: of the logarithm; without interval where the spread is not known.
        note: on how many hosts that was seen, and what was left out or is missing, in words.
        is_refused: the two never ran on the same hardware with the same concurrency.
    """

    effect: Effect
    note: str = ""
    is_refused: bool = False


def compare(rows: pd.DataFrame, variant: str, alpha: float, reference: str = REFERENCE) -> StepTime:
    """The step time of ``variant`` against the reference's.

    Args:
        rows: complete runs of one rung: variant, seed, median_step_time_s (seconds) and, where known, host,
            started_at, ended_at, compile_key and the columns of ``SETUP``.
        alpha: one-sided level; the interval has confidence ``1 - 2 alpha``.
    """
    confidence = 1.0 - 2.0 * alpha
    rows = rows[rows.columns.intersection(list(READ), sort=False)]
    rows, notes, refused = _of_one_setup(_timed(rows, variant, reference))
    rows = _thinned(rows, notes)
    is_variant = rows["is_variant"].to_numpy(dtype=bool)
    if refused or not is_variant.any() or is_variant.all():
        return StepTime(Effect.unknown(variant, confidence), "; ".join(notes), refused)
    hosts, y = rows["host"].to_numpy(), rows["log_time"].to_numpy(dtype=float)
    shared = set(hosts[is_variant]) & set(hosts[~is_variant])
    notes.insert(0, _where(hosts, shared))
    n = int(is_variant.sum())
    plain = float(y[is_variant].mean() - y[~is_variant].mean())
    alone = Effect(variant, n, plain, None, 0.0, None, None, confidence, None, None, CLOCK)
    if not shared and len(set(hosts)) < 3:
        why = "what hosts differ by is not known: run both on one host, or each on two"
        return StepTime(alone, "; ".join([*notes, why]))
    mixture = _Mixture.of(y, is_variant, _covariances(rows, is_variant, len(shared)))
    if mixture is None:
        return StepTime(alone, "; ".join(notes))
    found = mixture.effect(variant, n, alpha)
    if rows["moment"].isna().any():
        found = _widened(found, alpha)
        notes.append(
            "without started_at and ended_at drift cannot be told from the variant: "
            f"±{UNTIMED_SD:.0%} (SD) is allowed for it; give the times, or judge without this axis"
        )
    return StepTime(found, "; ".join(notes))


def _thinned(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """At most ``_MOST_RUNS`` of either, evenly spaced: more tell little, and take their cube in time."""
    places = [np.flatnonzero(rows["is_variant"] == mine) for mine in (True, False)]
    if max(map(len, places)) <= _MOST_RUNS:
        return rows
    notes.append(f"of many runs {_MOST_RUNS} are read, evenly spaced")
    kept = [
        found[np.linspace(0, len(found) - 1, min(len(found), _MOST_RUNS)).round().astype(int)]
        for found in places
    ]
    return rows.iloc[np.sort(np.concatenate(kept))]


def _widened(effect: Effect, alpha: float) -> Effect:
    """The effect with the allowance for drift in its error, which is known and has no degrees of freedom."""
    if effect.effect is None or effect.standard_error is None:
        return effect
    error = math.hypot(effect.standard_error, UNTIMED_SD)
    df = effect.df * (error / effect.standard_error) ** 4
    half = float(special.stdtrit(df, 1.0 - alpha)) * error
    p = float(special.stdtr(df, effect.effect / error))
    low, high = effect.effect - half, effect.effect + half
    return replace(effect, standard_error=error, df=df, low=low, high=high, p=p)


def _timed(rows: pd.DataFrame, variant: str, reference: str) -> pd.DataFrame:
    """Runs of the two that were timed, with is_variant, log_time, host, block and moment."""
    seconds = rows["median_step_time_s"].to_numpy(dtype=float, na_value=np.nan)
    names = [str(name) for name in rows["variant"]]
    programs = list(rows["compile_key"]) if "compile_key" in rows else [pd.NA] * len(rows)
    # the reference's compiled program: its steps do the same work at another horizon
    own = {program for name, program in zip(names, programs, strict=True) if name == reference}
    wanted = [
        name in (variant, reference)
        or (is_horizon(name, reference) and not pd.isna(program) and program in own)
        for name, program in zip(names, programs, strict=True)
    ]
    rows = rows[np.asarray(wanted, dtype=bool) & (seconds > 0)]
    host = rows["host"] if "host" in rows else pd.Series(pd.NA, rows.index)
    return rows.assign(
        is_variant=rows["variant"].astype(str) == variant,
        log_time=np.log(rows["median_step_time_s"].to_numpy(dtype=float)),
        block=block_names(rows),
        host=host.astype("string").fillna("one unknown host"),
        moment=_moments(rows),
    )


def _moments(rows: pd.DataFrame) -> pd.Series:
    """The middle of every run, in lengths of a run since the first; missing for all where one is missing."""
    unknown = pd.Series(np.nan, rows.index)
    if "started_at" not in rows or "ended_at" not in rows:
        return unknown
    start, end = (
        pd.Series(pd.to_datetime(rows[name], utc=True, errors="coerce", format="ISO8601"), rows.index)
        for name in ("started_at", "ended_at")
    )
    length_s = float((end - start).dt.total_seconds().median()) if len(rows) else math.nan
    if not length_s > 0.0 or start.isna().any() or end.isna().any():
        return unknown
    return ((start + (end - start) / 2) - start.min()).dt.total_seconds() / length_s


def _of_one_setup(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str], bool]:
    """The runs of the setup in which both have most; what was left out; whether there is no such setup."""
    names = [name for name in SETUP if name in rows and rows[name].nunique(dropna=False) > 1]
    if not names:
        return rows, [], False
    setups = rows[names].astype("string").fillna("unknown").agg(", ".join, axis=1)
    counts = rows.groupby(setups)["is_variant"].agg(["sum", "size"])
    fewer = counts.assign(rest=counts["size"] - counts["sum"])[["sum", "rest"]].min(axis=1)
    what = " and ".join(names)
    if fewer.max() == 0:
        mine, base = ("; ".join(sorted(set(setups[rows["is_variant"] == side]))) for side in (True, False))
        return rows, [f"{what} {mine or 'not timed'} against the reference's {base or 'not timed'}"], True
    best = str(fewer.idxmax())
    kept = rows[setups == best]
    return kept, [f"{counted(len(rows) - len(kept), 'run')} of another {what} than {best} left out"], False


def _where(hosts: NDArray[np.object_], shared: set[str]) -> str:
    number = len(set(hosts))
    if number == 1:
        return "on 1 host"
    return f"on {counted(number, 'host')}, {len(shared) or 'none'} of them shared"


def _covariances(rows: pd.DataFrame, is_variant: NDArray[np.bool_], num_shared: int) -> Array:
    """Of the runs, per variance of the noise, for every combination: float64 [G, n, n]."""
    hosts = rows["host"].to_numpy()
    same_host = np.equal.outer(hosts, hosts)
    both_variant = np.logical_and.outer(is_variant, is_variant)
    moments = rows["moment"].to_numpy(dtype=float)
    if np.isnan(moments).any():
        blocks = rows["block"].to_numpy()
        drift = (same_host & np.equal.outer(blocks, blocks)).astype(float)
    else:
        first = pd.Series(moments).groupby(hosts).transform("min").to_numpy()
        drift = same_host * np.minimum.outer(moments - first, moments - first)
    # one host's level is the mean's; a ratio's spread over hosts shows where several are shared
    host = HOST if len(set(hosts)) > 1 else (0.0,)
    on_host = ON_HOST if num_shared > 1 else (0.0,)
    sizes_G3 = np.asarray(list(itertools.product(host, on_host, DRIFT)))
    parts = np.stack([same_host, same_host & both_variant, drift]).astype(float)
    return np.asarray(np.eye(len(rows)) + np.tensordot(sizes_G3, parts, axes=1))


@dataclass(frozen=True)
class _Mixture:
    """Student's t distributions of the log ratio with one number of degrees of freedom, [G] each."""

    weight_G: Array
    centre_G: Array
    scale_G: Array
    df: int

    @classmethod
    def of(cls, y: Array, is_variant: NDArray[np.bool_], covariance_Gnn: Array) -> _Mixture | None:
        """None where there are no degrees of freedom, or no spread at all."""
        x_nP = np.column_stack([np.ones(len(y)), is_variant])
        df = len(y) - x_nP.shape[1]
        if df < 1:
            return None
        root_Gnn = np.linalg.cholesky(covariance_Gnn)
        white_GnP = np.linalg.solve(root_Gnn, np.broadcast_to(x_nP, (len(root_Gnn), *x_nP.shape)))
        white_Gn = np.linalg.solve(root_Gnn, np.broadcast_to(y[:, None], (len(root_Gnn), len(y), 1)))[..., 0]
        gram_GPP = white_GnP.mT @ white_GnP
        inverse_GPP = np.linalg.inv(gram_GPP)
        beta_GP = np.einsum("gpq,gnq,gn->gp", inverse_GPP, white_GnP, white_Gn)
        rest_G = ((white_Gn - np.einsum("gnp,gp->gn", white_GnP, beta_GP)) ** 2).sum(axis=1)
        if rest_G.min() <= len(y) * _ROUNDING**2:
            return None
        log_det_G = 2.0 * np.log(np.diagonal(root_Gnn, axis1=1, axis2=2)).sum(axis=1)
        log_weight_G = -0.5 * (log_det_G + np.log(np.linalg.det(gram_GPP)) + df * np.log(rest_G))
        scale_G = np.sqrt(rest_G / df * inverse_GPP[:, 1, 1])
        return cls(special.softmax(log_weight_G), beta_GP[:, 1], scale_G, df)

    def below(self, x: float) -> float:
        """Probability that the log ratio is below ``x``."""
        return float(self.weight_G @ special.stdtr(self.df, (x - self.centre_G) / self.scale_G))

    def effect(self, variant: str, n: int, alpha: float) -> Effect:
        """As one t statistic around the median, as wide as the mixture at this level."""
        reach = float(np.ptp(self.centre_G) + self.scale_G.max() * special.stdtrit(self.df, 1.0 - alpha / 10))
        centre = float(self.weight_G @ self.centre_G)
        median = optimize.brentq(lambda x: self.below(x) - 0.5, centre - reach, centre + reach)
        half = optimize.brentq(
            lambda x: self.below(median + x) - self.below(median - x) - (1.0 - 2.0 * alpha), 0.0, 2.0 * reach
        )
        error = half / float(special.stdtrit(self.df, 1.0 - alpha))
        p = float(special.stdtr(self.df, median / error))
        ends = median - half, median + half
        return Effect(variant, n, median, error, self.df, *ends, 1.0 - 2.0 * alpha, p, None, CLOCK)
