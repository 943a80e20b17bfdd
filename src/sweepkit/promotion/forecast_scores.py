"""How forecasts did: each beside what its rung then measured, and the score over all rungs so far.

A forecast hits where its interval holds what was measured; nine in ten should. The log score is the log of
the density that it gave to what came out, so an interval that is too wide costs as one that misses does. It
has a unit, so it is given as the gain over a baseline on the same numbers (0.7 is twice the density). Effects
of one rung share a reference: a rung's forecasts are averaged first, and rungs are what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy import special

from sweepkit.analysis.next_rung import EFFECT, LAW, METHODS, NO_CHANGE, SAME_EFFECT
from sweepkit.promotion.forecast import Forecast, reference_losses
from sweepkit.promotion.verdict_record import RungResult

HIT, MISS, WAITING, UNSCORED = "hit", "miss", "not run yet", "after the fact"
COLUMNS = (
    "sweep", "rung", "kind", "target", "method", "expected", "low", "high", "measured", "n", "outcome",
    "log_score", "written_at",
)  # fmt: skip
SCORES = (
    "kind", "method", "rungs", "forecasts", "coverage", "coverage_low", "coverage_high", "over_no_change",
    "over_no_change_se",    "over_same_effect", "over_same_effect_se",
)  # fmt: skip


def compared(forecasts: Sequence[Forecast], rungs: Sequence[RungResult], frame: pd.DataFrame) -> pd.DataFrame:
    """Every forecast beside what was measured, a row a number and method.

    Args:
        forecasts: of one sweep.
        rungs: that are decided.
        frame: the sweep's runs table.
    """
    rows = []
    results = {result.rung: result for result in rungs}
    for forecast in forecasts:
        result = results.get(forecast.rung)
        effects = {item.variant: item.followed for item in result.verdicts} if result else {}
        losses = reference_losses(frame, forecast.rung, forecast.metric)
        for item in forecast.predictions:
            measured, n = None, 0
            if result and item.kind == EFFECT and item.target in effects:
                measured, n = effects[item.target].effect, effects[item.target].n
            elif result and item.kind != EFFECT and len(losses):
                measured, n = float(losses.mean()), len(losses)
            is_known = measured is not None and n > 0
            low, high = item.interval(n) if is_known else (item.low, item.high)
            outcome, score = WAITING if result is None else "not measured", None
            if is_known and measured is not None:
                outcome = HIT if low <= measured <= high else MISS
                score = item.log_score(measured, n)
            if forecast.after_the_fact:
                outcome, score = UNSCORED, None
            where = (forecast.sweep, forecast.rung, item.kind, item.target, item.method)
            rows.append((*where, item.mean, low, high, measured, n, outcome, score, forecast.written_at))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """Coverage and gain in log score of every method: a row a kind and method, counted by rung.

    Args:
        table: ``compared`` of all sweeps.
    """
    known = table[table["outcome"].isin([HIT, MISS])].astype({"log_score": float})
    rows = []
    for kind in dict.fromkeys(known["kind"]):
        of_kind = known[known["kind"] == kind]
        for method in METHODS:
            mine = of_kind[of_kind["method"] == method]
            if mine.empty:
                continue
            by_rung = [mine["sweep"], mine["rung"]]
            hits = (mine["outcome"] == HIT).groupby(by_rung).mean()
            gains = [
                value
                for baseline in (NO_CHANGE, SAME_EFFECT)
                for value in (
                    (None, None)
                    if method == baseline
                    else _mean(_gains(mine, of_kind[of_kind["method"] == baseline]))
                )
            ]
            rows.append((kind, method, len(hits), len(mine), float(hits.mean()), *_wilson(hits), *gains))
    return pd.DataFrame(rows, columns=list(SCORES))


def said(table: pd.DataFrame, rung: str) -> list[str]:
    """Sentences on a rung that has run: how every method did, and whether the law still holds."""
    here = table[(table["rung"] == rung) & table["outcome"].isin([HIT, MISS])]
    found = []
    effects, losses = (here[(here["kind"] == EFFECT) == is_effect] for is_effect in (True, False))
    if len(effects):
        counts = (effects["outcome"] == HIT).groupby(effects["method"], sort=False).agg(["sum", "count"])
        each = [f"{hits} of {number} by {method}" for method, hits, number in counts.itertuples()]
        found.append(f"effects at {rung} as expected: {', '.join(each)}")
    if len(losses):
        each = [
            f"{row.expected:.5f} ({row.low:.5f} to {row.high:.5f}) by {row.method}: {row.outcome}"
            for row in losses.itertuples()
        ]
        measured = losses["measured"].iloc[0]
        found.append(f"the reference's loss at {rung} is {measured:.5f}, expected {'; '.join(each)}")
    of_law = losses[losses["method"] == LAW]
    if (of_law["outcome"] == MISS).any():
        gap = (of_law["measured"] - of_law["expected"]).iloc[0]
        found.append(
            f"the law of the rungs below {rung} missed by {gap:+.5f}: what it says of the next rung, and of "
            "what larger models would reach, is not to be relied on"
        )
    return found


def _gains(mine: pd.DataFrame, baseline: pd.DataFrame) -> pd.Series[float]:
    """(sweep, rung) → mean gain in log score over the baseline's forecasts of the same numbers."""
    key = ["sweep", "rung", "target"]
    both = mine.merge(baseline[[*key, "log_score"]], on=key, suffixes=("", "_baseline"))
    gain = both["log_score"] - both["log_score_baseline"]
    return gain.groupby([both["sweep"], both["rung"]]).mean()


def _wilson(by_rung: pd.Series[float]) -> tuple[float, float]:
    """95% interval of the share of hits (Wilson, 1927): three misses of three are no 0 ± 0.

    Hits of one rung move together, so that rungs count; what lies between 0 and 1 varies less than they do.
    """
    n, mean, z2 = len(by_rung), float(by_rung.mean()), float(special.ndtri(0.975)) ** 2
    half = (z2 * (mean * (1.0 - mean) / n + z2 / (4.0 * n * n))) ** 0.5
    low, high = ((mean + z2 / (2.0 * n) + side * half) / (1.0 + z2 / n) for side in (-1.0, 1.0))
    return max(low, 0.0), min(high, 1.0)


def _mean(by_rung: pd.Series[float]) -> tuple[float | None, float | None]:
    """Mean over rungs and its standard error; None where there are too few."""
    if by_rung.empty:
        return None, None
    error = float(by_rung.std(ddof=1)) / len(by_rung) ** 0.5 if len(by_rung) > 1 else None
    return float(by_rung.mean()), error
