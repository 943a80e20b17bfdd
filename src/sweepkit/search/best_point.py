"""The best point of a search, so that it can be trained again: every override, and every field, in full.

What tables and labels show of a number is rounded, and a rounded rate is another run. Here numbers are
written so that they read back as they were: whoever pastes the overrides, or names the YAML as an experiment,
asks for the very run that the trial was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from sweepkit.config import typed
from sweepkit.config.schema import RunConfig
from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.search.trial_outcome import TrialState
from sweepkit.sweep import expand, frozen, points, set_fields
from sweepkit.sweep.search_space import Value

_OTHER_BLOCKS = frozenset({"ladder", "seed", "init_seed"})


@dataclass(frozen=True)
class BestPoint:
    """A trial and what trains it.

    Attributes:
        trial: its number.
        params: field → value, in full.
        metric, value: of the decision rule; the mean over its seeds.
        run_ids: its runs, a seed each.
        overrides: of ``sweepkit train``, for the first of them.
        config: of the first of them.
    """

    trial: int
    params: dict[str, Value]
    metric: str
    value: float
    run_ids: list[str]
    overrides: list[str]
    config: RunConfig

    def yaml(self) -> str:
        """Every field that decides what is computed but the seeds, as an experiment's file."""
        config = typed.dump(self.config)
        kept = {
            key: value
            for key, value in config.items()
            if key not in _OTHER_BLOCKS | set_fields.EXECUTION_BLOCKS
        }
        text: str = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        return f"# @package _global_\n# {self.said}\n{text}"

    @property
    def said(self) -> str:
        """What it is, in a line."""
        over = f", mean over {counted(len(self.run_ids), 'seed')}" if len(self.run_ids) > 1 else ""
        return f"trial {self.trial}: {self.metric} {self.value:.6g}{over}; run {self.run_ids[0]}"


def of(results_dir: Path, name: str, number: int | None = None) -> BestPoint:
    """The complete trial with the best value, of two objectives the first.

    Args:
        number: that of another complete trial, one of a front say.

    Raises:
        ConfigError: the sweep does not search, or has no such trial.
    """
    sweep = frozen.load_frozen(results_dir, name)
    if sweep.search is None:
        raise invalid("--best", name, "name a sweep that searches", "sweepkit results NAME --sort val_bpb")
    ledger = TrialLedger(sweep, results_dir)
    values = {
        number: found.value
        for number, found in ledger.outcomes.items()
        if found.state is TrialState.complete and found.value is not None and ledger.trials[number].cells
    }
    if not values:
        raise invalid("--best", name, "have a complete trial", f"run: {ledger.for_more(1)}")
    if number is None:
        number = min(values, key=lambda key: values[key])
    if number not in values:
        remedy = f"sweepkit results {name} --trials lists them"
        raise invalid("--trial", number, "be the number of a complete trial", remedy)
    trial = ledger.trials[number]
    config = trial.cells[0].own.config
    asked = [
        *sweep.stacks[0].below,
        *(points.spell(key, value) for key, value in trial.params.items()),
        *(item for item in expand.above(sweep.overrides) if not set_fields.is_execution(item)),
        f"seed={config.seed}",
        *([] if config.init_seed is None else [f"init_seed={config.init_seed}"]),
    ]
    return BestPoint(
        number,
        trial.params,
        sweep.decision.metric,
        sweep.decision.sign * values[number],
        [cell.plan.run_id for cell in trial.cells],
        _last_of_each(asked),
        config,
    )


def _last_of_each(overrides: Sequence[str]) -> list[str]:
    """What is set twice is set by the later one; Hydra refuses a group that is chosen twice."""
    return list({set_fields.key(item): item for item in overrides}.values())
