"""Noise that was measured beforehand: of pairs of runs that share their seed, and of single runs.

Runs of one seed share luck, which a paired comparison cancels; single runs of the reference can so differ a
hundred times as much as pairs do. ``PAIRS`` is what is left of the reference beside a variant after variant
and seed are taken out, as a verdict measures it, and serves where seeds are shared; ``LEVELS`` is the spread
of single runs, for variants that share no tokens with the reference.

An SD from five seeds is right to a factor of 0.6 to 2.9, so it is never taken as known: it keeps its
degrees of freedom, and a sweep's own residual variance is shrunk towards it in proportion to both. Losses
scatter differently at another depth, dataset, precision, hardware or horizon, so a measurement serves
only its own. Where the sweep's own residual is significantly off, the sweep's own is used alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
from scipy import special

from sweepkit.analysis import comparable, noise
from sweepkit.results.record import RunState

#: Fewer degrees of freedom than this, and a residual does not count as measured.
MIN_DF = 4
#: Seeds that ``calibrate`` runs at least; one more than ``MIN_DF``.
MIN_SEEDS = MIN_DF + 1
#: What must agree for a measurement to serve (columns of the runs table).
KEY = ("depth", "dataset", "dtype", "hardware", "total_tokens")
_MISFIT = 0.02  # two-sided level at which a residual is called off

PAIRS, LEVELS = "pairs", "single runs"
OWN, SHRUNK, CALIBRATED = "residual", "residual and calibration", "calibration"


@dataclass(frozen=True)
class Calibration:
    """One measurement.

    Attributes:
        depth, dataset, dtype, hardware, total_tokens: where it holds.
        metric: column it is the noise of.
        sd: of single runs, in the metric's unit.
        df: runs less one.
        measured_at: ISO 8601 UTC, end of the last run.
        run_ids: the complete runs it is made of.
        sources: digest of the code that it is the noise of; empty where the table does not say.
        of: ``PAIRS`` or ``LEVELS``.
    """

    depth: int
    dataset: str
    dtype: str
    hardware: str
    total_tokens: int
    metric: str
    sd: float
    df: int
    measured_at: str
    run_ids: tuple[str, ...]
    sources: str = ""
    of: str = PAIRS

    def sd_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where the true SD lies, if the noise is normal."""
        tails = ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0)
        low, high = (math.sqrt(self.df / special.chdtri(self.df, tail)) for tail in tails)
        return self.sd * low, self.sd * high


@dataclass(frozen=True)
class Noise:
    """SD of one run's noise, as a verdict uses it: with its degrees of freedom and where it comes from."""

    sd: float
    df: float
    source: str


def measure(rows: pd.DataFrame, metric: str) -> list[Calibration]:
    """The noise of replicates that differ in nothing but their seed.

    Args:
        rows: runs with the columns of ``KEY``, variant_id, state, ended_at and ``metric``. Only complete
            runs count: a diverged one has no loss. Groups that differ in any column of ``KEY``, or in the
            code, are kept apart, and nothing is pooled over datasets.

    Returns:
        One a group with at least two complete runs and any difference between them.
    """
    complete = rows[(rows["state"] == RunState.complete) & rows[metric].notna()]
    complete = complete.assign(sources=_sources(complete))
    found = []
    for key, group in complete.groupby([*KEY, "variant_id", "sources"], sort=True):
        values = group[metric].astype(float)
        if len(group) < 2 or float(values.std()) == 0.0:
            continue
        measured = _of_group(group, key[: len(KEY)], metric, float(values.std(ddof=1)), len(group) - 1)
        found.append(replace(measured, of=LEVELS))
    return found


def measure_pairs(rows: pd.DataFrame, metric: str) -> list[Calibration]:
    """The noise of the reference beside another variant, with seed and variant taken out.

    Args:
        rows: as for ``measure``, of two variants or more that saw the same tokens, with pair_key.

    Returns:
        One a group of equal ``KEY`` in which anything is left over.
    """
    complete = rows[(rows["state"] == RunState.complete) & rows[metric].notna()]
    complete = complete.assign(sources=_sources(complete))
    found = []
    for key, group in complete.groupby([*KEY, "sources"], sort=True):
        if group["variant_id"].nunique() < 2:
            continue
        labels, blocks = ([str(item) for item in group[name]] for name in ("variant_id", "pair_key"))
        fit = noise.fit_two_way(labels, blocks, [float(value) for value in group[metric]])
        if fit.sd is None:
            continue
        found.append(_of_group(group, key[: len(KEY)], metric, fit.sd, fit.df))
    return found


def _of_group(group: pd.DataFrame, key: Sequence[object], metric: str, sd: float, df: int) -> Calibration:
    """What was measured over runs that are alike in ``KEY`` and in their code."""
    depth, dataset, dtype, hardware, total_tokens = (str(part) for part in key)
    return Calibration(
        depth=int(depth),
        dataset=dataset,
        dtype=dtype,
        hardware=hardware,
        total_tokens=int(total_tokens),
        metric=metric,
        sd=sd,
        df=df,
        measured_at=str(pd.to_datetime(group["ended_at"]).max().isoformat()),
        run_ids=tuple(sorted(str(name) for name in group["run_id"])),
        sources=str(group["sources"].iloc[0]),
    )


def fitting(known: Sequence[Calibration], rows: pd.DataFrame, metric: str) -> Calibration | None:
    """The measurement that serves all of ``rows``: of pairs first, then by degrees of freedom and date."""
    if not known or rows.empty or any(name not in rows for name in KEY):
        return None
    code = comparable.shared_sources(rows)
    keys = rows[list(KEY)].drop_duplicates()
    if len(keys) != 1 or keys.isna().any(axis=None):
        return None
    wanted = tuple(keys.iloc[0])
    serving = [
        item
        for item in known
        if item.metric == metric
        and item.sources in code
        and tuple(getattr(item, name) for name in KEY) == wanted
    ]
    return max(serving, key=lambda item: (item.of == PAIRS, item.df, item.measured_at), default=None)


def _sources(rows: pd.DataFrame) -> pd.Series:
    """The code of every run, one for all that were made by it or accepted; empty where a table is silent."""
    made = rows.reindex(columns=["sources"])["sources"].astype("string").fillna("")
    shared = comparable.shared_sources(rows)
    return pd.Series(min(shared - set(made) or shared), index=rows.index) if shared else made


def settle(sd: float | None, df: float, calibration: Calibration | None) -> Noise | None:
    """The noise to judge by: the sweep's own residual, shrunk towards what was measured beforehand.

    The two variances are averaged with their degrees of freedom, which then add up (the posterior of a
    variance under a scaled inverse χ² prior).

    Args:
        sd, df: of the sweep's residual; None and 0 where there is none.
        calibration: a fitting measurement, if there is one.

    Returns:
        None where nothing is known.
    """
    own = Noise(sd, df, OWN) if sd is not None and df > 0 else None
    if calibration is None:
        return own
    if own is None:
        return Noise(calibration.sd, calibration.df, CALIBRATED)
    ratio = (own.sd / calibration.sd) ** 2
    above = float(special.fdtrc(own.df, calibration.df, ratio))
    if min(above, 1.0 - above) < _MISFIT / 2.0:
        return own
    total = own.df + calibration.df
    variance = (own.df * own.sd**2 + calibration.df * calibration.sd**2) / total
    return Noise(math.sqrt(variance), total, SHRUNK)
