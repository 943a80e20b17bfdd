"""Verdicts on runs that others made: by the rule for tables, and after the fact.

Nothing was frozen before these runs ended, and whoever writes the rule may have seen them: α is not kept. So
nothing is promoted by them; what would have been is named, for fresh runs to settle. A rejection stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.promotion import compare, hindsight, table
from sweepkit.promotion.compare import Comparison
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.results.imported import Imported
from sweepkit.results.others.mapping import INDEPENDENT, SHARED
from sweepkit.results.record import RunState
from sweepkit.sweep.decision import DecisionRule

WHY = "these runs had ended before the rule was written that judges them"


def judged(
    runs: pd.DataFrame,
    said: Imported,
    overrides: Sequence[str] = (),
    reference: str | None = None,
    allow_mixed_environments: bool = False,
) -> Comparison:
    """Every variant of an import against its reference.

    Args:
        runs: the table of the import.
        overrides: settings of the rule on top of those that were imported with it.
        reference: in place of the one that was imported with it.

    Raises:
        SweepkitError: there is no reference, no rule, or nothing that may be compared.
    """
    reference = reference or said.reference
    if reference is None:
        names = ", ".join(map(str, dict.fromkeys(runs["variant"].dropna())))
        remedy = "say --reference VARIANT, or --target NUMBER for a bar"
        if not names:
            names, remedy = "there are none", "import it again with --variant COLUMN[,COLUMN] --replace"
        raise invalid("--reference", None, f"be a variant of the import ({names})", remedy)
    rule = DecisionRule.amended(said.settings(overrides))
    seeds = said.seeds if said.seeds in (SHARED, None) else INDEPENDENT
    is_open = runs["state"].isin(table.OPEN)
    # as a crashed run is: whatever it would have come to, it may not look as if it had never been tried
    ended = runs.assign(state=runs["state"].mask(is_open, RunState.failed.value))
    found = compare.compare(rows(ended, seeds), reference, rule, allow_mixed_environments, seeds)
    shown = found.promoted
    verdicts = [_after_the_fact(verdict) for verdict in found.verdicts]
    notes = [*found.notes, *_open(runs[is_open]), *said.notes]
    return replace(found, verdicts=verdicts, notes=notes, shown=shown)


def _open(runs: pd.DataFrame) -> list[str]:
    """A sentence on runs that had not ended when they were imported."""
    if runs.empty:
        return []
    each = ", ".join(f"{number} of {name}" for name, number in runs["variant"].value_counts().items())
    return [
        f"{counted(len(runs), 'run')} that had not ended when the table was imported left out, as crashed "
        f"ones are ({each}); import again with --replace when they have"
    ]


def _after_the_fact(verdict: Verdict) -> Verdict:
    """What would be promoted is taken back; of the others it is said last."""
    if verdict.outcome is Outcome.promote:
        return hindsight.taken_back(verdict, WHY)
    return replace(verdict, reasons=[*verdict.reasons, f"{hindsight.AFTER_THE_FACT}: {WHY}"])


def rows(runs: pd.DataFrame, seeds: str | None) -> pd.DataFrame:
    """The columns that hold anything; seeds that pair nothing are numbers of runs, and may come twice."""
    there = runs[[name for name in runs if runs[name].notna().any()]]
    return there.drop(columns=[name for name in ("role", "rung") if name in there]).drop(
        columns=["seed"] if seeds == INDEPENDENT and "seed" in there else []
    )
