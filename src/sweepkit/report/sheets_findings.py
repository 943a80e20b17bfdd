"""Tables of what a sweep's runs say beyond effects (``findings.py``), for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from sweepkit.analysis.transfer import TransferRow
from sweepkit.report import numbers, sheets_gains
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.report.sheets import AXIS_NAMES, records
from sweepkit.results import core_outcomes


def frontier(frame: pd.DataFrame) -> Sheet:
    """Cost, effect at equal cost and capability-matched speed-up of every variant, axis under axis."""
    sheet = Sheet(("rung", "variant", "at equal", ">cost", ">effect", ">speed-up", "not told"))
    previous: Any = None
    for row in records(frame):
        fresh = (row["rung"], row["variant"]) != previous
        sheet.add(
            numbers.plain(row["rung"]) if fresh else "",
            numbers.plain(row["variant"]) if fresh else "",
            "" if numbers.is_missing(row["axis"]) else AXIS_NAMES[row["axis"]],
            numbers.MISSING if numbers.is_missing(row["cost_ratio"]) else f"{row['cost_ratio']:.3f}×",
            estimate(row),
            _speedup(row),
            row["note"],
            new_group=fresh,
        )
        previous = (row["rung"], row["variant"])
    if frame["axis"].isna().all():
        sheet.notes.append("reference_horizons: [0.5, 2] in the sweep file runs the reference at others too")
    else:
        sheet.notes.append(
            "effect: against what the reference reaches at the same cost; speed-up: what the reference would "
            "spend to reach the same loss, over what the variant spent"
        )
    return sheet


def combinations(frame: pd.DataFrame) -> Sheet:
    """Main effects, then interactions with what both levels give alone and together."""
    sheet = Sheet(("rung", "term", ">effect", "what it says"))
    previous: Any = None
    for row in records(frame):
        tone = "reject" if row["is_conflict"] else ""
        sheet.add(
            numbers.plain(row["rung"]),
            Mark(row["term"], tone),
            estimate(row),
            row["sentence"] or "alone, beside the reference's other levels",
            new_group=row["rung"] != previous,
        )
        previous = row["rung"]
    if frame.empty:
        sheet.notes.append("no variant combines two axes; combine: 2 in the sweep file adds pairs")
    return sheet


def probes(frame: pd.DataFrame) -> Sheet:
    """Every text with every variant's effect on it."""
    is_noted = bool(len(frame)) and bool(frame["note"].notna().any())
    why = ("not compared because",) if is_noted else ()
    sheet = Sheet(("rung", "text", "variant", ">n", ">effect", *why))
    previous: Any = None
    for row in records(frame):
        sheet.add(
            numbers.plain(row["rung"]),
            str(row["metric"]).removeprefix("bpb_"),
            numbers.plain(row["variant"]),
            numbers.MISSING if numbers.is_missing(row["n"]) else str(int(row["n"])),
            estimate(row),
            *(("" if numbers.is_missing(row["note"]) else row["note"],) if is_noted else ()),
            new_group=(row["rung"], row["metric"]) != previous,
        )
        previous = (row["rung"], row["metric"])
    return sheet


def retention(frame: pd.DataFrame) -> Sheet:
    """How much of an effect is left one rung up, and what selection explains."""
    sheet = Sheet(("from", "to", ">n", ">retained", ">plain slope", ">τ", ">by selection"))
    for row in records(frame):
        if numbers.is_missing(row["lower"]):
            sheet.notes.append(row["sentence"])
            continue
        interval = ""
        if not numbers.is_missing(row["low"]) and not numbers.is_missing(row["high"]):
            interval = f" ({numbers.percent(row['low'])} to {numbers.percent(row['high'])})"
        tau = numbers.MISSING
        if not numbers.is_missing(row["tau"]):
            tau = f"{row['tau']:.2f} (null ± {row['tau_null_sd']:.2f})"
        sheet.add(
            row["lower"],
            row["upper"],
            str(row["n"]),
            numbers.percent(row["slope"]) + interval,
            numbers.percent(row["plain_slope"]),
            tau,
            numbers.percent(row["explained"]),
        )
        sheet.notes.append(row["sentence"])
    return sheet


def cliffs(frame: pd.DataFrame) -> Sheet:
    """Where one step too far is a catastrophe."""
    sheet = Sheet(("rung", "axis", "good", "beyond", ">loses"))
    for row in records(frame):
        lost = "diverges" if numbers.is_missing(row["drop"]) else numbers.change(row["drop"])
        sheet.add(row["rung"], row["axis"], row["edge"], row["beyond"], lost)
    if frame.empty:
        sheet.notes.append("no cliff was shown on an axis whose levels are numbers")
    return sheet


def tasks(frame: pd.DataFrame) -> Sheet:
    """Scores by task, and what a variant's are beside the reference's."""
    counts, errors_of = (">n", ">items"), (">± items", ">± seeds")
    heads = ("rung", "variant", "task", *counts, ">score", ">difference", *errors_of, ">won", ">lost")
    sheet = Sheet(heads, optional=("n", "items"))
    previous: Any = None
    for row in records(frame):
        fresh = (row["rung"], row["variant"]) != previous
        errors = [row["se_items"], row["se_seeds"]]
        sheet.add(
            numbers.plain(row["rung"]) if fresh else "",
            numbers.plain(row["variant"]) if fresh else "",
            row["task"],
            str(row["n"]),
            numbers.count(row["items"]),
            f"{row['score']:.4f}",
            numbers.change(row["difference"], 4),
            *(numbers.MISSING if numbers.is_missing(error) else f"{error:.4f}" for error in errors),
            numbers.count(row["won"]),
            numbers.count(row["lost"]),
            new_group=fresh,
        )
        previous = (row["rung"], row["variant"])
    if frame.empty:
        sheet.notes.append("no run was asked anything; evaluation=core asks the tasks of a bundle")
    else:
        sheet.notes.append(
            "score: accuracy, 0 at chance, 1 where all is right; ±: standard errors of the difference (of "
            "the score, for the reference) over items and between seeds; won, lost: items right more often "
            "than for the reference, and less often"
        )
    return sheet


def scores(frame: pd.DataFrame) -> Sheet | None:
    """One line a run that was asked the tasks of a bundle; None where none was."""
    means = [name for name in (core_outcomes.CORE, core_outcomes.SUBSET) if name in frame]
    means = [name for name in means if frame[name].notna().any()]
    if not means:
        return None
    which = ("rung", "variant", "seed") if frame["variant"].notna().any() else ("run id",)
    sheet = Sheet((*which, *(f">{name} ± items" for name in means)))
    for row in records(frame):
        cells = [numbers.plain(row[name.replace(" ", "_")]) for name in which]
        for name in means:
            error = row.get(core_outcomes.SE[name])
            spread = "" if numbers.is_missing(error) else f" ± {error:.4f}"
            cells.append(numbers.MISSING if numbers.is_missing(row[name]) else f"{row[name]:.4f}{spread}")
        sheet.add(*cells)
    return sheet


SHEETS: dict[str, Callable[[pd.DataFrame], Sheet]] = {
    "frontier": frontier,
    "combinations": combinations,
    "probes": probes,
    "retention": retention,
    "cliffs": cliffs,
    "tasks": tasks,
    "documents": sheets_gains.documents,
    "breakdown": sheets_gains.breakdown,
}


def estimate(row: dict[str, Any]) -> str:
    """``−0.00070 (−0.00110 to −0.00030)``; the estimate alone where there is no interval."""
    shown = numbers.change(row["effect"])
    if numbers.is_missing(row["low"]) or numbers.is_missing(row["high"]):
        return shown
    return f"{shown} ({numbers.change(row['low'])} to {numbers.change(row['high'])})"


def _speedup(row: dict[str, Any]) -> str:
    if numbers.is_missing(row["speedup"]):
        return numbers.MISSING
    ends = [row["speedup_low"], row["speedup_high"]]
    shown = ["open" if numbers.is_missing(end) else f"{end:.3f}" for end in ends]
    return f"{row['speedup']:.3f}× ({shown[0]} to {shown[1]})"


def transfer(rows: Iterable[TransferRow], metric: str) -> Sheet:
    """The effect of every variant, rung under rung, with its interval and its ratio to the rung below.

    Args:
        metric: the one that all rungs are measured on; the last may be decided by another.
    """
    by_variant: dict[str, list[TransferRow]] = {}
    for row in rows:
        by_variant.setdefault(row.variant, []).append(row)
    sheet = Sheet(("variant", "rung", f">effect on {metric}", "beside the rung below"))
    for variant, steps in by_variant.items():
        for place, row in enumerate(steps):
            sheet.add("" if place else variant, row.rung, interval(row), row.note, new_group=not place)
    return sheet


def interval(row: TransferRow) -> str:
    """``−0.00070 ± 0.00040``, half the interval's width; the estimate alone where there is no interval."""
    if row.effect is None:
        return numbers.MISSING
    if row.low is None or row.high is None:
        return numbers.change(row.effect)
    return f"{numbers.change(row.effect)} ± {(row.high - row.low) / 2:.5f}"
