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
likeliest would be too sure of itself. So the answers of many sizes are averaged (``clock_mixture.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from sweepkit.analysis import clock_mixture
from sweepkit.analysis.clock_mixture import Array, Codes, Mixture
from sweepkit.analysis.effects import Effect, block_names
from sweepkit.printable import counted
from sweepkit.results.columns import REFERENCE, is_horizon

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
#: Standard deviation of a log ratio by drift that no times show. It holds 90% intervals up to a host that
#: slows by 5% meanwhile (docs/comparisons.md); whom it hits depends on an order that no table tells.
UNTIMED_SD = 0.03
_MOST_RUNS = 32


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
    """The step time of ``variant`` against the reference's; arguments as ``compare_each`` has them."""
    return compare_each(rows, [variant], alpha, reference)[variant]


def compare_each(
    rows: pd.DataFrame, variants: Sequence[str], alpha: float, reference: str = REFERENCE
) -> dict[str, StepTime]:
    """The step time of every one of ``variants`` against the reference's.

    Args:
        rows: complete runs of one rung: variant, seed, median_step_time_s (seconds) and, where known, host,
            started_at, ended_at, compile_key and the columns of ``SETUP``.
        alpha: one-sided level; intervals have confidence ``1 - 2 alpha``.
    """
    clocks = _Clocks.of(rows[rows.columns.intersection(list(READ), sort=False)], reference)
    confidence = 1.0 - 2.0 * alpha
    found: dict[str, StepTime] = {}
    alike: dict[tuple[bytes, ...], list[_Pair]] = {}
    for name in variants:
        pair = clocks.pair(name)
        if pair.is_refused or not pair.is_variant_n.any() or pair.is_variant_n.all():
            effect = Effect.unknown(name, confidence)
            found[name] = StepTime(effect, "; ".join(pair.notes), pair.is_refused)
            continue
        notes = [pair.where, *pair.notes]
        found[name] = StepTime(pair.alone(confidence), "; ".join(notes))
        if not pair.num_shared and pair.num_hosts < 3:
            why = "what hosts differ by is not known: run both on one host, or each on two"
            found[name] = replace(found[name], note="; ".join([*notes, why]))
        else:
            alike.setdefault(pair.layout, []).append(pair)
    for pairs in alike.values():
        for pair, solved in zip(pairs, _solved(pairs, alpha), strict=True):
            if solved is None:
                continue
            notes = [pair.where, *pair.notes]
            if not pair.is_timed:
                notes.append(
                    "without started_at and ended_at drift cannot be told from the variant: "
                    f"±{UNTIMED_SD:.0%} (SD) is allowed for it; give the times, or judge without this axis"
                )
            allowed = solved if pair.is_timed else _widened(solved, alpha)
            found[pair.variant] = StepTime(allowed, "; ".join(notes))
    return {name: found[name] for name in variants}


@dataclass(frozen=True)
class _Pair:
    """Timed runs of one variant and of the reference, [n]; the notes say what was left out."""

    variant: str
    is_variant_n: NDArray[np.bool_]
    log_time_n: Array
    host_n: Codes
    block_n: Codes
    moment_n: (
        Array  # middle of the run, in lengths of a run since the first; NaN for all where one is missing
    )
    notes: list[str]
    is_refused: bool

    @property
    def layout(self) -> tuple[bytes, ...]:
        """Equal for variants whose runs have one covariance."""
        when_n = self.moment_n if self.is_timed else self.block_n
        return self.is_variant_n.tobytes(), self.host_n.tobytes(), when_n.tobytes(), bytes([self.is_timed])

    @property
    def is_timed(self) -> bool:
        return not bool(np.isnan(self.moment_n).any())

    @property
    def num_hosts(self) -> int:
        return len(set(self.host_n.tolist()))

    @property
    def num_shared(self) -> int:
        """Hosts that both ran on."""
        return len(set(self.host_n[self.is_variant_n]) & set(self.host_n[~self.is_variant_n]))

    @property
    def where(self) -> str:
        """On which hosts they ran, in words."""
        if self.num_hosts == 1:
            return "on 1 host"
        return f"on {counted(self.num_hosts, 'host')}, {self.num_shared or 'none'} of them shared"

    def alone(self, confidence: float) -> Effect:
        """The difference of the means, without an error."""
        n, is_mine_n, y_n = int(self.is_variant_n.sum()), self.is_variant_n, self.log_time_n
        plain = float(y_n[is_mine_n].mean() - y_n[~is_mine_n].mean())
        method = clock_mixture.CLOCK
        return Effect(self.variant, n, plain, None, 0.0, None, None, confidence, None, None, method)


def _solved(pairs: Sequence[_Pair], alpha: float) -> list[Effect | None]:
    """Of pairs of one layout; None where the noise is not known."""
    one = pairs[0]
    covariance_Gnn = clock_mixture.covariances(
        one.host_n, one.block_n, one.moment_n, one.is_variant_n, one.num_shared
    )
    y_nV = np.stack([pair.log_time_n for pair in pairs], axis=1)
    mixture = Mixture.of(y_nV, one.is_variant_n, covariance_Gnn)
    if mixture is None:
        return [None] * len(pairs)
    return mixture.effects([pair.variant for pair in pairs], int(one.is_variant_n.sum()), alpha)


@dataclass(frozen=True)
class _Clocks:
    """The timed runs of a table, N, as arrays.

    Attributes:
        places: variant → where its runs are.
        readings: where those of the reference are, and of its other horizons that ran its program.
        setup: of the columns of ``SETUP``, the values in words.
        start_N, middle_N, length_N: nanoseconds, and the length in seconds; None where there are no columns.
    """

    places: dict[str, Codes]
    readings: Codes
    log_time_N: Array
    host_N: Codes
    block_N: Codes
    setup: dict[str, NDArray[np.object_]]
    times: tuple[Codes, Codes, Array] | None

    @classmethod
    def of(cls, rows: pd.DataFrame, reference: str) -> _Clocks:
        names = rows["variant"].astype(str).to_numpy(dtype=object)
        programs = list(rows["compile_key"]) if "compile_key" in rows else [pd.NA] * len(rows)
        # the reference's compiled program: its steps do the same work at another horizon
        own = {program for name, program in zip(names, programs, strict=True) if name == reference}
        is_reading = np.asarray(
            [
                name == reference or (is_horizon(name, reference) and not pd.isna(program) and program in own)
                for name, program in zip(names, programs, strict=True)
            ],
            dtype=bool,
        )
        seconds = rows["median_step_time_s"].to_numpy(dtype=float, na_value=np.nan)
        is_there = seconds > 0
        rows, names = rows[is_there], names[is_there]
        host = rows["host"] if "host" in rows else pd.Series(pd.NA, rows.index)
        return cls(
            {str(name): np.asarray(own) for name, own in pd.Series(names).groupby(names).indices.items()},
            np.flatnonzero(is_reading[is_there]),
            np.log(seconds[is_there]),
            pd.factorize(host.astype("string").fillna("one unknown host"))[0],
            pd.factorize(np.asarray(block_names(rows), dtype=object))[0],
            {
                name: rows[name].astype("string").fillna("unknown").to_numpy(dtype=object)
                for name in SETUP
                if name in rows and rows[name].nunique(dropna=False) > 1
            },
            _times(rows),
        )

    def pair(self, variant: str) -> _Pair:
        """The timed runs of the two, of one setup, and not too many."""
        mine = self.places.get(variant, np.zeros(0, dtype=np.int64))
        at = np.union1d(self.readings, mine)
        is_variant_n, moment_n = np.isin(at, mine), self._moments(at)
        kept, notes, is_refused = self._of_one_setup(at, is_variant_n)
        if not is_refused:
            kept = kept[_thinned(is_variant_n[kept], notes)]
        at = at[kept]
        return _Pair(
            variant,
            is_variant_n[kept],
            self.log_time_N[at],
            self.host_N[at],
            self.block_N[at],
            moment_n[kept],
            notes,
            is_refused,
        )

    def _moments(self, at: Codes) -> Array:
        unknown = np.full(len(at), np.nan)
        if self.times is None or not len(at):
            return unknown
        start_n, middle_n, length_n = (every[at] for every in self.times)
        if np.isnan(length_n).any() or not (length_s := float(np.median(length_n))) > 0.0:
            return unknown
        return np.asarray((middle_n - start_n.min()) / 1e9 / length_s)

    def _of_one_setup(self, at: Codes, is_variant_n: NDArray[np.bool_]) -> tuple[Codes, list[str], bool]:
        """Which runs have the setup in which both have most; what was left out; whether there is none."""
        every = np.arange(len(at))
        differing = {name: own[at] for name, own in self.setup.items() if len(set(own[at])) > 1}
        if not differing:
            return every, [], False
        setups = np.asarray([", ".join(parts) for parts in zip(*differing.values(), strict=True)], object)
        sides = [setups[is_variant_n].tolist(), setups[~is_variant_n].tolist()]
        fewer = {setup: min(side.count(setup) for side in sides) for setup in sorted(set(setups))}
        what, best = " and ".join(differing), max(fewer, key=lambda setup: fewer[setup])
        if fewer[best] == 0:
            own, base = ("; ".join(sorted(set(side))) or "not timed" for side in sides)
            return every, [f"{what} {own} against the reference's {base}"], True
        kept = np.flatnonzero(setups == best)
        left_out = counted(len(at) - len(kept), "run")
        return kept, [f"{left_out} of another {what} than {best} left out"], False


def _times(rows: pd.DataFrame) -> tuple[Codes, Codes, Array] | None:
    if "started_at" not in rows or "ended_at" not in rows:
        return None
    start, end = (
        pd.Series(pd.to_datetime(rows[name], utc=True, errors="coerce", format="ISO8601"), rows.index)
        for name in ("started_at", "ended_at")
    )
    start_N, middle_N = (
        moment.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]").astype(np.int64)
        for moment in (start, start + (end - start) / 2)
    )
    length_N = np.asarray((end - start).dt.total_seconds(), dtype=np.float64)
    return start_N, middle_N, length_N


def _thinned(is_variant_n: NDArray[np.bool_], notes: list[str]) -> Codes:
    """At most ``_MOST_RUNS`` of either, evenly spaced: more tell little, and take their cube in time."""
    places = [np.flatnonzero(is_variant_n == mine) for mine in (True, False)]
    if max(map(len, places)) <= _MOST_RUNS:
        return np.arange(len(is_variant_n))
    notes.append(f"of many runs {_MOST_RUNS} are read, evenly spaced")
    kept = [
        found[np.linspace(0, len(found) - 1, min(len(found), _MOST_RUNS)).round().astype(int)]
        for found in places
    ]
    return np.sort(np.concatenate(kept))


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
