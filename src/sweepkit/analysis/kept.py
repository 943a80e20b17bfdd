"""A ledger of tries of one run each, those kept that looked better: which gains are more than noise?

Every try is one run beside one run of what was the best until then, so that a gain is a difference of two
single runs: its noise is √2 of a run's, which has to be measured elsewhere, for a ledger repeats nothing.
Whoever tries m changes and keeps what looks better has made m comparisons: p values are corrected by Holm
over all tries, whether they were kept or not. What they are held against was itself picked for being lucky,
which makes a gain look smaller, never larger, so that the correction holds.

What luck alone does: of N equal runs the k-th is a new best with chance 1/k, so that keeping what looks
better keeps Σ 1/k of them (k = 2 ... N), and the last one kept is the best of N, which lies E[max of N
normal] SDs above what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from sweepkit.analysis import multiplicity

_NODES = 4001


@dataclass(frozen=True)
class Try:
    """One row of the ledger.

    Attributes:
        place: number of its row, from 0.
        name: what was tried.
        loss: of its run, lower is better; None where it has none.
        best: the loss of what was kept last before it; None for what the ledger begins with.
        is_kept: whether it became the one that later tries are held against.
        p, p_corrected: one-sided, of "it is not better than what was kept last"; None without a noise.
    """

    place: int
    name: str
    loss: float | None
    best: float | None
    is_kept: bool
    p: float | None = None
    p_corrected: float | None = None

    @property
    def gain(self) -> float | None:
        """How much lower its loss is than that of what was kept last."""
        return None if self.loss is None or self.best is None else self.best - self.loss


def tries(names: Sequence[str], losses: Sequence[float | None], is_kept: Sequence[bool]) -> list[Try]:
    """The ledger, row by row; what was kept first is what it begins with."""
    best: float | None = None
    found = []
    for place, (name, loss, kept) in enumerate(zip(names, losses, is_kept, strict=True)):
        found.append(Try(place, name, loss, best, kept))
        if kept and loss is not None:
            best = loss
    return found


def judged(found: Sequence[Try], noise_sd: float, df: float) -> list[Try]:
    """The tries with p values, corrected over all that have a gain.

    Args:
        noise_sd: of one run.
        df: degrees of freedom that it was measured with; may be infinite.
    """
    compared = [item for item in found if item.gain is not None]
    p_values = [float(_tail(-(item.gain or 0.0) / (noise_sd * math.sqrt(2.0)), df)) for item in compared]
    corrected = multiplicity.holm(p_values)
    by_place = {
        item.place: Try(item.place, item.name, item.loss, item.best, item.is_kept, p, q)
        for item, p, q in zip(compared, p_values, corrected, strict=True)
    }
    return [by_place.get(item.place, item) for item in found]


def _tail(t: float, df: float) -> float:
    return float(special.ndtr(t) if math.isinf(df) else special.stdtr(df, t))


def smallest_shown(num_tries: int, df: float, alpha: float) -> float:
    """The gain, in SDs of one run, that the best of ``num_tries`` has to reach to be shown."""
    level = alpha / max(1, num_tries)
    critical = -special.ndtri(level) if math.isinf(df) else -special.stdtrit(df, level)
    return math.sqrt(2.0) * float(critical)


def kept_by_luck(num_runs: int) -> float:
    """How many of so many equal runs look better than all before them, the first apart."""
    return math.fsum(1.0 / k for k in range(2, num_runs + 1))


def gained_by_luck(num_runs: int) -> float:
    """How far, in SDs of one run, the best of so many equal runs lies below their mean (E of a maximum)."""
    x = np.linspace(-9.0, 9.0, _NODES)
    density = num_runs * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi) * special.ndtr(x) ** (num_runs - 1)
    return float(np.trapezoid(x * density, x))
