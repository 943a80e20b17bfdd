"""verdicts.json: every rung's decision, whole or absent, with a digest of what it was based on.

Decisions that were damaged or edited by hand are not used but made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio, sealed
from sweepkit.analysis import comparable
from sweepkit.analysis.calibration import Calibration
from sweepkit.config import typed
from sweepkit.config.schema import RungConfig
from sweepkit.errors import DamagedError
from sweepkit.promotion.gate import RULE_VERSION
from sweepkit.promotion.verdict_record import RungResult, Verdict
from sweepkit.sweep.frozen import Frozen

FILE = "verdicts.json"
SCHEMA_VERSION = 1

#: Columns a decision depends on, beside the metric and the fingerprint of what it was measured on.
_INPUTS = (
    "run_id", "variant", "seed", "pair_key", "compile_key", "state", "failure_class", "median_step_time_s",
    "num_steps", "total_flops", "environment_fingerprint", "sources", "accepted_by", "hardware", "dtype",
    "failed_attempts", "failed_hosts", "host",
)  # fmt: skip


def path(frozen: Frozen) -> Path:
    return frozen.sweep_dir / FILE


def write(frozen: Frozen, decided: Sequence[RungResult]) -> None:
    """Replace the stored decisions; ``verdicts`` is the flat list of all of them."""
    content = fsio.finite(
        {
            "schema_version": SCHEMA_VERSION,
            "sweep": frozen.name,
            "frozen_sha256": frozen.sha256,
            "rule_version": RULE_VERSION,
            "decision": typed.dump(frozen.decision),
            "rungs": [
                {
                    "rung": item.rung,
                    "depth": item.depth,
                    "inputs_sha256": item.inputs_sha256,
                    "amendment": item.amendment,
                }
                for item in decided
            ],
            "verdicts": typed.dump([verdict for item in decided for verdict in item.verdicts]),
        }
    )
    fsio.write_json(path(frozen), content)


def read(frozen: Frozen, of_any_rule: bool = False) -> dict[str, RungResult]:
    """Stored decisions by rung; none when the file is missing, damaged, edited or of another plan or rule.

    Args:
        of_any_rule: those of an older version of the rule too.

    Raises:
        SweepkitError: a newer version wrote the file; it is not to be replaced.
    """
    try:
        content = fsio.read_json(path(frozen))
    except (FileNotFoundError, DamagedError):
        return {}
    sealed.check_version(path(frozen), content, SCHEMA_VERSION)
    try:
        if content["frozen_sha256"] != frozen.sha256:
            return {}
        if content["rule_version"] != RULE_VERSION and not of_any_rule:
            return {}
        verdicts = typed.load(list[Verdict], content["verdicts"])
        return {
            item["rung"]: RungResult(
                item["rung"],
                item["depth"],
                [verdict for verdict in verdicts if verdict.rung == item["rung"]],
                item["inputs_sha256"],
                item["amendment"],
            )
            for item in content["rungs"]
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def inputs_sha256(
    frozen: Frozen,
    rung: RungConfig,
    is_last: bool,
    unselected: Sequence[str],
    rows: pd.DataFrame,
    known: Sequence[Calibration] = (),
    limits: Sequence[str] = (),
) -> str:
    """Digest of all a rung's decision depends on: the rule, the rung, its role and what its runs recorded."""
    rule = frozen.rule_on(rung.name)
    metrics = (rule.metric, frozen.decision.metric)
    fingerprints = map(comparable.evaluation_column, metrics)
    wanted = dict.fromkeys([*_INPUTS, *metrics, *rule.scores, "evaluation_fingerprint", *fingerprints])
    names = [name for name in wanted if name in rows]
    runs = [[_plain(value) for value in row] for row in rows[names].itertuples(index=False, name=None)]
    return fsio.digest(
        {
            "rule_version": RULE_VERSION,
            "decision": typed.dump(rule),
            "rung": rung.name,
            "max_promoted": rung.max_promoted,
            "is_last": is_last,
            "unselected": sorted(unselected),
            "calibrations": typed.dump(known),
            "limits": list(limits),
            "columns": names,
            "runs": sorted(runs, key=str),
        }
    )


def _plain(value: Any) -> Any:
    """A cell as JSON: missing is null, numpy numbers become Python's."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
