"""How a ladder ended: the final outcome of every variant, the transfer story, and the files that tell it.

``effects.csv`` holds only what another undisturbed run of the same plan would give again (losses, FLOPs,
outcomes); ``costs.csv`` holds what was measured with a clock. ``runs.csv`` is the runs table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sweepkit import fsio
from sweepkit.analysis import replicates, transfer
from sweepkit.analysis.transfer import TransferRow
from sweepkit.config import typed
from sweepkit.config.schema import RungConfig
from sweepkit.printable import counted
from sweepkit.promotion.verdict_record import Final, FinalVerdict, Outcome, Promotion, RungResult
from sweepkit.results import export
from sweepkit.results.columns import is_reference
from sweepkit.sweep import amendments
from sweepkit.sweep.frozen import Frozen

_FINAL = {  # of verdicts that judge
    Outcome.adopt: Final.adopted,
    Outcome.reject: Final.rejected,
    Outcome.inconclusive: Final.inconclusive,
    Outcome.promote: Final.inconclusive,
}


def conclude(
    frozen: Frozen,
    rungs: Sequence[RungConfig],
    decided: Sequence[RungResult],
    waiting: Mapping[str, str],
    at: str = "",
) -> Promotion:
    """Put together what the rungs decided.

    Args:
        waiting: id → state or failure of runs without an answer.
        at: the rung or amendment that they belong to.
    """
    names = [name for name in dict.fromkeys(cell.variant for cell in frozen.cells) if not is_reference(name)]
    again = next((item.variants for item in frozen.amendments if waiting and item.rung == at), ())
    finals = [_final(name, decided, bool(waiting), name in again) for name in names]
    return Promotion(
        sweep=frozen.name,
        frozen_sha256=frozen.sha256,
        decision=frozen.decision,
        finished=not waiting,
        message=_message(frozen, rungs, decided, waiting, at, finals),
        rungs=list(decided),
        finals=finals,
        transfer=[row for name in names for row in _transfer(name, decided)],
    )


def write(sweep_dir: Path, promotion: Promotion, runs: pd.DataFrame) -> None:
    """Write the tables, then ``promotion.json``, which is there only when all of them are."""
    fsio.write_text(sweep_dir / "runs.csv", export.csv(runs))
    fsio.write_text(sweep_dir / "effects.csv", export.csv(effects_table(promotion)))
    fsio.write_text(sweep_dir / "costs.csv", export.csv(costs_table(promotion)))
    fsio.write_json(sweep_dir / "promotion.json", typed.dump(promotion))


def effects_table(promotion: Promotion) -> pd.DataFrame:
    """One row a variant and rung: effect, interval, p, FLOPs ratio, outcome.

    No clock in it: ``p`` and ``p_corrected`` are of the metric alone; costs.csv has the wall clock. What is
    retained is of ``followed_effect``, on the metric of all rungs, which the last may not be decided by.
    """
    rows = []
    stories = {(row.variant, row.rung): row for row in promotion.transfer}
    for result in promotion.rungs:
        for verdict in result.verdicts:
            evidence, effect = verdict.evidence, verdict.effect
            flops = evidence.axes.get("flops")
            row = stories.get((verdict.variant, result.rung))
            rows.append(
                {
                    "variant": verdict.variant,
                    "rung": result.rung,
                    "depth": result.depth,
                    "metric": evidence.metric,
                    "n": effect.n,
                    **{name: getattr(effect, name) for name in _EFFECT_COLUMNS},
                    "p_corrected": evidence.metric_p_corrected,
                    "flops_ratio": flops and flops.ratio,
                    "followed_effect": row.effect if row else None,
                    "retention": row.retention if row else None,
                    "outcome": verdict.outcome.value,
                    "climbs": verdict.climbs,
                }
            )
    columns = ["variant", "rung", "depth", "metric", "n", *_EFFECT_COLUMNS, "p_corrected", "flops_ratio"]
    return pd.DataFrame(rows, columns=[*columns, "followed_effect", "retention", "outcome", "climbs"])


def costs_table(promotion: Promotion) -> pd.DataFrame:
    """One row a variant and rung: the measured wall-clock ratio and what it was taken for."""
    rows = [
        {"variant": verdict.variant, "rung": result.rung, "depth": result.depth}
        | {name: getattr(axis, name) for name in _COST_COLUMNS}
        for result in promotion.rungs
        for verdict in result.verdicts
        if (axis := verdict.evidence.axes.get("wall_clock")) is not None
    ]
    return pd.DataFrame(rows, columns=["variant", "rung", "depth", *_COST_COLUMNS])


_EFFECT_COLUMNS = (
    "effect", "shrunk", "standard_error", "df", "low", "high", "confidence", "p", "noise_sd", "method",
)  # fmt: skip
_COST_COLUMNS = ("status", "by_construction", "ratio", "low", "high", "p")


def _final(name: str, decided: Sequence[RungResult], pending: bool, is_amended: bool) -> FinalVerdict:
    """The last verdict a variant got; pending while it climbs or is amended, and runs are missing."""
    last = None
    for result in decided:
        judged = (verdict for verdict in result.verdicts if verdict.outcome is not Outcome.unselected)
        if last is None or last.outcome is not Outcome.adopt:  # what was adopted needed no amendment
            last = next((verdict for verdict in judged if verdict.variant == name), last)
    if last is None or (last.climbs and pending) or is_amended:
        return FinalVerdict(name, Final.pending, last.rung if last else "", last.reasons if last else [])
    return FinalVerdict(name, _FINAL[last.outcome], last.rung, last.reasons)


def _transfer(name: str, decided: Sequence[RungResult]) -> list[TransferRow]:
    steps = [
        (result.rung, result.depth, verdict.followed, verdict.climbs and not verdict.unselected)
        for result in decided
        for verdict in result.verdicts
        if verdict.variant == name and not result.amendment
    ]
    return transfer.story(steps)


def _message(
    frozen: Frozen,
    rungs: Sequence[RungConfig],
    decided: Sequence[RungResult],
    waiting: Mapping[str, str],
    at: str,
    finals: Sequence[FinalVerdict],
) -> str:
    if waiting:
        runs = f"{counted(len(waiting), 'run')} without an answer ({replicates.in_words(waiting)})"
        return (
            f"rung {at} waits for {runs}; sweepkit resume {frozen.name} --climb runs them (again) and goes on"
        )
    if len(decided) < len(rungs):
        return (
            f"the ladder stopped after rung {decided[-1].rung}: no variant climbs, so nothing is adopted and "
            f"{counted(len(rungs) - len(decided), 'rung')} never run"
        )
    adopted = [final.variant for final in finals if final.outcome is Final.adopted]
    rule = frozen.rule_on(rungs[-1].name)
    said = f"α = {rule.alpha:g}, {rule.metric}, rung {rungs[-1].name}"
    if number := len(frozen.amendments):
        most = amendments.total(rule.alpha, number)
        said += (
            f"; {counted(number, 'amendment')} on fresh seeds, with which all decisions "
            f"together are wrong at most {most:.3g} of the time"
        )
    above = decided[-1].verdicts if decided else []
    mixed = next(filter(None, (item.evidence.mixed_environments for item in above)), "")
    return f"adopted: {', '.join(adopted) or 'nothing'} ({said})" + (f"; {mixed}" if mixed else "")
