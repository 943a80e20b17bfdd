"""What the report's tables say, apart from how they are drawn.

Each function turns a frame into a ``Sheet`` of formatted cells; ``tables.py`` draws sheets in the
terminal and ``html.py`` on the page, so that both always show the same numbers.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from sweepkit.analysis.axes import Axis, Status
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.matched import COSTS, Matched
from sweepkit.printable import counted
from sweepkit.promotion.selected import Tried
from sweepkit.promotion.verdict_record import Outcome, Promotion, Verdict
from sweepkit.report import numbers
from sweepkit.report.sheet import Cell, Mark, Sheet
from sweepkit.report.summary import summarise
from sweepkit.sweep.decision import NOT_WORSE, SUPERIOR, DecisionRule
from sweepkit.sweep.tested import Change

AXIS_NAMES = {"steps": "steps", "wall_clock": "wall clock", "flops": "FLOPs"}


def plain(frame: pd.DataFrame) -> Sheet:
    """Any frame as it is."""
    sheet = Sheet(
        tuple(
            f">{name}" if pd.api.types.is_numeric_dtype(dtype) else str(name)
            for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
        )
    )
    for row in zip(*(numbers.column(frame[name]) for name in frame.columns), strict=True):
        sheet.add(*row)
    return sheet


def tested(changes: Iterable[Change], most: int | None = None) -> Sheet:
    """What every variant changes, a line a field: the reference's value, then its own.

    Args:
        most: lines to show; the note counts the others.
    """
    changes, previous = list(changes), ""
    fields = Counter(change.variant for change in changes)
    sheet = Sheet(("variant", "field as configured", "reference → variant"))
    for change in changes[:most]:
        where = f" ({change.rungs})" if change.rungs else ""
        sheet.add(
            Mark("" if change.variant == previous else change.variant, "strong"),
            change.field + where,
            f"{change.old} → {change.new}",
            new_group=change.variant != previous and max(fields[change.variant], fields[previous]) > 1,
        )
        previous = change.variant
    if left := changes[len(sheet.rows) :]:
        names = dict.fromkeys(change.variant for change in left)
        sheet.notes.append(f"and {counted(len(left), 'field')} more, of {counted(len(names), 'variant')}")
    return sheet


def tuned(tried: Sequence[Tried], metric: str) -> Sheet:
    """What every variant tried on selection seeds, and took."""
    fields = list(tried[0].point.values)
    sheet = Sheet(("variant", *fields, f">{metric}", "taken"))
    for item in tried:
        is_first = item.point.variant.label == item.point.label
        mean = "no loss" if item.mean is None else f"{item.mean:.5f}"
        mark = Mark("taken", "good") if item.is_taken else ""
        values = [item.point.values[name] for name in fields]
        sheet.add(item.point.variant.label if is_first else "", *values, mean, mark, new_group=is_first)
    taken = [item for item in tried if item.is_taken]
    for name in fields:
        at_edge = [item.point.variant.label for item in taken if name in item.at_edge]
        who = "every variant" if len(at_edge) == len(taken) else ", ".join(at_edge)
        if at_edge:
            sheet.notes.append(f"{name}: the best of {who} lies at the edge of what was tried: extend it")
    return sheet


def runs(frame: pd.DataFrame, metric: str = "val_bpb") -> Sheet:
    """One line a run; the notes say why runs failed."""
    # runs of no sweep have no variant: their size and data say more
    swept = frame.empty or frame["variant"].notna().any()
    which = ("rung", "variant") if swept else ("depth", "dataset")
    costs = (">steps", ">train time", ">tokens/s", ">MFU")
    optional = ("MFU", "tokens/s", "steps", "train time", "run id")
    sheet = Sheet((*which, ">seed", "state", f">{metric}", *costs, "run id"), optional=optional)
    for cell in records(frame):
        sheet.add(
            *(numbers.plain(cell[name]) for name in which),
            numbers.plain(cell["seed"]),
            tone(cell["state"]),
            numbers.bpb(cell.get(metric)),
            _steps(cell["step"], cell["num_steps"]),
            numbers.duration(cell["train_time_s"]),
            numbers.scaled(cell["tokens_per_s"]),
            numbers.percent(cell["mfu"]),
            numbers.plain(cell["run_id"]),
        )
    bad = frame[frame["failure_message"].notna() | frame["failure_class"].notna()].drop_duplicates("run_id")
    for cell in records(bad):
        why = [
            cell[name] for name in ("failure_class", "failure_message") if not numbers.is_missing(cell[name])
        ]
        sheet.notes.append(f"{cell['run_id']} {cell['state']}: " + ": ".join(dict.fromkeys(map(str, why))))
    return sheet


def _steps(step: Any, num_steps: Any) -> str:
    """Steps of a run, with how far it is where that differs (7/48); a command may tell neither."""
    if numbers.is_missing(num_steps):
        return numbers.count(step or None) if not numbers.is_missing(step) else numbers.MISSING
    if numbers.is_missing(step) or step == num_steps:
        return numbers.count(num_steps)
    return f"{numbers.count(step)}/{numbers.count(num_steps)}"


def summary(frame: pd.DataFrame, metric: str = "val_bpb", among: pd.DataFrame | None = None) -> Sheet:
    """One line per variant and rung of a runs table; ``among`` as for ``summarise``."""
    sheet = Sheet(
        (
            "rung",
            "variant",
            ">n",
            f">{metric} ± SD",
            ">Δ reference",
            ">tokens/s",
            ">train time",
            ">FLOPs",
            "runs",
        ),
        optional=("tokens/s", "FLOPs", "train time", "runs"),
    )
    previous: Any = None
    rows = records(summarise(frame, metric, among))
    for row in rows:
        spread = "" if numbers.is_missing(row["sd"]) else f" ± {row['sd']:.5f}"
        sheet.add(
            numbers.plain(row["rung"]),
            Mark(numbers.plain(row["variant"]), "strong" if row["is_reference"] else ""),
            str(row["num_complete"]),
            numbers.bpb(row["mean"]) + spread,
            "" if row["is_reference"] else numbers.change(row["delta"]),
            numbers.scaled(row["tokens_per_s"]),
            beside(numbers.duration(row["train_time_s"]), row["time_ratio"]),
            beside(numbers.scaled(row["total_flops"]), row["flops_ratio"]),
            row["states"],
            new_group=row["rung"] != previous,
        )
        previous = row["rung"]
    if any(row["is_unpaired"] for row in rows):
        sheet.notes.append(
            f"Δ reference {numbers.MISSING} beside a mean: no run there shares its data order with a run of "
            "the reference, so none are subtracted; verdicts compare the means"
        )
    return sheet


def groups(frame: pd.DataFrame, metric: str, most: int = 40) -> Sheet:
    """One line a variant of runs that others made: how many there are, and how they came out.

    Args:
        most: lines to show; the note counts the others.
    """
    sheet = Sheet(("variant", ">runs", ">complete", f">{metric} ± SD", ">steps"), optional=("steps",))
    by_name = frame.groupby("variant", sort=False)
    for name, group in itertools.islice(by_name, most):
        done = group[group["state"] == "complete"]
        found = done[metric].dropna()
        spread = f" ± {found.std():.5f}" if len(found) > 1 else ""
        steps = [numbers.count(value) for value in sorted(set(group["num_steps"].dropna()))]
        shown = steps[0] if len(steps) == 1 else f"{steps[0]} to {steps[-1]}" if steps else numbers.MISSING
        mean = numbers.bpb(found.mean()) if len(found) else numbers.MISSING
        sheet.add(str(name), str(len(group)), str(len(done)), mean + spread, shown)
    if by_name.ngroups > most:
        sheet.notes.append(f"and {counted(by_name.ngroups - most, 'variant')} more")
    return sheet


def finals(promotion: Promotion) -> Sheet:
    """One line a variant: what every rung decided, how it ended, and the decisive reason."""
    rungs = [rung.rung for rung in promotion.rungs]
    sheet = Sheet(("variant", *rungs, "final", "why"))
    outcomes = {(v.variant, v.rung): v.outcome.value for rung in promotion.rungs for v in rung.verdicts}
    for final in promotion.finals:
        sheet.add(
            Mark(final.variant, "strong"),
            *(tone(outcomes.get((final.variant, rung))) for rung in rungs),
            tone(final.outcome.value),
            final.reasons[0] if final.reasons else "",
            new_group=True,
        )
    return sheet


def verdicts(rows: Iterable[Verdict], with_notes: bool = True) -> Sheet:
    """One line per verdict with its reasons, rung by rung; notes say what else was measured.

    What all verdicts of a rung say stands once, below the table, and so does what their intervals are.
    """
    rows = list(rows)
    said = {id(item): [*item.reasons, *(item.notes if with_notes else [])] for item in rows}
    of_all: dict[str, list[str]] = {}
    for rung in dict.fromkeys(item.rung for item in rows):
        first, *others = [said[id(item)] for item in rows if item.rung == rung]
        of_all[rung] = [line for line in first if others and all(line in lines for lines in others)]
    sheet = Sheet(("rung", "variant", "verdict", "reasons"))
    previous: Any = None
    for verdict in rows:
        outcome = tone(verdict.outcome.value)
        if verdict.climbs and verdict.outcome is Outcome.inconclusive:
            outcome = Mark(f"{outcome.text} (climbs)", outcome.tone)
        own = [line for line in said[id(verdict)] if line not in of_all[verdict.rung]]
        reasons = "\n".join(own) or "as all of this rung, below"
        sheet.add(verdict.rung, verdict.variant, outcome, reasons, new_group=verdict.rung != previous)
        previous = verdict.rung
    sheet.notes += [f"{rung}, every variant: {line}" for rung, lines in of_all.items() for line in lines]
    confidences = {item.effect.confidence for item in rows}
    sheet.notes += [intervals(confidence) for confidence in sorted(confidences, reverse=True)]
    return sheet


def intervals(confidence: float) -> str:
    """What an interval is, and why it is no 95% interval."""
    alpha = (1.0 - confidence) / 2.0
    return (
        f"{100 * confidence:.4g}% intervals: either end is the limit of a one-sided test at α = {alpha:.4g}, "
        "which is what a verdict asks, before it is corrected for how many variants were tried"
    )


def axes(rows: Iterable[Verdict], decision: DecisionRule) -> Sheet:
    """Every verdict on the rule's axes, each with what it was decided on.

    That is a difference in the metric at equal steps, or at equal time or FLOPs where the reference has a
    frontier, and otherwise the ratio of what both took.
    """
    words = {SUPERIOR: "better", NOT_WORSE: "not worse"}
    judged = decision.axes.judged
    names = list(judged)
    rows = list(rows)
    headers = (f"{_axis_header(name, rows, decision)}: {words[judged[name]]}?" for name in names)
    sheet = Sheet(("rung", "variant", ">n", *headers))
    previous: Any = None
    open_ones: dict[str, list[str]] = {}  # why there is no number → variants
    for verdict in rows:
        cells: list[Cell] = [verdict.rung, verdict.variant, numbers.plain(verdict.effect.n)]
        for name in names:
            axis = verdict.evidence.axes.get(name)
            if name != "steps" and axis and axis.sentence and axis.ratio is None:
                open_ones.setdefault(axis.sentence, []).append(verdict.variant)
            measured = _difference(verdict.effect) if name == "steps" else _measured(name, axis)
            status = str(axis.status) if axis else ""
            cells.append(Mark(f"{measured} {status}".strip(), status))
        sheet.add(*cells, new_group=verdict.rung != previous)
        previous = verdict.rung
    sheet.notes += [f"{', '.join(dict.fromkeys(whose))}: {why}" for why, whose in open_ones.items()]
    better = [name for name in names if judged[name] == SUPERIOR]
    if any(_is_met(row, better) and row.outcome is Outcome.inconclusive for row in rows):
        sheet.notes.append(
            "met: of one variant and axis alone; the verdict also counts how many variants were tried"
        )
    return sheet


def _is_met(verdict: Verdict, names: Sequence[str]) -> bool:
    axes = (verdict.evidence.axes.get(name) for name in names)
    return any(axis is not None and axis.status is Status.met for axis in axes)


def _axis_header(name: str, rows: Sequence[Verdict], decision: DecisionRule) -> str:
    """What an axis' numbers are, with their units: ``bits/byte at equal time``, ``× time``."""
    unit = decision.unit_in_words or decision.metric
    axes = [verdict.evidence.axes.get(name) for verdict in rows]
    if name == "steps":
        at_equal = (axis is None or axis.is_at_equal_cost for axis in axes)
        return unit + (" at equal steps" if all(at_equal) else "")
    cost = COSTS[name]
    decided = {axis is not None and axis.is_at_equal_cost for axis in axes}
    kinds = {True: f"{unit} at equal {cost}", False: f"× {cost}"}
    return " or ".join(kinds[kind] for kind in (True, False) if kind in decided) or kinds[False]


def _measured(name: str, axis: Axis | None) -> str:
    """A difference in the metric with half its interval, or a ratio of costs with its ends."""
    if axis is None:
        return numbers.MISSING
    if axis.is_at_equal_cost and axis.matched is not None:
        return _difference(axis.matched)
    if name == "wall_clock" and axis.by_construction:
        return "same program,"  # what was measured is noise; the reasons give it
    if axis.ratio is None:
        return numbers.MISSING
    low, high = axis.low, axis.high
    spread = "" if low is None or high is None or low == high else f" ({low:.3f} to {high:.3f})"
    return f"{axis.ratio:.3f}×{spread}"


def _difference(found: Effect | Matched) -> str:
    low, high = found.low, found.high
    spread = "" if low is None or high is None else f" ± {(high - low) / 2:.5f}"
    return f"{numbers.change(found.effect)}{spread}"


def beside(shown: str, ratio: Any) -> str:
    """A cost with its ratio to the reference where that is not 1: ``6.2 s (+29.8%)``."""
    if numbers.is_missing(ratio) or abs(ratio - 1) < 5e-4:
        return shown
    return f"{shown} ({numbers.percent_change(ratio)})"


def tone(word: Any) -> Mark:
    """A state or an outcome, which is its own tone."""
    return Mark(numbers.plain(word), "" if numbers.is_missing(word) else str(word))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dicts with str keys."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
