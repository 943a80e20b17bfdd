"""Forecasts: before a rung is run, what it is expected to show is written down and sealed.

``results/<sweep>/forecast-K.json`` (K: the rung's place, 2 for the second) is created at once or not at all
before the rung's first run starts, and is never replaced: not when the ladder is resumed, not when a decision
below is made again, not for amended seeds, which come after. Where runs of the rung had begun by then it says
that it is after the fact, and is shown and never scored. Forecasts decide nothing, so one that is damaged or
edited is named and left out, and the ladder goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from sweepkit import fsio, sealed
from sweepkit.analysis import next_rung
from sweepkit.analysis.next_rung import Below, Prediction, Size
from sweepkit.config import typed
from sweepkit.errors import ConfigError, DamagedError
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion import story
from sweepkit.promotion.verdict_record import RungResult
from sweepkit.results.columns import PLANNED, REFERENCE
from sweepkit.results.record import RunState
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen

SCHEMA_VERSION = 1
_FILE = re.compile(r"forecast-([1-9][0-9]*)\.json")


@dataclass(frozen=True)
class Forecast:
    """What was expected of one rung.

    Attributes:
        metric: that of all rungs; what the last rung is decided by may be measured on other text.
        frozen_sha256: of the plan.
        below: rung → digest of the decision that it follows from.
        written_at: ISO 8601 UTC.
        after_the_fact: runs of the rung had begun.
        predictions: by every method that had one.
    """

    sweep: str
    rung: str
    metric: str
    frozen_sha256: str
    below: dict[str, str]
    written_at: str
    after_the_fact: bool
    predictions: tuple[Prediction, ...]
    schema_version: int = SCHEMA_VERSION

    def of(self, kind: str, target: str) -> list[Prediction]:
        """Of one number, every method's."""
        return [item for item in self.predictions if (item.kind, item.target) == (kind, target)]


def write_once(
    frozen: Frozen, decided: Sequence[RungResult], cells: Sequence[Cell], frame: pd.DataFrame
) -> None:
    """Write down what a rung is expected to show, unless that was done before.

    Args:
        decided: the rungs below, from the bottom up.
        cells: all that will be run on the rung.
        frame: the sweep's runs table.
    """
    below = [result for result in decided if not result.amendment]
    if not below or not cells:
        return
    rung = cells[0].rung
    path = frozen.sweep_dir / f"forecast-{_place(frozen, rung)}.json"
    if path.exists():
        return
    here = frame[frame["run_id"].isin([cell.plan.run_id for cell in cells])]
    forecast = Forecast(
        sweep=frozen.name,
        rung=rung,
        metric=frozen.decision.metric,
        frozen_sha256=frozen.sha256,
        below={result.rung: result.inputs_sha256 for result in below},
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        after_the_fact=bool((here["state"] != PLANNED).any()),
        predictions=tuple(_predictions(frozen, below, cells, frame)),
    )
    fsio.create_json(path, fsio.finite(typed.dump(forecast)))


def read(sweep_dir: Path) -> tuple[list[Forecast], list[str]]:
    """A sweep's forecasts from the bottom up, and what is wrong with those that cannot be believed.

    Raises:
        SweepkitError: a newer version wrote one.
    """
    found: list[Forecast] = []
    problems: list[str] = []
    there = [path for path in sweep_dir.glob("forecast-*.json") if _FILE.fullmatch(path.name)]
    for path in sorted(there, key=lambda item: int(_FILE.fullmatch(item.name)[1])):  # type: ignore[index]
        try:
            content = fsio.read_json(path)
            sealed.check_version(path, content, SCHEMA_VERSION)
            found.append(typed.load(Forecast, content))
        except (DamagedError, ConfigError) as error:
            why = error.why if isinstance(error, DamagedError) else error
            problems.append(f"{path} is not what was written ({why}); it is not scored")
    return found, problems


def reference_losses(frame: pd.DataFrame, rung: str, metric: str) -> pd.Series[float]:
    """Seed → mean loss of the reference's complete runs on a rung."""
    if metric not in frame:
        return pd.Series(dtype=float)
    is_here = (
        (frame["rung"] == rung) & (frame["variant"] == REFERENCE) & (frame["state"] == RunState.complete)
    )
    rows = frame[is_here & frame[metric].notna()]
    return rows[metric].astype(float).groupby(rows["seed"]).mean()


def _place(frozen: Frozen, rung: str) -> int:
    return [item.name for item in frozen.rungs].index(rung) + 1


def _predictions(
    frozen: Frozen, below: Sequence[RungResult], cells: Sequence[Cell], frame: pd.DataFrame
) -> list[Prediction]:
    rule = frozen.decision
    sizes = _sizes(frozen.cells)
    known = [_below(result, rule, sizes, frame) for result in below]
    if any(item is None for item in known):
        return []
    reference = [cell for cell in cells if cell.variant == REFERENCE]
    return next_rung.predict(
        [item for item in known if item],
        sizes[cells[0].rung],
        list(dict.fromkeys(cell.variant for cell in cells)),
        len({cell.plan.seed for cell in reference}),
        max(cell.number for cell in reference) + 1,
        story.retentions(below, rule),
        is_loss=not rule.is_higher_better,
    )


def _sizes(cells: Sequence[Cell]) -> dict[str, Size | None]:
    """Rung → the reference's parameters, as horizons count them, and the tokens of one run.

    None where another trainer's command does not say.
    """
    plans = {cell.rung: cell.plan for cell in cells if cell.variant == REFERENCE}
    return {
        rung: (float(plan.scaling_params), float(plan.total_tokens)) if isinstance(plan, RunPlan) else None
        for rung, plan in plans.items()
    }


def _below(
    result: RungResult, rule: DecisionRule, sizes: Mapping[str, Size | None], frame: pd.DataFrame
) -> Below | None:
    losses = reference_losses(frame, result.rung, rule.metric)
    if losses.empty:
        return None
    effects = {verdict.variant: verdict.followed for verdict in result.verdicts}
    return Below(sizes[result.rung], tuple(map(float, losses)), effects)
