"""Any table of runs judged by the rule that promotion uses.

``compare`` takes runs that sweepkit did not make (``table.py`` reads them) and hands every depth to the gate:
the deepest that any variant was run at as the last rung, where all axes that were measured must be met, the
others as screens that the deepest overrules. Nothing is decided here, and nothing is adopted by a table: what
a ladder's last rung would adopt is called ``promote``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from sweepkit import errors
from sweepkit.analysis import comparable, transfer
from sweepkit.analysis.transfer import TransferRow
from sweepkit.config import typed
from sweepkit.printable import counted
from sweepkit.promotion import gate, measured_axes, pairing, shared_seeds, table, verdicts_table, wording
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.results.columns import PLANNED, REFERENCE, is_reference
from sweepkit.results.record import RunState
from sweepkit.sweep import last_rung
from sweepkit.sweep import metric as metrics
from sweepkit.sweep.decision import DecisionRule


@dataclass(frozen=True)
class Comparison:
    """What a table of runs says about its variants.

    Attributes:
        reference: its label in the table.
        decision: the rule, with the axes that the table has columns for.
        verdicts: of every variant at every depth, smallest depth first; each promote, reject or inconclusive.
        transfer: every variant's effect at every depth.
        notes: what the table could not tell, one sentence each.
        shown: of runs that others made, variants that would be promoted were it not after the fact.
    """

    reference: str
    decision: DecisionRule
    verdicts: list[Verdict]
    transfer: list[TransferRow]
    notes: list[str]
    shown: list[str] = field(default_factory=list)

    @functools.cached_property
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

    def to_frame(self) -> pd.DataFrame:
        """All verdicts as a table, one row a variant and rung (``verdicts_table.py``)."""
        return verdicts_table.of(self.verdicts)

    def to_json(self) -> dict[str, object]:
        return {
            "outcome": self.outcome.value,
            "reference": self.reference,
            "decision": typed.dump(self.decision),
            "outcomes": {name: self.outcome_of(name).value for name in self.final},
            "verdicts": typed.dump(self.verdicts),
            "notes": self.notes,
            **({"shown_after_the_fact": self.shown} if self.shown else {}),
        }


def compare(
    frame: pd.DataFrame,
    reference: str = REFERENCE,
    decision: DecisionRule | None = None,
    allow_mixed_environments: bool = False,
    seeds: str | None = None,
) -> Comparison:
    """Judge every variant of a table against its reference.

    Args:
        frame: one row a run. Columns variant, seed and the rule's metric (val_bpb); where present depth,
            train_time_s or median_step_time_s (seconds), num_steps, total_flops, hardware, state,
            failure_class and every other column of the runs table. Runs in state planned are left out. A run
            without a metric is missing, unless ``state`` says that it diverged; one with an infinite metric
            diverged. The reference may have several runs of one seed, each from weights that no other run of
            that seed started from. Rows ``REFERENCE@...`` with num_steps are the reference at other horizons.
        reference: the variant that all others are compared with, by its name or by its levels.
        decision: the rule; by default sweepkit's. Axes that the table has no column for are not judged.
        allow_mixed_environments: compare across hardware, versions and threads.
        seeds: ``shared`` where runs of one seed have the data order in common, so that they are paired, or
            ``independent``; None: as the table's column seeds or its pair_key says, else independent.

    Raises:
        ConfigError: a column is missing, a cell cannot be read, a run is there twice, or there is no such
            reference.
        SweepkitError: the runs cannot be compared; the error names what differs.
    """
    rule = decision or DecisionRule()
    reference = table.reference_of(frame, reference)
    rows = table.read(frame, reference, rule, seeds)
    num_planned = int((frame["state"] == PLANNED).sum()) if "state" in frame else 0
    rule, notes = measured_axes.judged(rows, rule, "the table")
    notes += table.lookalikes([str(name) for name in rows["variant"]]) + table.copied(rows, rule.metric)
    notes += (
        [f"{counted(num_planned, 'row')} of runs that were planned and never run left out"]
        if num_planned
        else []
    )
    depths = list(dict.fromkeys(rows.loc[~rows["variant"].map(is_reference), "rung"]))
    alone = [depth for depth in dict.fromkeys(rows["rung"]) if depth not in depths]
    rows = rows[rows["rung"].isin(depths)]
    notes += [f"{', '.join(alone)}: the reference was run alone, so nothing is judged"] if alone else []
    last, said = _last(rows, rule, depths)
    _check_looks(rows[rows["rung"] == depths[-1]], rule)
    verdicts = [
        _of_a_table(verdict)
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
    notes += [*said, *shared_seeds.note(shared_seeds.declared(frame, seeds))]
    notes += pairing.saved([item for item in verdicts if item.rung == depths[-1]], rule)
    notes += [taken] if (taken := comparable.accepted(rows)) else []
    mixed = (verdict.evidence.mixed_environments for verdict in verdicts)
    notes += dict.fromkeys(filter(None, mixed))
    return Comparison(reference, rule, verdicts, _transfer(rows, verdicts), notes)


def _of_a_table(verdict: Verdict) -> Verdict:
    """Nothing is adopted by a table, and no sweep is there to be amended."""
    outcome = Outcome.promote if verdict.outcome is Outcome.adopt else verdict.outcome
    reasons = [reason.replace(wording.MORE_SEEDS, wording.MORE_RUNS) for reason in verdict.reasons]
    return replace(verdict, outcome=outcome, reasons=reasons)


def _check_looks(rows: pd.DataFrame, rule: DecisionRule) -> None:
    """A rule with looks decides at them alone: what lies between or beyond was never planned."""
    count = rows.loc[rows["variant"] == REFERENCE, "seed"].nunique()
    if not rule.looks or count in rule.looks:
        return
    planned = ", ".join(map(str, rule.looks))
    following = next((look for look in rule.looks if look > count), None)
    remedy = f"wait for {following} seeds" if following else f"leave out the seeds beyond {rule.looks[-1]}"
    raise errors.invalid(
        "decision.looks",
        list(rule.looks),
        f"say at how many seeds the table is looked at, and the reference has {count} of them",
        f"{remedy}, or judge it without looks (planned: {planned})",
    )


def _last(rows: pd.DataFrame, rule: DecisionRule, depths: Sequence[str]) -> tuple[DecisionRule, list[str]]:
    """The rule of the deepest runs: on text that no depth below uses, where the table has any."""
    held_back = last_rung.holdout_column(rule.metric) if metrics.is_stream(rule.metric) else ""
    deepest = rows[(rows["rung"] == depths[-1]) & (rows["state"] == RunState.complete)]
    has_any = len(deepest) > 0 and held_back in deepest and bool(deepest[held_back].notna().all())
    metric = rule.last_metric or (held_back if has_any and len(depths) > 1 else rule.metric)
    what = "the text of the depths below" if metric == rule.metric else "text that decides no depth below"
    said = f", {what}" if metrics.is_stream(metric) else ""
    notes = [f"{depths[-1]} is decided by {metric}{said}"] if len(depths) > 1 else []
    return replace(rule, metric=metric, last_metric=metric), notes


def _transfer(rows: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[TransferRow]:
    """The story of every variant over the depths."""
    depths = {
        rung: None if "depth" not in group or group["depth"].isna().all() else int(group["depth"].iloc[0])
        for rung, group in rows.groupby("rung")
    }
    of_variant: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        of_variant.setdefault(verdict.variant, []).append(verdict)
    # who ran the rest of them deeper too has selected nobody
    deepest = max(depths, key=lambda rung: depths[rung] or 0)
    is_selected = {verdict.variant for verdict in verdicts if verdict.rung == deepest} != set(of_variant)
    return [
        row
        for own in of_variant.values()
        for row in transfer.story(
            [(verdict.rung, depths[verdict.rung], verdict.followed, is_selected) for verdict in own]
        )
    ]
