"""What rungs were expected to show and what came out, of one sweep or of all: for page and terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio
from sweepkit.analysis.next_rung import CONFIDENCE, EFFECT
from sweepkit.config import typed
from sweepkit.errors import ConfigError, DamagedError, SweepkitError
from sweepkit.promotion import forecast, forecast_scores
from sweepkit.promotion.forecast_scores import HIT, MISS
from sweepkit.promotion.verdict_record import Promotion
from sweepkit.report import numbers
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.report.sheets import records
from sweepkit.results import store

_TONES = {HIT: "met", MISS: "failed"}


def folders(results_dirs: Iterable[Path]) -> list[Path]:
    """Folders of sweeps that have forecasts; a published copy of one that is there already is left out."""
    return distinct(path.parent for each in results_dirs for path in sorted(each.glob("*/forecast-*.json")))


def distinct(sweep_dirs: Iterable[Path]) -> list[Path]:
    """Each sweep once, where it was first found: a published copy has its name and its forecasts."""
    found: dict[tuple[str, bytes], Path] = {}
    for sweep_dir in dict.fromkeys(sweep_dirs):
        first = min(sweep_dir.glob("forecast-*.json"))
        found.setdefault((sweep_dir.name, fsio.read_bytes(first)), sweep_dir)
    return list(found.values())


def compared(sweep_dir: Path) -> tuple[pd.DataFrame, list[str]]:
    """Every forecast of a sweep beside what came out, and what is wrong with its files."""
    forecasts, problems = forecast.read(sweep_dir)
    rungs = []
    try:
        promotion = typed.load(Promotion, fsio.read_json(sweep_dir / "promotion.json"))
        mine = [item for item in forecasts if item.frozen_sha256 == promotion.frozen_sha256]
        if len(mine) < len(forecasts):
            problems.append(f"{sweep_dir}: forecasts of another frozen plan than was decided are not scored")
        forecasts, rungs = mine, promotion.rungs
    except FileNotFoundError:
        pass
    except (DamagedError, ConfigError) as error:
        problems.append(str(error))
    frame = store.load(sweep_dir.name, sweep_dir.parent)
    return forecast_scores.compared(forecasts, rungs, frame), problems


def of_all(sweep_dirs: Iterable[Path]) -> tuple[pd.DataFrame, list[str]]:
    """``compared`` of several sweeps under each other; one that cannot be read is a problem named."""
    tables, problems = [], []
    for sweep_dir in sweep_dirs:
        try:
            table, wrong = compared(sweep_dir)
        except SweepkitError as error:  # of one sweep: the others' forecasts are as good as before
            problems.append(str(error))
            continue
        tables.append(table)
        problems += wrong
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else _EMPTY.copy(), problems


_EMPTY = pd.DataFrame(columns=list(forecast_scores.COLUMNS))


def sheet(table: pd.DataFrame) -> Sheet:
    """Every forecast beside what came out; a sweep's name where there are several."""
    many = table["sweep"].nunique() > 1
    first = ("sweep",) if many else ()
    made = Sheet((*first, "rung", "of", "by", ">expected", f">{CONFIDENCE:.0%} interval", ">measured", ""))
    previous = None
    for row in records(table):
        key = (row["sweep"], row["rung"], row["target"])
        is_effect = row["kind"] == EFFECT
        write = numbers.change if is_effect else numbers.bpb
        is_new = key != previous
        where = [row["sweep"]] if many else []
        names = [*where, row["rung"], row["target"] if is_effect else f"{row['target']}'s loss"]
        made.add(
            *(names if is_new else [""] * len(names)),
            row["method"],
            write(row["expected"]),
            f"{write(row['low'])} to {write(row['high'])}",
            write(row["measured"]),
            Mark(row["outcome"], _TONES.get(row["outcome"], "")),
            new_group=is_new,
        )
        previous = key
    return made


def score_sheet(table: pd.DataFrame) -> Sheet:
    """How every method has done so far."""
    scores = forecast_scores.scored(table)
    made = Sheet(
        (
            "of",
            "by",
            ">rungs",
            ">numbers",
            f">inside {CONFIDENCE:.0%}",
            ">over no change",
            ">over same effect",
        )
    )
    previous = None
    for row in records(scores):
        made.add(
            {EFFECT: "effects"}.get(row["kind"], "the reference's loss") if row["kind"] != previous else "",
            row["method"],
            str(row["rungs"]),
            str(row["forecasts"]),
            f"{numbers.percent(row['coverage'])} ({numbers.percent(row['coverage_low'])} to "
            f"{numbers.percent(row['coverage_high'])})",
            *(
                _give_or_take(row[name], row[f"{name}_se"], lambda value: f"{value:.2f}".replace("-", "−"))
                for name in ("over_no_change", "over_same_effect")
            ),
            new_group=row["kind"] != previous,
        )
        previous = row["kind"]
    if made.rows:
        made.notes.append(
            "means over rungs, with 95% intervals (Wilson) or ± standard error; over a baseline: gain in log "
            "score on the same numbers"
        )
    return made


def _give_or_take(value: Any, error: Any, write: Callable[[Any], str]) -> str:
    if numbers.is_missing(value):
        return numbers.MISSING
    return write(value) + ("" if numbers.is_missing(error) else f" ± {write(error)}")
