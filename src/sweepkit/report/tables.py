"""Tables for the terminal, drawn with rich: runs, summary, verdicts, transfer, files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sweepkit.analysis.transfer import TransferRow
from sweepkit.promotion.verdict_record import Verdict
from sweepkit.report import sheets, sheets_findings
from sweepkit.report.drawing import draw
from sweepkit.sweep.decision import DecisionRule


def plain(frame: pd.DataFrame) -> RenderableType:
    """Any frame as it is."""
    return draw(sheets.plain(frame))


def runs(frame: pd.DataFrame, metric: str = "val_bpb") -> RenderableType:
    """One line a run, and below the table why runs failed."""
    return draw(sheets.runs(frame, metric))


def summary(
    frame: pd.DataFrame, metric: str = "val_bpb", among: pd.DataFrame | None = None
) -> RenderableType:
    """One line per variant and rung of a runs table: n, mean and SD, difference to the reference, cost."""
    return draw(sheets.summary(frame, metric, among))


def groups(frame: pd.DataFrame, metric: str) -> RenderableType:
    """One line a variant of a table of others: runs, mean and SD of what they are compared by."""
    return draw(sheets.groups(frame, metric))


def verdicts(rows: Iterable[Verdict]) -> RenderableType:
    """One line per verdict with its reasons, rung by rung; the report adds the notes."""
    return draw(sheets.verdicts(rows, with_notes=False))


def axes(rows: Iterable[Verdict], decision: DecisionRule) -> RenderableType:
    """Every verdict on the rule's axes: the metric's effect, wall clock and FLOPs as ratios."""
    return draw(sheets.axes(rows, decision))


def transfer(rows: Iterable[TransferRow], metric: str) -> RenderableType:
    """The effect of every variant on every rung, with its interval."""
    return draw(sheets_findings.transfer(rows, metric))


def files(paths: Mapping[str, Path]) -> RenderableType:
    """Where things are: what -> path."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for what, path in paths.items():
        table.add_row(Text(what, style="dim"), Text(str(path), overflow="fold"))
    return table
