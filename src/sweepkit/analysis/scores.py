"""Scores beside the metric (accuracies such as CORE; higher is better): not worse by more than a margin?

Scores of single runs scatter far more than losses do (SD 0.006 of CORE against 0.0002 bpb), so they cannot
choose a winner. They can catch a variant whose lower loss comes at the price of what the score measures: a
one-sided test of non-inferiority, with the noise of the score itself. Shown worse than the margin counts
against a variant; shown not worse, or neither, is reported and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sweepkit.analysis import calibration, effects
from sweepkit.analysis.axes import Status
from sweepkit.analysis.effects import Effect
from sweepkit.printable import degrees
from sweepkit.results.record import RunState


@dataclass(frozen=True)
class Score:
    """One variant's score beside the reference's.

    Attributes:
        name: column.
        status: met (shown not worse than the margin), failed (shown worse) or unresolved.
        n: runs compared.
        difference: variant minus reference, in the score's unit; higher is better. None without a run.
        low, high: interval at ``confidence``.
        margin: how much lower still counts as not worse.
        p: one-sided, of "it is lower by the margin or more".
        noise_sd: of one run's score.
        sentence: all of that in words.
    """

    name: str
    status: Status
    n: int
    difference: float | None
    low: float | None
    high: float | None
    confidence: float
    margin: float
    p: float | None
    noise_sd: float | None
    sentence: str


def scores(rows: pd.DataFrame, name: str, margin: float, alpha: float) -> dict[str, Score]:
    """Variant → its score.

    Args:
        rows: one rung's runs, the reference's among them; only complete ones count.
        name: column of the score; one that no run recorded decides nothing and is said.
        margin: in the score's unit.
        alpha: one-sided level of either statement, for each variant alone: neither can adopt anything.
    """
    recorded = rows[name] if name in rows else pd.Series(pd.NA, rows.index)
    complete = rows["state"] == RunState.complete
    losses = -pd.to_numeric(recorded).astype("Float64").where(complete)
    found = effects.effects(rows.assign(**{name: losses}), name, alpha)
    return {item.variant: _score(item, name, margin, alpha) for item in found}


def _score(loss: Effect, name: str, margin: float, alpha: float) -> Score:
    """From the effect on the negated score."""
    status, words = Status.unresolved, "was not recorded by enough runs: not checked"
    p = loss.p_below(margin)
    if loss.effect is not None and loss.low is not None and loss.high is not None and p is not None:
        interval = f"{-loss.high:+.4f} to {-loss.low:+.4f}".replace("-", "−")
        measured = f"{-loss.effect:+.4f} ({loss.confidence:.0%} interval {interval}, n={loss.n})".replace(
            "-", "−"
        )
        p_worse = loss.p_above(margin)
        assert p_worse is not None
        if loss.method == effects.POOLED and loss.df < calibration.MIN_DF:
            words = f"{measured}: its noise is not measured ({degrees(loss.df)})"
        elif p_worse <= alpha:
            status, words = Status.failed, f"{measured}: lower by more than the margin {margin:g}"
        elif p <= alpha:
            status, words = Status.met, f"{measured}: not lower by more than the margin {margin:g}"
        else:
            words = f"{measured}: not shown to be within the margin {margin:g}, nor beyond it"
    return Score(
        name=name,
        status=status,
        n=loss.n,
        difference=_negated(loss.effect),
        low=_negated(loss.high),
        high=_negated(loss.low),
        confidence=loss.confidence,
        margin=margin,
        p=p,
        noise_sd=loss.noise_sd,
        sentence=f"{name} {words}",
    )


def _negated(value: float | None) -> float | None:
    return None if value is None else -value
