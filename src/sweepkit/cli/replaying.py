"""``sweepkit promote NAME --replay``: another rule, or today's, applied to what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweepkit.cli import running
from sweepkit.printable import counted
from sweepkit.promotion import replay, verdict_file
from sweepkit.promotion.replay import Changed
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.sweep import frozen
from sweepkit.sweep.decision import DecisionRule


def run(name: str, overrides: Sequence[str], results_dir: Path, allow_mixed_environments: bool) -> int:
    """Show what the rule says of stored records; runs nothing and writes nothing.

    Args:
        name: a sweep that was frozen.
        overrides: settings of the rule (``decision.alpha=0.01``) in place of the frozen ones.
    """
    sweep = frozen.load_frozen(results_dir, name)
    rule = DecisionRule.amended(overrides, sweep.decision)
    frame = running.load(sweep, results_dir)
    found = replay.replay(
        sweep, rule, frame, verdict_file.read(sweep, of_any_rule=True), allow_mixed_environments
    )
    console = terminal.console()
    console.print(drawing.draw(_sheet(found)))
    differing = sum(item.differs for item in found)
    said = f"{differing} of {counted(len(found), 'decision')} would have been different"
    console.print(said if differing else "nothing would have been decided differently", style="bold")
    return running.DONE


def _sheet(found: Sequence[Changed]) -> Sheet:
    sheet = Sheet(("rung", "variant", "was", "would be", "because"))
    previous = ""
    for item in found:
        sheet.add(
            item.rung,
            Mark(item.variant, "strong" if item.differs else ""),
            item.before,
            Mark(item.after, "inconclusive" if item.differs else ""),
            item.reason if item.differs else "",
            new_group=item.rung != previous,
        )
        previous = item.rung
    return sheet
