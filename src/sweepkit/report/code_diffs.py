"""What levels that are code change, beside their verdicts: files, lines, and the patch, folded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from markupsafe import Markup, escape

from sweepkit.code import levels
from sweepkit.code.levels import Level
from sweepkit.printable import counted
from sweepkit.report.content import Content

_MOST_LINES = 600
_CLASSES = {"+": "added", "-": "removed", "@": "place"}


def of(content: Content) -> Iterator[tuple[str, Level, Markup | None]]:
    """A line on every variant with code of its own, its level, and its patch where that was kept."""
    if (frozen := content.frozen) is None or frozen.code is None:
        return
    outcomes = {verdict.variant: f"{verdict.outcome.value} on {verdict.rung}" for verdict in content.verdicts}
    of_variant = {cell.variant: cell.code for cell in frozen.cells}
    for variant, name in of_variant.items():
        if (level := frozen.code.level(name)) is not None:
            said = " · ".join(filter(None, (variant, level.in_words, outcomes.get(variant))))
            yield said, level, _drawn(frozen.sweep_dir, level)


def _drawn(sweep_dir: Path, level: Level) -> Markup | None:
    """A patch with its lines marked."""
    if (text := levels.read_patch(sweep_dir, level.tree)) is None:
        return None
    lines = text.rstrip("\n").split("\n")
    parts = [_line(line) for line in lines[:_MOST_LINES]]
    if left := len(lines) - len(parts):
        parts.append(
            escape(f"… and {counted(left, 'line')} more: {levels.patch_path(sweep_dir, level.tree)}")
        )
    return Markup('<pre class="diff">{}</pre>').format(Markup("\n").join(parts))


def _line(line: str) -> Markup:
    is_head = line.startswith(("diff --git", "--- ", "+++ ", "new file", "deleted file"))
    kind = "head" if is_head else _CLASSES.get(line[:1], "")
    return Markup('<span class="{}">{}</span>').format(kind, line) if kind else escape(line)
