"""Progress of a build on standard error: a live bar on a terminal, else a plain line after two seconds and
then every ten.

Says nothing for work that takes less than a moment or is already done, and imports rich only for a bar.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from sweepkit.printable import counted

_PLAIN_AFTER_S, _PLAIN_EVERY_S = 2.0, 10.0
_LIVE_AFTER_S = 0.3

#: Takes the share of files begun (None where there is one), documents and tokens so far (0 where not known).
Report = Callable[[float | None, int, int], None]


@contextlib.contextmanager
def task(title: str) -> Iterator[Report]:
    """Yields the function to call after each piece of work."""
    if sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield _lines(title)


def _lines(title: str) -> Report:
    started = time.monotonic()
    next_at = started + _PLAIN_AFTER_S

    def report(share: float | None, num_docs: int, num_tokens: int) -> None:
        nonlocal next_at
        now = time.monotonic()
        if now >= next_at:
            next_at = now + _PLAIN_EVERY_S
            files = "" if share is None else f"{share:.0%} of files, "
            numbers = _numbers(num_docs, num_tokens, now - started)
            print(f"data: {title}: {files}{numbers}", file=sys.stderr, flush=True)

    return report


def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(
        *columns, TextColumn("{task.fields[numbers]}"), console=Console(stderr=True), transient=True
    )
    row = bar.add_task(title, total=None, numbers="")

    def report(share: float | None, num_docs: int, num_tokens: int) -> None:
        seconds = time.monotonic() - started
        if seconds > _LIVE_AFTER_S:
            bar.start()  # does nothing the second time
            if share is not None:
                bar.update(row, total=1.0, completed=share)
            bar.update(row, numbers=_numbers(num_docs, num_tokens, seconds))

    try:
        yield report
    finally:
        bar.stop()


def _numbers(num_docs: int, num_tokens: int, seconds: float) -> str:
    documents = counted(num_docs, "document")
    if not num_tokens:
        return documents
    return f"{documents}, {counted(num_tokens, 'token')} ({num_tokens / max(seconds, 1e-9):,.0f}/s)"
