"""What a sweep's runs say beyond effects, one table a question, shared by the page and ``sweepkit results``.

Everything is worked out from the runs table, the frozen plan and the decided rungs; nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from sweepkit.analysis import (
    calibration,
    calibration_file,
    combinations,
    effects,
    frontier,
    matched,
    paired_items,
    probes,
)
from sweepkit.promotion import story
from sweepkit.promotion.gate import as_losses
from sweepkit.report import gains
from sweepkit.report.content import Content
from sweepkit.report.summary import COMPLETE
from sweepkit.results import core_outcomes
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.results.core_outcomes import TaskOutcome
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep import published_seal

_FRONTIER = [
    "rung", "variant", "axis", "n", "cost_ratio", "effect", "low", "high", "p", "speedup", "speedup_low",
    "speedup_high", "confidence", "note",
]  # fmt: skip
_TERM = [
    "rung",
    "term",
    "effect",
    "low",
    "high",
    "confidence",
    "p",
    "p_holm",
    "together",
    "is_conflict",
    "sentence",
]
_PROBE = ["rung", "metric", "variant", "n", "effect", "low", "high", "confidence", "p", "note"]


def complete(content: Content, rung: str) -> pd.DataFrame:
    """The rung's runs that came to their end."""
    runs = content.runs
    return runs[(runs["rung"] == rung) & (runs["state"] == COMPLETE)]


def at_equal_cost(content: Content) -> pd.DataFrame:
    """Every variant on the reference's frontier: a row a rung, variant and axis, or why a rung has none."""
    rows = []
    measured = calibration_file.read(content.sweep_dir.parent)
    for rung in content.rungs:
        done, rule = complete(content, rung), content.rule_on(rung)
        if rule.metric in done:
            known = calibration.fitting(measured, done[done["variant"] == REFERENCE], rule.metric)
            held = matched.matched(done, rule.metric, rule.alpha, rule.margins.given, known=known)
            rows += [{"rung": rung} | asdict(item) for item in held]
            rows += [] if held else [{"rung": rung, "note": _no_frontier(content, rung, done)}]
    return pd.DataFrame(rows, columns=_FRONTIER)


def _no_frontier(content: Content, rung: str, done: pd.DataFrame) -> str:
    """Why no variant of a rung is held against a frontier."""
    planned = content.runs[content.runs["rung"] == rung]
    if not frontier.has_horizons(planned):
        return "the reference has one horizon: reference_horizons is empty, here and in the ladder"
    if not (done[content.rule_on(rung).metric].dropna() > 0.0).all():
        return f"{content.rule_on(rung).metric} is no loss above 0"
    if not frontier.has_horizons(done):
        known = [name for name in dict.fromkeys(done["variant"]) if is_reference(str(name))]
        return f"of the reference's horizons, two or more must be complete ({', '.join(known) or 'none is'})"
    return "no variant has a complete run"


def combined(content: Content) -> pd.DataFrame:
    """Main effects and interactions: a row a rung and term."""
    rows = []
    for rung in content.rungs:
        done, rule = complete(content, rung), content.rule_on(rung)
        if rule.metric in done:
            found = combinations.terms(done, rule.metric, rule.alpha, sign=rule.sign)
            rows += [{"rung": rung, "term": item.name} | asdict(item) for item in found]
    return pd.DataFrame(rows, columns=_TERM)


def on_probes(content: Content) -> pd.DataFrame:
    """Every evaluation text: a row a rung, text and variant, or one that says why a text is left out."""
    rows: list[dict[str, object]] = []
    for rung in content.rungs:
        done = frontier.without_horizons(complete(content, rung))
        found = probes.compare(done, content.decision.alpha)
        for metric, items in found.effects.items():
            rows += [{"rung": rung, "metric": metric} | asdict(item) for item in items]
        rows += [{"rung": rung, "metric": metric, "note": why} for metric, why in found.refused.items()]
    return pd.DataFrame(rows, columns=_PROBE)


def retained(content: Content) -> pd.DataFrame:
    """How effects travel: a row a pair of neighbouring rungs."""
    rungs = content.promotion.rungs if content.promotion else []
    rows = [asdict(item) for item in story.retentions(rungs, content.decision)]
    for row in rows:
        row["flips"] = ", ".join(row["flips"])
    if not rows:
        rows = [{"sentence": _nothing_retained(content, [item.rung for item in rungs if not item.amendment])}]
    return pd.DataFrame(rows, columns=list(story.Retention.__dataclass_fields__))


def _nothing_retained(content: Content, decided: Sequence[str]) -> str:
    """Why no effect can be followed from one rung to the next."""
    planned = content.frozen.rungs if content.frozen else content.rungs
    if len(planned) < 2:
        return "the sweep has one rung, and effects travel between two: name a ladder, under a new name"
    so_far = f"only {decided[0]} is decided" if decided else "no rung is decided"
    return f"{so_far}, and effects travel between two: sweepkit promote {content.name} climbs"


def cliffs(content: Content) -> pd.DataFrame:
    """Swept values with a catastrophic neighbour: a row a rung and cliff."""
    rows: list[dict[str, object]] = []
    for rung in content.rungs:
        rule, runs = content.rule_on(rung), content.runs[content.runs["rung"] == rung]
        if rule.metric not in runs:
            continue
        done = as_losses(frontier.without_horizons(complete(content, rung)), rule)
        known = calibration.fitting(
            calibration_file.read(content.sweep_dir.parent), done[done["variant"] == REFERENCE], rule.metric
        )
        found = {item.variant: item for item in effects.effects(done, rule.metric, rule.alpha, known=known)}
        diverged = set(runs.loc[runs["state"] == RunState.diverged, "variant"])
        cells = [cell for cell in content.frozen.cells if cell.rung == rung] if content.frozen else []
        rows += [{"rung": rung} | asdict(item) for item in story.find_cliffs(cells, found, diverged, rule)]
    return pd.DataFrame(rows, columns=["rung", *story.Cliff.__dataclass_fields__])


def tasks(content: Content) -> pd.DataFrame:
    """What the runs were asked: a row a rung, variant and task, beside the reference item by item."""
    if (path := content.sweep_dir / published_seal.TASKS).is_file():
        return pd.read_csv(path)
    rows: list[dict[str, object]] = []
    for rung in content.rungs:
        done = frontier.without_horizons(complete(content, rung))
        asked = {
            name: [found for found in map(_tasks_of(content), group.itertuples()) if found]
            for name, group in done.groupby("variant", sort=False)
        }
        for name, runs in asked.items():
            if runs:
                found = paired_items.compare(runs, asked.get(REFERENCE, []), name == REFERENCE)
                rows += [{"rung": rung, "variant": name} | asdict(item) for item in found]
    return pd.DataFrame(rows, columns=["rung", "variant", *paired_items.PairedScore.__dataclass_fields__])


def _tasks_of(content: Content) -> Callable[[Any], dict[str, TaskOutcome]]:
    """Row of a run → what was kept of its items; nothing of a file that is not what its scores are of."""
    results = content.sweep_dir.parent

    def read(row: Any) -> dict[str, TaskOutcome]:
        kept = core_outcomes.read(RunDir.of(results, row.run_id), str(row.evaluation_key))
        if kept is None or "" not in kept.models:
            return {}
        found = kept.models[""].tasks
        mean, score = next(iter(core_outcomes.scores(list(found.values()), kept.is_whole).items()))
        return found if getattr(row, mean, None) == score else {}

    return read


#: What ``sweepkit results NAME --analysis KIND`` shows.
KINDS: dict[str, Callable[[Content], pd.DataFrame]] = {
    "frontier": at_equal_cost,
    "combinations": combined,
    "probes": on_probes,
    "retention": retained,
    "cliffs": cliffs,
    "tasks": tasks,
    "documents": gains.documents,
    "breakdown": gains.breakdown,
}
