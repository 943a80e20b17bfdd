"""Figures of a benchmark: a table beside the committed baseline, and the baseline itself.

All figures are ratios of things measured in one process in turn, so they hold on other machines of a kind and
on a busy day. A figure is *watched* when a change of it is a change of cost: marked when it is worse than the
baseline by more than 6%, which tells 10% from chance where chance is 1.5% (on both sides of a comparison).
The others are only held to their bounds: a tenth of 0.01% of a step costs nobody anything. The spread is what
chance does to a median: that of five spells of rounds, because neighbouring rounds share the machine's
weather, and a process its place in memory. A watched figure whose spread would hide 6% is marked too. Any
mark fails the command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweepkit import fsio

BASELINE = Path(__file__).with_name("bench_baseline.json")
WORSE = 0.06  # by more than this: not chance
_SPELLS, _SPREADS = 5, 2.0


@dataclass(frozen=True)
class Figure:
    """One number; ``target`` is its bound, if it has one; ``watched``: held against the baseline."""

    name: str
    value: float
    spread: float = 0.0
    target: float | None = None
    higher_is_better: bool = False
    watched: bool = False

    @property
    def meets_target(self) -> bool:
        if self.target is None:
            return True
        return self.value >= self.target if self.higher_is_better else self.value <= self.target


def of_rounds(
    name: str,
    rounds: Sequence[float],
    target: float | None = None,
    higher_is_better: bool = False,
    watched: bool = False,
) -> Figure:
    """The median of rounds, with its spread: the standard error of the medians of five spells, as a share."""
    count, middle = min(_SPELLS, len(rounds)), statistics.median(rounds)
    size = len(rounds) // count
    spells = [statistics.median(rounds[i * size : (i + 1) * size]) for i in range(count)]
    spread = statistics.stdev(spells) / count**0.5 / middle if middle and count > 1 else 0.0
    return Figure(name, middle, spread, target, higher_is_better, watched)


def marks(now: Figure, before: Figure | None) -> list[str]:
    """What is wrong with a figure, beside its bound and what the baseline says."""
    found = [] if now.meets_target else ["misses its bound"]
    if not now.watched or before is None:
        return found
    change = now.value / before.value - 1
    loss = -change if now.higher_is_better else change
    if loss > WORSE:
        found.append(f"worse by {loss:.0%}")
    elif _SPREADS * (now.spread**2 + before.spread**2) ** 0.5 > WORSE:
        found.append("too noisy to tell 6%: measure again")
    return found


def run(measure: Callable[[bool], list[Figure]], description: str) -> None:
    """Measure, print the table; exit 1 when one is marked. ``--save`` makes it the baseline instead.

    Args:
        measure: gets whether the smallest sizes will do.
    """
    parser = argparse.ArgumentParser(description=description)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--save", action="store_true", help=f"write the figures to {BASELINE.name}")
    how.add_argument("--smoke", action="store_true", help="smallest sizes, to see that it runs; no verdict")
    options = parser.parse_args()
    figures = measure(options.smoke)
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    marked = _print(figures, {} if options.smoke else {name: Figure(**one) for name, one in known.items()})
    if options.save:
        known |= {figure.name: asdict(figure) for figure in figures}
        fsio.write_json(BASELINE, known)
    elif marked and not options.smoke:
        sys.exit(f"marked: {', '.join(marked)}")


def _print(figures: Sequence[Figure], known: dict[str, Figure]) -> list[str]:
    """The table, in Markdown; gives the names of the figures with a mark."""
    print("| figure | now | ± | baseline | bound | |\n|---|---|---|---|---|---|")
    marked = []
    for now in figures:
        before = known.get(now.name)
        found = marks(now, before)
        if found:
            marked.append(now.name)
        sign = "≥" if now.higher_is_better else "≤"
        bound = "" if now.target is None else f"{sign} {now.target:g}"
        print(
            f"| {now.name} | {now.value:.3g} | {now.spread:.1%} | {f'{before.value:.3g}' if before else ''} "
            f"| {bound} | {', '.join(found)} |",
            flush=True,
        )
    return marked
