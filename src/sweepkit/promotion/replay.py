"""A rule applied to stored records: what it would have decided. Runs nothing and writes nothing.

The ladder itself climbs, in a folder of its own that is thrown away, over the runs that are there. A
variant that the other rule lets climb but that was never run further up is said to be unknown there; one
that it stops is judged no more.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sweepkit.analysis import calibration_file, replicates
from sweepkit.config.schema import RungConfig
from sweepkit.promotion import ladder, verdict_file
from sweepkit.promotion.verdict_record import Promotion, RungResult, Verdict
from sweepkit.results.columns import is_reference
from sweepkit.sweep import published_seal
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen

UNKNOWN, NOT_THERE = "not run", "did not climb"
#: What is decided here anew, and what makes a folder a published one.
_LEFT_OUT = (verdict_file.FILE, published_seal.FILE)


@dataclass(frozen=True)
class Changed:
    """One variant on one rung: what was decided, and what the rule says, or why it says nothing."""

    variant: str
    rung: str
    before: str
    after: str
    reason: str

    @property
    def differs(self) -> bool:
        return self.before != self.after


def replay(
    frozen: Frozen,
    rule: DecisionRule,
    frame: pd.DataFrame,
    stored: dict[str, RungResult],
    allow_mixed_environments: bool = False,
) -> list[Changed]:
    """Every variant on every rung where either was decided.

    Args:
        rule: what to judge by; the plan stays the frozen one.
        frame: the sweep's runs table.
        stored: the decisions that were made, by rung.

    Raises:
        SweepkitError: runs that must be compared have fingerprints that differ.
    """
    ended = set(frame["run_id"]) - replicates.unanswered(frame).keys()
    unfinished = {
        (cell.variant, cell.rung)
        for cell in frozen.cells
        if cell.plan.run_id not in ended and not is_reference(cell.variant)
    }
    there = [cell for cell in frozen.cells if (cell.variant, cell.rung) not in unfinished]
    promotion = climbed(frozen, rule, frame, there, allow_mixed_environments)
    return _differences(frozen, stored, {result.rung: result for result in promotion.rungs}, unfinished)


def climbed(
    frozen: Frozen,
    rule: DecisionRule,
    frame: pd.DataFrame,
    cells: Sequence[Cell] | None = None,
    allow_mixed_environments: bool = False,
) -> Promotion:
    """The promotion that a rule makes of the runs that are there; of these cells, or of all."""
    with tempfile.TemporaryDirectory() as name:
        sweep_dir = Path(name) / frozen.name
        sweep_dir.mkdir()
        for path in (*frozen.sweep_dir.glob("*.json*"), frozen.sweep_dir.parent / calibration_file.NAME):
            if path.is_file() and path.name not in _LEFT_OUT:
                shutil.copy(path, sweep_dir.parent if path.name == calibration_file.NAME else sweep_dir)
        there = frozen.cells if cells is None else list(cells)
        judged = replace(frozen, decision=rule, cells=there, sweep_dir=sweep_dir)
        return ladder.promote(
            judged,
            lambda rung, cells: None,
            lambda: frame,
            allow_mixed_environments=allow_mixed_environments,
        )


def _differences(
    frozen: Frozen,
    stored: dict[str, RungResult],
    made: dict[str, RungResult],
    unfinished: set[tuple[str, str]],
) -> list[Changed]:
    found: list[Changed] = []
    climbing = [
        name for name in dict.fromkeys(cell.variant for cell in frozen.cells) if not is_reference(name)
    ]
    names = list(climbing)
    for rung in [*frozen.rungs, *(RungConfig(name=item.rung) for item in frozen.amendments)]:
        before, after = (
            {verdict.variant: verdict for verdict in results[rung.name].verdicts}
            if rung.name in results
            else {}
            for results in (stored, made)
        )
        absent = {name for name in climbing if (name, rung.name) in unfinished}
        found += [
            _changed(name, rung.name, before.get(name), after.get(name), name in absent)
            for name in names
            if name in before or name in after or name in absent
        ]
        climbing = [name for name, verdict in after.items() if verdict.climbs or verdict.unselected]
    return found


def _changed(name: str, rung: str, before: Verdict | None, after: Verdict | None, is_absent: bool) -> Changed:
    said = _word(after) if after else UNKNOWN if is_absent else NOT_THERE
    reason = after.reasons[0] if after and after.reasons else ""
    return Changed(name, rung, _word(before) if before else NOT_THERE, said, reason)


def _word(verdict: Verdict) -> str:
    return f"{verdict.outcome.value} (climbs)" if verdict.climbs else verdict.outcome.value
