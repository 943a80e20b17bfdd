"""Progress of a build on standard error: a live bar on a terminal, else a plain line every ten seconds.

Says nothing for work that takes less than a moment or is already done, and imports rich only for a bar.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_PLAIN_EVERY_S = 10.0
_LIVE_AFTER_S = 0.3

#: Takes the share of files begun, documents and tokens so far (0 where not known).
Report = Callable[[float, int, int], None]


@contextlib.contextmanager
def task(title: str) -> Iterator[Report]:
    """Yields the function to call after each piece of work."""
    if sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield _lines(title)


def _lines(title: str) -> Report:
    started = shown = time.monotonic()

    def report(share: float, num_docs: int, num_tokens: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _PLAIN_EVERY_S:
            shown = now
            numbers = _numbers(num_docs, num_tokens, now - started)
            print(f"data: {title}: {share:.0%} of files, {numbers}", file=sys.stderr, flush=True)

    return report


def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(
        *columns, TextColumn("{task.fields[numbers]}"), console=Console(stderr=True), transient=True
    )
    row = bar.add_task(title, total=1.0, numbers="")

    def report(share: float, num_docs: int, num_tokens: int) -> None:
        seconds = time.monotonic() - started
        if seconds > _LIVE_AFTER_S:
            bar.start()  # does nothing the second time
            bar.update(row, completed=share, numbers=_numbers(num_docs, num_tokens, seconds))

    try:
        yield report
    finally:
        bar.stop()


def _numbers(num_docs: int, num_tokens: int, seconds: float) -> str:
    if not num_tokens:
        return f"{num_docs:,} documents"
    return f"{num_docs:,} documents, {num_tokens:,} tokens ({num_tokens / max(seconds, 1e-9):,.0f}/s)"
