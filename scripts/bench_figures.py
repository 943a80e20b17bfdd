"""Figures of a benchmark: a table beside the committed baseline, and the baseline itself.

All figures are ratios of things measured in one process in turn, so they hold on other machines of a kind and
on a busy day. The spread is what chance does to the figure: half the distance between the quartiles of the
single rounds, over the root of their number, as a share of the figure. A figure that is worse than the
baseline's by more than 5% and by more than four times both spreads is marked, and the command fails.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

BASELINE = Path(__file__).with_name("bench_baseline.json")
_MIN_CHANGE, _SPREADS = 0.05, 4.0


@dataclass(frozen=True)
class Figure:
    """One number; ``target`` is what was set as its bound, None where it is only told."""

    name: str
    value: float
    spread: float = 0.0
    target: float | None = None
    higher_is_better: bool = False

    @property
    def meets_target(self) -> bool:
        if self.target is None:
            return True
        return self.value >= self.target if self.higher_is_better else self.value <= self.target


def of_rounds(
    name: str, rounds: Sequence[float], target: float | None = None, higher_is_better: bool = False
) -> Figure:
    """The median of rounds, with its spread."""
    low, middle, high = statistics.quantiles(rounds, n=4)
    spread = (high - low) / 2 / len(rounds) ** 0.5 / middle if middle else 0.0
    return Figure(name, middle, spread, target, higher_is_better)


def worse_by(now: Figure, before: Figure) -> float | None:
    """By what share ``now`` is worse than ``before``; None when chance explains it, or when it is not."""
    if not before.value:
        return None
    change = now.value / before.value - 1
    loss = -change if now.higher_is_better else change
    return loss if loss > max(_MIN_CHANGE, _SPREADS * (now.spread**2 + before.spread**2) ** 0.5) else None


def run(measure: Callable[[], list[Figure]], description: str) -> None:
    """Measure, print the table; exit 1 when a figure got worse. ``--save`` makes it the baseline instead."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--save", action="store_true", help=f"write the figures to {BASELINE.name}")
    options = parser.parse_args()
    figures = measure()
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    slower = _print(figures, {name: Figure(**value) for name, value in known.items()})
    if options.save:
        known |= {figure.name: asdict(figure) for figure in figures}
        BASELINE.write_text(json.dumps(known, indent=1) + "\n")
    elif slower:
        sys.exit(f"worse than {BASELINE.name}: {', '.join(slower)}")


def _print(figures: Sequence[Figure], known: dict[str, Figure]) -> list[str]:
    """The table, in Markdown; gives the names of what got worse."""
    print("| figure | now | ± | baseline | target | |\n|---|---|---|---|---|---|")
    slower = []
    for now in figures:
        before = known.get(now.name)
        loss = worse_by(now, before) if before else None
        if loss is not None:
            slower.append(now.name)
        sign = "≥" if now.higher_is_better else "≤"
        target = "" if now.target is None else f"{sign} {now.target:g}"
        marks = [f"worse by {loss:.0%}"] if loss is not None else []
        marks += [] if now.meets_target else ["misses its target"]
        print(
            f"| {now.name} | {now.value:.3g} | {now.spread:.1%} | {f'{before.value:.3g}' if before else ''} "
            f"| {target} | {', '.join(marks)} |",
            flush=True,
        )
    return slower
