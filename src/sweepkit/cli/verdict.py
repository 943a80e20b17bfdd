"""``sweepkit verdict``: judge a table of runs that sweepkit did not make."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.errors import invalid
from sweepkit.promotion import compare, table
from sweepkit.promotion.compare import Comparison
from sweepkit.report import tables, terminal
from sweepkit.report.sheets import AXIS_NAMES
from sweepkit.sweep.decision import SUPERIOR, DecisionRule

#: Exit statuses; 2 is a request that was wrong.
_STATUS = {"promote": 0, "reject": 1, "inconclusive": 3}


def run(args: argparse.Namespace) -> int:
    """Print the verdicts; the exit status is the outcome's. User errors raise ``SweepkitError``."""
    found = compare.compare(
        _read(args.runs),
        args.reference,
        DecisionRule.amended(args.overrides),
        args.allow_mixed_environments,
        args.seeds,
    )
    if args.format == "json":
        print(json.dumps(fsio.finite(found.to_json()), indent=2, allow_nan=False))
    else:
        _print(found)
    return _STATUS[found.outcome.value]


def _read(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if not path.is_file():
        what = "be a file, and is a folder" if path.is_dir() else "be a file that exists"
        raise invalid("--runs", str(path), what, "check the path; it is looked up from the current folder")
    if suffix not in (".csv", ".tsv", ".parquet"):
        remedy = "export your runs as one row a run"
        raise invalid("--runs", str(path), "be a .csv, .tsv or .parquet file", remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            frame = pd.read_parquet(path) if suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise invalid("--runs", str(path), f"be readable ({error})", "export it again") from error
    if frame.empty:
        raise invalid("--runs", str(path), "have rows", "export your runs as one row a run")
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """The table with names of variants as they are written: 0.10 is no 0.1, and one may be called none."""
    mark = _separator(path)
    # a comma at the end of every row moves no column; who separates by semicolons writes 0,91
    how: Any = {
        "sep": mark,
        "index_col": False,
        "encoding": "utf-8-sig",
        "decimal": "," if mark == ";" else ".",
    }
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, **how).iloc[0].dropna().tolist()
    table.check_names(header)  # pandas would rename the second
    frame: pd.DataFrame = pd.read_csv(path, **how)
    if "variant" in frame:
        names = pd.read_csv(path, usecols=["variant"], dtype=str, keep_default_na=False, **how)
        frame["variant"] = names["variant"].where(names["variant"] != "", None)
    return frame


def _separator(path: Path) -> str:
    """What separates the columns: of commas, semicolons, tabs and bars what the header has most of."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return max(",;\t|", key=header.count)


def _print(found: Comparison) -> None:
    console = terminal.console()
    console.print(tables.verdicts(found.verdicts))
    console.print(tables.axes(found.verdicts, found.decision))
    if len({verdict.rung for verdict in found.verdicts}) > 1:
        console.print(tables.transfer(found.transfer, found.decision.metric))
    for note in found.notes:
        console.print(note, style="dim")
    console.print(f"{found.outcome.value}: {_shown(found)}", style="bold")


def _shown(found: Comparison) -> str:
    """What was shown of whom: better than the reference only where the rule asks the metric for that."""
    asked = [axis for axis, demand in found.decision.axes.judged.items() if demand == SUPERIOR]
    what = f"better than {found.reference}" if "steps" in asked else f"not worse than {found.reference}"
    cheaper = [AXIS_NAMES[axis] for axis in asked if axis != "steps"]
    if cheaper:
        what += f", and better on {' and '.join(cheaper)}"
    return f"{what}: {', '.join(found.promoted) or 'none'}"
