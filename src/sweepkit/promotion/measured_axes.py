"""Cost axes that nobody measured are not judged, and that is said.

Our own runs measure time and FLOPs. A table of somebody else's may have neither, and a command need not tell
them: then there is nothing to hold a cost axis against.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from sweepkit.sweep.decision import DecisionRule

_COLUMNS = {"wall_clock": "median_step_time_s", "flops": "total_flops"}
_NEEDED = {"wall_clock": "train_time_s, or median_step_time_s and num_steps", "flops": "total_flops"}


def judged(rows: pd.DataFrame, rule: DecisionRule, whose: str) -> tuple[DecisionRule, list[str]]:
    """The rule without the cost axes that no run has, and a sentence on each.

    Args:
        whose: who would have told, in the sentences.
    """

    def is_absent(name: str) -> bool:
        return name not in rows or bool(rows[name].isna().all())

    absent = [axis for axis, name in _COLUMNS.items() if is_absent(name)]
    if "wall_clock" not in absent and is_absent("num_steps"):
        absent.append("wall_clock")
    notes = [
        f"{axis} is not judged: {whose} has no {_NEEDED[axis]}" for axis in rule.axes.judged if axis in absent
    ]
    return replace(rule, axes=rule.axes.without(absent)), notes
