"""Any table of runs judged by the rule that promotion uses.

``compare`` takes runs that sweepkit did not make. It names their columns as the runs table does and hands
every depth to the gate: the deepest as the last rung, where all axes that were measured must be met, the
others as screens that the deepest overrules. Nothing is decided here, and nothing is adopted by a table: what
a ladder's last rung would adopt is called ``promote``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import transfer
from sweepkit.analysis.transfer import TransferRow
from sweepkit.promotion import gate
from sweepkit.promotion.verdict import Outcome, Verdict
from sweepkit.results.columns import REFERENCE, is_horizon
from sweepkit.results.record import RunState
from sweepkit.sweep import last_rung
from sweepkit.sweep.decision import DecisionRule

_NEEDED = ("variant", "seed")
_COUNTS = ("num_steps", "total_flops")
_TEXT = ("variant", "state", "failure_class", "hardware", "dtype", "device", "pair_key", "compile_key")


@dataclass(frozen=True)
class Comparison:
    """What a table of runs says about its variants.

    Attributes:
        reference: its label in the table.
        decision: the rule, with the axes that the table has columns for.
        verdicts: of every variant at every depth, smallest depth first; each promote, reject or inconclusive.
        transfer: every variant's effect at every depth.
        notes: what the table could not tell, one sentence each.
    """

    reference: str
    decision: DecisionRule
    verdicts: list[Verdict]
    transfer: list[TransferRow]
    notes: list[str]

    @property
    def final(self) -> dict[str, Verdict]:
        """Every variant's verdict at the largest depth it was run at."""
        return {verdict.variant: verdict for verdict in self.verdicts}

    def outcome_of(self, variant: str) -> Outcome:
        """Its verdict at the deepest depth; a variant that was not run there is promoted by none."""
        verdict = self.final[variant]
        screened = verdict.outcome is Outcome.promote and verdict.rung != self.verdicts[-1].rung
        return Outcome.inconclusive if screened else verdict.outcome

    @property
    def outcome(self) -> Outcome:
        """``promote`` when some variant is; ``reject`` when all are rejected; else ``inconclusive``."""
        outcomes = {self.outcome_of(variant) for variant in self.final}
        if Outcome.promote in outcomes:
            return Outcome.promote
        return Outcome.reject if outcomes == {Outcome.reject} else Outcome.inconclusive

    @property
    def promoted(self) -> list[str]:
        """Labels of the variants that are better than the reference."""
        return [name for name in self.final if self.outcome_of(name) is Outcome.promote]

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome.value,
            "reference": self.reference,
            "decision": self.decision.to_json(),
            "outcomes": {name: self.outcome_of(name).value for name in self.final},
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "notes": self.notes,
        }


def compare(
    frame: pd.DataFrame,
    reference: str = REFERENCE,
    decision: DecisionRule | None = None,
    allow_mixed_environments: bool = False,
) -> Comparison:
    """Judge every variant of a table against its reference.

    Args:
        frame: one row a run. Columns variant, seed and the rule's metric (val_bpb); where present depth,
            train_time_s or median_step_time_s (seconds), num_steps, total_flops, hardware, state,
            failure_class and every other column of the runs table. A run without a metric is missing, unless
            ``state`` says that it diverged. The reference may have several runs of one seed, each from
            weights that no other run of that seed started from. Rows ``REFERENCE@...`` with num_steps are
            the reference at other horizons.
        reference: the variant that all others are compared with.
        decision: the rule; by default sweepkit's. Axes that the table has no column for are not judged.
        allow_mixed_environments: compare across hardware, versions and threads.

    Raises:
        ConfigError: a column is missing, a run is there twice, or there is no such reference.
        SweepkitError: the runs cannot be compared; the error names what differs.
    """
    rule = decision or DecisionRule()
    rows = _runs(frame, reference, rule)
    rule, notes = _measured(rows, rule)
    depths = list(dict.fromkeys(rows["rung"]))
    last, said = _last(rows, rule, depths)
    verdicts = [
        replace(verdict, outcome=Outcome.promote) if verdict.outcome is Outcome.adopt else verdict
        for depth in depths
        for verdict in gate.decide(
            rows,
            last if depth == depths[-1] else rule,
            depth,
            depth == depths[-1],
            allow_mixed_environments,
            usual=rule.metric,
        )
    ]
    notes += said
    return Comparison(reference, rule, verdicts, _transfer(rows, verdicts), notes)


def _last(rows: pd.DataFrame, rule: DecisionRule, depths: Sequence[str]) -> tuple[DecisionRule, list[str]]:
    """The rule of the deepest runs: on text that no depth below uses, where the table has any."""
    held_back = last_rung.holdout_column(rule.metric)
    deepest = rows[(rows["rung"] == depths[-1]) & (rows["state"] == RunState.complete)]
    has_any = len(deepest) > 0 and held_back in deepest and bool(deepest[held_back].notna().all())
    metric = rule.last_metric or (held_back if has_any and len(depths) > 1 else rule.metric)
    same = metric == rule.metric
    what = "the text of the depths below" if same else "text that decides no depth below"
    notes = [f"{depths[-1]} is decided by {metric}, {what}"] if len(depths) > 1 else []
    return replace(rule, metric=metric, last_metric=metric), notes


def _runs(frame: pd.DataFrame, reference: str, rule: DecisionRule) -> pd.DataFrame:
    """The table with the columns of the runs table, smallest depth first, in an order of its own."""
    for name in filter(None, (*_NEEDED, rule.metric, rule.last_metric)):
        if name not in frame:
            raise errors.invalid(
                "column",
                name,
                f"be in the table (it has {', '.join(map(str, frame.columns))})",
                "rename yours, or name the metric in the rule (decision.metric=bpb_probe)",
            )
    rows = frame.copy()
    for name in _TEXT:
        if name in rows:
            rows[name] = rows[name].astype("string")
    names = list(dict.fromkeys(rows["variant"].dropna()))
    if reference not in names or all(name == reference or is_horizon(name, reference) for name in names):
        raise errors.invalid(
            "reference",
            reference,
            f"be one of two variants or more in the table ({', '.join(names)})",
            errors.did_you_mean(reference, names),
        )
    rows["variant"] = [
        REFERENCE + name.removeprefix(reference)
        if name == reference or is_horizon(name, reference)
        else _not_taken(name)
        for name in rows["variant"].astype(str)
    ]
    depth = pd.to_numeric(rows["depth"]).astype("Int64") if "depth" in rows else pd.Series(pd.NA, rows.index)
    rows["rung"] = ["all depths" if pd.isna(value) else f"d{value}" for value in depth]
    rows = rows.assign(_depth=depth).sort_values(["_depth", "variant", "seed"], kind="stable")
    for name in (*_metrics(rule), *rule.scores, "train_time_s", "median_step_time_s", *_COUNTS):
        if name in rows:
            rows[name] = pd.to_numeric(rows[name]).astype("Float64")
    rows = rows.drop(columns="_depth")
    _check_once(rows, rule.metric)
    return _completed(rows, rule)


def _check_once(rows: pd.DataFrame, metric: str) -> None:
    """A variant runs once a seed; the reference may run more often, but no run is there twice."""
    twice = rows[rows.duplicated(["variant", "rung", "seed"]) & (rows["variant"] != REFERENCE)]
    what = "be there once for {} at {}"
    if twice.empty:
        of_reference = rows[rows["variant"] == REFERENCE]
        named = ["run_id"] if "run_id" in rows else ["rung", "seed", metric]
        twice = of_reference[of_reference.duplicated(named) & of_reference[metric].notna()]
        what = "be there once a run for {} at {} (this one is a copy of another)"
    if len(twice):
        row = twice.iloc[0]
        raise errors.invalid(
            "seed", row["seed"], what.format(row["variant"], row["rung"]), "delete one of the rows"
        )


def _metrics(rule: DecisionRule) -> list[str]:
    """Columns that some depth may be decided by."""
    named = (rule.metric, rule.last_metric, last_rung.holdout_column(rule.metric))
    return [name for name in dict.fromkeys(named) if name]


def _not_taken(name: str) -> str:
    if name == REFERENCE:
        raise errors.invalid("variant", name, "be the reference's name alone", f"give --reference {name}")
    return name


def _completed(rows: pd.DataFrame, rule: DecisionRule) -> pd.DataFrame:
    """With run ids, states and step times where the table has none."""
    if "run_id" not in rows:
        number = rows.groupby(["rung", "variant", "seed"], dropna=False).cumcount()
        rows["run_id"] = [
            f"{rung}-{variant}-s{seed}" + (f"-{place + 1}" if place else "")
            for rung, variant, seed, place in zip(
                rows["rung"], rows["variant"], rows["seed"], number, strict=True
            )
        ]
    measured = rows[[name for name in _metrics(rule) if name in rows]].notna().any(axis=1)
    if "state" not in rows:
        rows["state"] = [RunState.complete.value if value else "failed" for value in measured]
    if "failure_class" not in rows:
        rows["failure_class"] = pd.Series(pd.NA, rows.index, dtype="string")
    if "median_step_time_s" not in rows and "train_time_s" in rows:
        # a ratio of times is one of step times where no steps are given
        steps = rows.get("num_steps", 1.0)
        rows["median_step_time_s"] = rows["train_time_s"] / steps
        if "num_steps" not in rows:
            rows["num_steps"] = pd.Series(1.0, rows.index, dtype="Float64")
    return rows


def _measured(rows: pd.DataFrame, rule: DecisionRule) -> tuple[DecisionRule, list[str]]:
    """The rule without cost axes that the table does not have."""
    columns = {"wall_clock": "median_step_time_s", "flops": "total_flops"}
    needed = {"wall_clock": "train_time_s, or median_step_time_s and num_steps", "flops": "total_flops"}
    absent = [axis for axis, name in columns.items() if name not in rows or rows[name].isna().all()]
    if "wall_clock" not in absent and "num_steps" not in rows:
        absent.append("wall_clock")
    axes = {axis: demand for axis, demand in rule.axes.items() if axis not in absent}
    notes = [f"{axis} is not judged: the table has no {needed[axis]}" for axis in rule.axes if axis in absent]
    return replace(rule, axes=axes), notes


def _transfer(rows: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[TransferRow]:
    """The story of every variant over the depths."""
    depths = {
        rung: None if "depth" not in group or group["depth"].isna().all() else int(group["depth"].iloc[0])
        for rung, group in rows.groupby("rung")
    }
    names = dict.fromkeys(verdict.variant for verdict in verdicts)
    return [
        row
        for name in names
        for row in transfer.story(
            [
                (verdict.rung, depths[verdict.rung], verdict.followed)
                for verdict in verdicts
                if verdict.variant == name
            ]
        )
    ]
