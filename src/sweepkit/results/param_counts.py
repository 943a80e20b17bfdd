"""Ways of counting a run's parameters: params_kaplan, params_chinchilla, params_transformer_only.

A runs table holds the count that its tokens were reckoned by; laws are fitted by each.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweepkit.config.choices import ParameterCount
from sweepkit.plan import sizing
from sweepkit.sweep import frozen

PREFIX = "params_"
_COUNTS = (ParameterCount.kaplan, ParameterCount.chinchilla, ParameterCount.transformer_only)


def joined(frame: pd.DataFrame, results_dir: Path, sweep: str) -> pd.DataFrame:
    """``frame`` with the three columns, as the frozen plan says.

    Raises:
        FrozenPlanError: the frozen plan was edited.
    """
    counted: dict[str, tuple[int, ...]] = {}
    of_run: dict[str, tuple[int, ...]] = {}
    for cell in frozen.load_frozen(results_dir, sweep).cells:
        plan = cell.plan
        if plan.config is None:  # another trainer's, whose sizes nobody knows here
            continue
        if plan.variant_id not in counted:
            sized = sizing.size(plan.config)
            counted[plan.variant_id] = tuple(sized.scaling_params(count) for count in _COUNTS)
        of_run[plan.run_id] = counted[plan.variant_id]
    unknown = (None,) * len(_COUNTS)
    rows = [of_run.get(run_id, unknown) for run_id in frame["run_id"]]
    names = [f"{PREFIX}{count.value}" for count in _COUNTS]
    added = pd.DataFrame(rows, columns=names, index=frame.index).astype("Int64")
    return pd.concat([frame, added], axis="columns")
