"""A ledger of keep and discard decisions, judged as what it is: many comparisons, and no replicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sweepkit.analysis import kept
from sweepkit.analysis.kept import Try
from sweepkit.analysis.unequal import Variance
from sweepkit.errors import invalid
from sweepkit.printable import counted, degrees
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.results.others.mapping import is_kept
from sweepkit.results.record import RunState
from sweepkit.sweep.decision import DecisionRule

_RUNS = (5, 10)


@dataclass(frozen=True)
class Ledger:
    """What a ledger shows.

    Attributes:
        decision: metric and α.
        tries: every row; losses are the metric where lower is better, else its negative.
        noise: variance of one run; None: nobody has measured it, and there is no verdict.
        notes: a sentence each.
    """

    decision: DecisionRule
    tries: list[Try]
    noise: Variance | None
    notes: list[str]

    @property
    def kept(self) -> list[Try]:
        """What was kept, without what the ledger begins with."""
        return [item for item in self.tries if item.is_kept and item.gain is not None]

    @property
    def compared(self) -> list[Try]:
        """All that was held against what was kept before."""
        return [item for item in self.tries if item.gain is not None]

    @property
    def shown(self) -> list[Try]:
        """What was kept, and gained more than the noise of so many tries."""
        alpha = self.decision.alpha
        return [item for item in self.kept if item.p_corrected is not None and item.p_corrected <= alpha]

    @property
    def outcome(self) -> Outcome:
        """``promote`` where some keep is more than noise; a ledger shows nothing against one."""
        return Outcome.promote if self.shown else Outcome.inconclusive

    def to_json(self) -> dict[str, Any]:
        noise = None if self.noise is None else {"sd": math.sqrt(self.noise.value), "df": self.noise.df}
        return {
            "outcome": self.outcome.value,
            "metric": self.decision.metric,
            "alpha": self.decision.alpha,
            "noise": noise,
            "more_than_noise": [item.name for item in self.shown],
            "tries": [asdict(item) | {"gain": item.gain} for item in self.tries],
            "notes": self.notes,
        }


def judge(runs: pd.DataFrame, column: str, noise: Variance | None, rule: DecisionRule) -> Ledger:
    """The ledger that ``runs`` is, row by row.

    Args:
        column: says of every run whether it was kept.
        noise: variance of one run, and its degrees of freedom.

    Raises:
        ConfigError: the metric is no column, or nothing was kept.
    """
    if rule.metric not in runs:
        raise invalid(
            "decision.metric", rule.metric, "be a column of the ledger", "say --metric at the import"
        )
    complete = (runs["state"] == RunState.complete).fillna(False)
    losses = [
        rule.sign * float(value) if done and not pd.isna(value) else None
        for value, done in zip(runs[rule.metric], complete, strict=True)
    ]
    words = [is_kept(str(word)) is True for word in runs[column]]
    found = kept.tries(_names(runs), losses, words)
    if not any(item.is_kept for item in found):
        raise invalid("--ledger", column, "say of some run that it was kept", "name the column that does")
    judged = kept.judged(found, math.sqrt(noise.value), noise.df) if noise else found
    ledger = Ledger(rule, judged, noise, [])
    return Ledger(rule, judged, noise, [*_story(ledger), *(_by_noise(ledger) if noise else _without(ledger))])


def _names(runs: pd.DataFrame) -> list[str]:
    labels = runs["variant"] if "variant" in runs else runs["run_id"]
    return [
        str(run_id) if pd.isna(name) else str(name)
        for name, run_id in zip(labels, runs["run_id"], strict=True)
    ]


def _story(ledger: Ledger) -> list[str]:
    """What was done, whatever the noise is."""
    crashed = sum(item.loss is None for item in ledger.tries)
    total = math.fsum(item.gain or 0.0 for item in ledger.kept)
    worse = [item.name for item in ledger.kept if (item.gain or 0.0) <= 0.0]
    passed = [item.name for item in ledger.compared if not item.is_kept and (item.gain or 0.0) > 0.0]
    said = (
        f"{len(ledger.compared):,} tried, one run each; {len(ledger.kept)} kept, which gained {total:.5g} "
        "in all; "
        f"{counted(crashed, 'run')} without a loss"
    )
    notes = [said]
    notes += [f"kept, and no better than what was kept before: {_first(worse)}"] if worse else []
    notes += [f"better than what was kept before, and not kept: {_first(passed)}"] if passed else []
    return notes


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_luck(ledger: Ledger) -> str:
    """What keeping whatever looks better does where nothing helps."""
    num = len(ledger.compared) + 1
    luck = kept.gained_by_luck(num)
    by = f"{luck:.2g} SDs of a run"
    if ledger.noise:
        by += f", {luck * math.sqrt(ledger.noise.value):.2g} here"
    return (
        f"luck alone keeps {kept.kept_by_luck(num):.1f} of so many tries, and leaves a last loss that lies "
        f"{by} below "
        "what it is worth"
    )


def _by_noise(ledger: Ledger) -> list[str]:
    noise, alpha = ledger.noise, ledger.decision.alpha
    assert noise is not None
    sd = math.sqrt(noise.value)
    needed = kept.smallest_shown(len(ledger.compared), noise.df, alpha) * sd
    known = "taken as known" if math.isinf(noise.df) else degrees(noise.df)
    rest = [item for item in ledger.kept if item not in ledger.shown]
    gained = math.fsum(item.gain or 0.0 for item in rest)
    notes = [
        f"noise of one run {sd:.2g} ({known}); a gain is a difference of two runs, and the best of "
        f"{len(ledger.compared)} tries has to gain {needed:.2g} to be shown at α = {alpha:g} (Holm over "
        "all tries, "
        "kept or not)",
        _by_luck(ledger),
    ]
    if rest:
        notes.append(
            f"the other {len(rest)} kept gained {gained:.2g} together, each less than is shown: run what "
            "is kept now "
            "against what was kept before them, on shared seeds that no try has used, and they are judged "
            "as one"
        )
    notes.append("after the fact: a noise counts that was measured without these tries in sight")
    return notes


def _without(ledger: Ledger) -> list[str]:
    sizes = " and ".join(
        f"{kept.smallest_shown(len(ledger.compared), runs - 1.0, ledger.decision.alpha):.2g} SDs where "
        f"{counted(runs, 'run')} "
        "measured it"
        for runs in _RUNS
    )
    return [
        "no verdict: every try is one run, and nothing here says how far two runs of the same code are apart",
        _by_luck(ledger),
        "what would give one: run what was kept last with five seeds or more, and say --noise SD,DF (the "
        "SD of "
        f"their losses; DF is one less than their number). A keep then has to gain {sizes}",
        "better still: run what was kept against its predecessor, both on the same fresh seeds, and judge "
        "that",
    ]
