"""Groups of runs against a bar, as speedruns judge them: which are shown to be better than a fixed number?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sweepkit.analysis import bar
from sweepkit.analysis.bar import Barred
from sweepkit.analysis.unequal import Variance
from sweepkit.errors import did_you_mean, invalid
from sweepkit.printable import counted, degrees
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.results import variant_said
from sweepkit.results.record import RunState
from sweepkit.sweep.decision import DecisionRule

#: What speedruns ask for: (3.28 − mean)·√n ≥ 0.004 with σ = 0.0013.
ALPHA = 0.001
_FIXED = (
    "after the fact: this holds where bar, noise and number of runs were fixed before these runs were "
    "made, and "
    "none of them was left out"
)


@dataclass(frozen=True)
class Group:
    """One group's verdict, by itself.

    Attributes:
        outcome: promote (shown to be better than the bar), reject (shown to be no better), or inconclusive.
        lost: runs without a value, and why they count against it; "" where there are none.
        found: the numbers, a lower value being better.
    """

    name: str
    outcome: Outcome
    lost: str
    found: Barred | None


@dataclass(frozen=True)
class AgainstTarget:
    """What runs say of a bar.

    Attributes:
        target, decision: the bar, and the rule: metric and α.
        groups: in the order of the table.
        notes: a sentence each.
    """

    target: float
    decision: DecisionRule
    groups: list[Group]
    notes: list[str]

    @property
    def outcome(self) -> Outcome:
        """``promote`` where some group is shown to be better, ``reject`` where none is, else inconclusive."""
        outcomes = {group.outcome for group in self.groups}
        if Outcome.promote in outcomes:
            return Outcome.promote
        return Outcome.reject if outcomes == {Outcome.reject} else Outcome.inconclusive

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome.value,
            "target": self.target,
            "metric": self.decision.metric,
            "alpha": self.decision.alpha,
            "groups": [
                {"group": group.name, "outcome": group.outcome.value, "lost": group.lost}
                | (asdict(group.found) if group.found else {})
                for group in self.groups
            ],
            "notes": self.notes,
        }


def judge(
    runs: pd.DataFrame, target: float, sigma: Variance | None, rule: DecisionRule, only: Sequence[str] = ()
) -> AgainstTarget:
    """Every group of a table, or those that are named, against ``target``.

    Args:
        runs: variant, state, the rule's metric; runs of one variant that took other steps are another group.
        target: in the metric's unit.
        sigma: variance of one run, as others have measured it; None: by the runs themselves.
        only: variants; none: all.

    Raises:
        ConfigError: a column or a group is missing.
    """
    for name in ("variant", rule.metric):
        if name not in runs or runs[name].isna().all():
            known = [str(column) for column in runs if runs[column].notna().any()]
            raise invalid("column", name, "be in the table", did_you_mean(name, known))
    names = list(dict.fromkeys(map(str, runs["variant"].dropna())))
    only = [variant_said.find("--variant", name, names) for name in only]
    rows = runs[runs["variant"].isin(only or names)]
    rows = rows.assign(_group=_groups(rows), state=_states(rows, rule.metric))
    ended = rows[rows["state"] == RunState.complete]
    values = {
        str(name): [rule.sign * float(value) for value in group[rule.metric].dropna()]
        for name, group in ended.groupby("_group", sort=False)
    }
    values = {name: found for name, found in values.items() if found}
    if not values:
        raise invalid("decision.metric", rule.metric, "be measured by some run", "see what the table holds")
    found = {item.group: item for item in bar.against(values, rule.sign * target, sigma)}
    order = dict.fromkeys(map(str, rows["_group"]))
    groups = [_judged(name, rows[rows["_group"] == name], found.get(name), rule) for name in order]
    notes = [_known(sigma, len(values)), _FIXED]
    notes += _noisier(groups, sigma)
    if (num := len(values)) > 1:
        notes.append(
            f"{num} groups, each judged by itself at α = {rule.alpha:g}, as speedruns do: the chance that "
            "any of them "
            f"is wrongly shown is at most {min(1.0, num * rule.alpha):.2g}; with the corrected p (Holm) it "
            f"is {rule.alpha:g}"
        )
    return AgainstTarget(target, rule, groups, notes)


def _states(rows: pd.DataFrame, metric: str) -> pd.Series[Any]:
    """How runs ended: one that never reached what is judged, as a time that is infinite, diverged."""
    never = (rows[metric].abs() == math.inf).fillna(False)
    return rows["state"].mask(never & (rows["state"] == RunState.complete), RunState.diverged.value)


def _groups(rows: pd.DataFrame) -> list[str]:
    """The variant, with its steps where its runs took several numbers of them."""
    if "num_steps" not in rows:
        return [str(name) for name in rows["variant"]]
    several = rows.groupby("variant")["num_steps"].transform("nunique") > 1
    return [
        f"{name} at {int(steps):,} steps" if split and not pd.isna(steps) else str(name)
        for name, steps, split in zip(rows["variant"], rows["num_steps"], several, strict=True)
    ]


def _judged(name: str, rows: pd.DataFrame, found: Barred | None, rule: DecisionRule) -> Group:
    states = rows.loc[rows["state"] != RunState.complete, "state"].value_counts()
    lost = ", ".join(f"{number} {state}" for state, number in states.items())
    outcome = Outcome.inconclusive
    if RunState.diverged.value in states:
        outcome = Outcome.reject
    elif found is not None and found.p is not None and found.p_above is not None and not found.is_noisier:
        if found.p <= rule.alpha and not lost:
            outcome = Outcome.promote
        elif found.p_above <= rule.alpha:
            outcome = Outcome.reject
    return Group(name, outcome, lost, found)


def _known(sigma: Variance | None, num_groups: int) -> str:
    if sigma is None:
        of = "the groups' own runs" if num_groups > 1 else "the runs themselves"
        return f"the noise is that of {of}; --sigma SD takes one that others have measured"
    sd = math.sqrt(sigma.value)
    how = "taken as known" if math.isinf(sigma.df) else f"known with {degrees(sigma.df)}"
    return f"noise of one run {sd:g}, {how}, as --sigma says"


def _noisier(groups: Sequence[Group], sigma: Variance | None) -> list[str]:
    odd = [item.found for item in groups if item.found and item.found.is_noisier]
    if not odd or sigma is None:
        return []
    worst = max(odd, key=lambda item: item.sd or 0.0)
    return [
        f"{', '.join(item.group for item in odd)}: runs scatter more than --sigma {math.sqrt(sigma.value):g} "
        f"allows (SD {worst.sd:.2g} over {counted(worst.n, 'run')}, χ² at 1%), so that it is not their "
        "noise: "
        "leave it out, and their own is used"
    ]
