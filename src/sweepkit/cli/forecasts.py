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
from sweepkit.promotion.forecast_scores import HIT, MISS
from sweepkit.report import drawing, forecast_record, terminal
from sweepkit.sweep import frozen

_PUBLISHED = "published"


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for. User errors raise ``SweepkitError``."""
    results_dir = paths.results_dir()
    places = dict.fromkeys([results_dir, results_dir / _PUBLISHED, Path("results").absolute() / _PUBLISHED])
    nested = [path for place in places if place.name == _PUBLISHED for path in _folders(place)]
    known = forecast_record.folders([*places, *nested])
    table, problems = forecast_record.of_all(known)
    asked = [path for name in args.sweeps for path in _asked(name, known)]
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
        console.print("no rung that was forecast has run yet, so there is no score")
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
    found = [path for path in known if path.name == sweep or path.name.startswith(f"{sweep}-")]
    if found:
        return found
    if sweep in frozen.frozen_names(results_dir):
        raise SweepkitError(
            f"{sweep} has no forecasts: it has one rung, or its second is not reached yet; sweepkit promote "
            f"{sweep} writes one before every further rung"
        )
    names = ", ".join(sorted({path.name for path in known})) or "none yet"
    raise invalid("SWEEP", name, "be a sweep or a campaign that has forecasts", f"there are: {names}")
