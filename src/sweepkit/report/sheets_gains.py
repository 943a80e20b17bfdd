"""Tables of where a gain comes from (``gains.py``), for the terminal and the page."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweepkit.printable import counted
from sweepkit.report import gains, numbers
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.report.sheets import records


def documents(frame: pd.DataFrame) -> Sheet:
    """The effect of every variant with its interval over seeds, over text and over both."""
    heads = (
        "rung",
        "variant",
        ">n",
        ">docs",
        ">effect",
        "over seeds",
        "over text",
        "over both",
        "rests on",
    )
    sheet = Sheet(heads, optional=("n", "docs"))
    previous: Any = None
    for row in records(frame):
        if numbers.is_missing(row["effect"]):
            sheet.notes.append(f"{row['rung']}, {row['variant']}: {row['note']}")
            continue
        sheet.add(
            numbers.plain(row["rung"]) if row["rung"] != previous else "",
            row["variant"],
            str(int(row["n"])),
            numbers.count(row["documents"]),
            numbers.change(row["effect"]),
            *(_interval(row, start) for start in ("seeds_", "text_", "")),
            _rests_on(row),
            new_group=row["rung"] != previous,
        )
        previous = row["rung"]
        if not numbers.is_missing(row["note"]):
            sheet.notes.append(f"{row['rung']}, {row['variant']}: {row['note']}")
    if frame.empty:
        sheet.notes.append("no run has come to its end that was decided by a loss on a text")
    elif sheet.rows:
        sheet.notes.append(
            f"in bits per byte, intervals at {100 * frame['confidence'].iloc[0]:.4g}%; over seeds: what "
            "training again would change; over text: what other documents would; rests on: the fewest "
            "documents, of the most influential, without which half of the effect is gone, and their share "
            "of the text; red where that is 1 document in 100, or one, and seeds tell the effect from none"
        )
    return sheet


def _interval(row: dict[str, Any], start: str) -> str:
    low, high = row[f"{start}low"], row[f"{start}high"]
    if numbers.is_missing(low) or numbers.is_missing(high):
        return numbers.MISSING
    return f"{numbers.change(low)} to {numbers.change(high)}"


def _rests_on(row: dict[str, Any]) -> Mark:
    """Red where it is few, but for what seeds do not tell from none: that rests on no text at all."""
    if numbers.is_missing(row["fewest"]):
        return Mark(numbers.MISSING)
    said = f"{counted(int(row['fewest']), 'document')}, {numbers.percent(row['fewest_bytes_frac'])}"
    is_few = row["is_few"] in (True, "True") and not row["seeds_low"] <= 0 <= row["seeds_high"]
    return Mark(said, "reject" if is_few else "")


def breakdown(frame: pd.DataFrame) -> Sheet:
    """The effect of every variant by source, length, position and kind of token."""
    heads = (
        "rung",
        "variant",
        "by",
        "class",
        ">of the text",
        ">reference",
        ">effect",
        ">± seeds",
        ">± text",
        ">adds",
    )
    sheet = Sheet(heads)
    previous: Any = None
    for row in records(frame):
        whose, by = (row["rung"], row["variant"]), (row["rung"], row["variant"], row["by"])
        errors = [row["se_seeds"], row["se_text"]]
        sheet.add(
            numbers.plain(row["rung"]) if previous is None or whose != previous[:2] else "",
            numbers.plain(row["variant"]) if previous is None or whose != previous[:2] else "",
            row["by"] if by != previous else "",
            row["part"],
            numbers.percent(row["bytes_frac"]),
            f"{row['reference']:.4f}",
            numbers.change(row["effect"]),
            *(numbers.MISSING if numbers.is_missing(error) else f"{error:.5f}" for error in errors),
            numbers.change(row["adds"]),
            new_group=by != previous,
        )
        previous = by
    if frame.empty:
        sheet.notes.append("no losses by document were kept of these runs")
    else:
        sheet.notes.append(
            "reference, effect: bits per byte of this class alone; ±: standard errors of the effect; adds: "
            "what the class adds to the whole effect. Kinds of token: docs/where_a_gain_comes_from.md"
        )
    return sheet


def section(content: Content) -> list[Block]:
    """What the page shows; nothing where no losses by document were kept."""
    whole = gains.documents(content)
    if whole["effect"].isna().all():
        return []
    parts = Block("table", breakdown(gains.breakdown(content)))
    return [Block("table", documents(whole)), Block("fold", "By part of the text", [parts])]
