"""Progress of a launch on standard error: live bars on a terminal, plain lines anywhere else.

Live: an overall bar by work (FLOPs) and a line for every run somebody is working on. Plain: a line for
every run that ends and, at most every ten seconds, a line that sums up.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from sweepkit.launch.view import LiveRun, View, Viewer, outcome
from sweepkit.printable import printable
from sweepkit.results.duration import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_PLAIN_EVERY_S = 10.0
_MAX_LINES = 16


class PlainDisplay:
    """For logs and pipes."""

    def __init__(self, title: str) -> None:
        self._title = f"{title}: " if title else ""
        self._last = time.monotonic()

    def show(self, view: View, viewer: Viewer) -> None:
        for place, run in enumerate(view.finished, start=view.done - len(view.finished) + 1):
            self.note(f"[{place}/{view.total}] {viewer.label(run)}: {outcome(run)}")
        if time.monotonic() - self._last >= _PLAIN_EVERY_S:
            self._last = time.monotonic()
            live = "; ".join(_one_line(run) for run in view.live[:_MAX_LINES])
            self.note(f"{_summary(view)}{'; ' if live else ''}{live}")

    def note(self, text: str) -> None:
        """Say something."""
        print(printable(f"{self._title}{text}"), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to tidy up."""


class LiveDisplay:
    """For a terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._title = title or "runs"
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def show(self, view: View, viewer: Viewer) -> None:
        for run in view.finished:
            self.note(f"{viewer.label(run)}: {outcome(run)}")
        self._live.update(self._render(view))

    def note(self, text: str) -> None:
        """Say something above the bars."""
        self._console.print(printable(text), highlight=False, markup=False)

    def close(self) -> None:
        self._live.stop()

    def _render(self, view: View) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            Text(self._title),
            ProgressBar(total=1.0, completed=view.work_frac, width=30),
            f"{view.done}/{view.total} runs",
            f"{duration(view.elapsed_s)}, {duration(view.eta_s)} left" if view.eta_s else "",
        )
        for run in view.live[:_MAX_LINES]:
            frac = run.step / run.num_steps if run.num_steps else 0.0
            grid.add_row(
                Text(f"  {run.label}"),
                ProgressBar(total=1.0, completed=frac, width=30),
                steps_in_words(run.step, run.num_steps),
                _details(run),
            )
        hidden = len(view.live) - _MAX_LINES
        if hidden > 0:
            grid.add_row(f"  and {hidden} more")
        return grid


def display(title: str) -> PlainDisplay | LiveDisplay:
    """The display that fits standard error."""
    return LiveDisplay(title) if sys.stderr.isatty() else PlainDisplay(title)


def steps_in_words(step: int, num_steps: int | None) -> str:
    """``120/400``; ``step 120`` where nobody knows how many there are, and nothing before the first."""
    if num_steps:
        return f"{step}/{num_steps}"
    return f"step {step}" if step else ""


def _summary(view: View) -> str:
    words = [f"{view.done}/{view.total} done"]
    ended = ("failed", "diverged", "pruned", "futile")
    words += [f"{view.counts[state]} {state}" for state in ended if view.counts.get(state)]
    words.append(f"{duration(view.elapsed_s)} so far")
    if view.eta_s is not None:
        words.append(f"{duration(view.eta_s)} left")
    return ", ".join(words)


def _one_line(run: LiveRun) -> str:
    return f"{run.label} {steps_in_words(run.step, run.num_steps)} {_details(run)}"


def _details(run: LiveRun) -> str:
    words = [] if run.phase == "training" else [run.phase]
    if run.tokens_per_s is not None:
        words.append(f"{run.tokens_per_s:,.0f} tok/s")
    if run.loss is not None:
        words.append(f"loss {run.loss:.3f}")
    if run.eta_s is not None:
        words.append(f"{duration(run.eta_s)} left")
    if run.elsewhere:
        words.append(f"held by {run.elsewhere}")
    return ", ".join(words)
