"""``sweepkit forecasts``: what rungs were expected to show, and how such forecasts did."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sweepkit.cli import running, table_output
from sweepkit.config import paths
from sweepkit.errors import SweepkitError, invalid
from sweepkit.printable import counted
from sweepkit.promotion import verdict_file
from sweepkit.promotion.forecast_scores import HIT, MISS, WAITING
from sweepkit.report import drawing, forecast_record, terminal
from sweepkit.sweep import frozen
from sweepkit.sweep.frozen import Frozen

_PUBLISHED = "published"


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for. User errors raise ``SweepkitError``."""
    results_dir = paths.results_dir()
    places = dict.fromkeys([results_dir, results_dir / _PUBLISHED, Path("results").absolute() / _PUBLISHED])
    nested = [path for place in places if place.name == _PUBLISHED for path in _folders(place)]
    known = forecast_record.folders([*places, *nested])
    asked = [path for name in args.sweeps for path in _asked(name, known)]
    table, problems = forecast_record.of_all(forecast_record.distinct([*asked, *known]))
    shown = forecast_record.of_all(asked)[0] if asked else table
    for problem in problems:
        print(f"sweepkit: {problem}", file=sys.stderr)
    frame = shown.astype({"expected": float, "low": float, "high": float, "measured": float})
    if table_output.put(frame, args.format, args.output):
        return running.DONE
    console = terminal.console()
    if asked:
        console.print(drawing.draw(forecast_record.sheet(shown)))
    scored = table[table["outcome"].isin([HIT, MISS])]
    if scored.empty:
        counts = table["outcome"].value_counts()
        each = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if outcome != WAITING)
        why = (
            f"nothing that was forecast counts ({each})" if each else "no rung that was forecast has run yet"
        )
        console.print(f"{why}, so there is no score")
        return running.DONE
    console.rule(f"Score over {counted(scored['sweep'].nunique(), 'sweep')} so far", align="left")
    console.print(drawing.draw(forecast_record.score_sheet(table)))
    return running.DONE


def _folders(place: Path) -> list[Path]:
    """Folders of published campaigns, which hold those of their sweeps."""
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _asked(name: str, known: Sequence[Path]) -> list[Path]:
    """The folders of a sweep, of a published one, or of a campaign's sweeps.

    Raises:
        SweepkitError: it has no forecasts.
    """
    sweep, results_dir = running.place(name)
    if (folder := results_dir / sweep) and list(folder.glob("forecast-*.json")):
        return [folder]
    found = forecast_record.folders([folder]) or [
        path for path in known if path.name == sweep or path.name.startswith(f"{sweep}-")
    ]
    if found:
        return found
    if sweep in frozen.frozen_names(results_dir):
        raise SweepkitError(f"{sweep} has no forecasts: {_why_none(frozen.load_frozen(results_dir, sweep))}")
    names = ", ".join(sorted({path.name for path in known})) or "none yet"
    raise invalid("SWEEP", name, "be a sweep or a campaign that has forecasts", f"there are: {names}")


def _why_none(asked: Frozen) -> str:
    """Forecasts are of the rungs above the first, by a promotion that comes to one."""
    if len(asked.rungs) == 1:
        return "it has one rung, and what is forecast is a rung above a decided one"
    decided = list(verdict_file.read(asked).values())
    if len(decided) > 1:
        return "its rungs had been run before forecasts were written"
    if decided and not decided[0].survivors:
        return f"no variant climbed to {asked.rungs[1].name}"
    return f"{asked.rungs[1].name} is not reached yet; sweepkit promote {asked.name} writes one before it"
