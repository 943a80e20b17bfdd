"""What is committed of sweeps: every verdict is made again from it, without a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.promotion import replay
from sweepkit.results import store
from sweepkit.sweep import frozen, frozen_lines

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
#: Folders of sweeps; what else lies there are tables of other kinds.
FOLDERS = sorted(path.parent for path in PUBLISHED.rglob(frozen_lines.PACKED_PLAN_FILE))


def rebuilt(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that the frozen rule makes of a committed folder's tables."""
    whole = frozen.load_frozen(folder.parent, folder.name)
    frame = store.load(folder.name, folder.parent)
    promotion = replay.climbed(whole, whole.decision, frame)
    assert promotion.finished
    found: list[dict[str, Any]] = typed.dump([item for rung in promotion.rungs for item in rung.verdicts])
    return found


def assert_same(made: Any, stored: Any, where: str = "") -> None:
    """Words and counts to the letter, numbers to what another machine's sums leave of them."""
    if isinstance(stored, dict):
        assert isinstance(made, dict) and made.keys() == stored.keys(), where
        for key, value in stored.items():
            assert_same(made[key], value, f"{where}.{key}")
    elif isinstance(stored, list):
        assert len(made) == len(stored), where
        for place, value in enumerate(stored):
            assert_same(made[place], value, f"{where}.{place}")
    elif isinstance(stored, float) and isinstance(made, float) and math.isfinite(made):
        assert made == pytest.approx(stored, rel=1e-6, abs=1e-12), where
    elif not (stored is None and isinstance(made, float)):  # what is not finite is null in a file
        assert made == stored, where


def test_every_committed_verdict_follows_from_the_committed_tables() -> None:
    for folder in FOLDERS:
        assert_same(rebuilt(folder), fsio.read_json(folder / "verdicts.json")["verdicts"], folder.name)


def test_every_committed_run_has_its_curve_and_the_page_names_every_verdict() -> None:
    for folder in FOLDERS:
        check_page(folder)


def check_page(folder: Path) -> None:
    runs, curves = store.load(folder.name, folder.parent), store.curves(folder.name, folder.parent)
    complete = set(runs.loc[runs["state"] == "complete", "run_id"])
    assert complete <= set(curves.loc[curves["loss"].notna(), "run_id"])
    page = (folder / "README.md").read_text()
    effects = pd.read_csv(folder / "effects.csv")
    assert all(variant in page for variant in effects["variant"].unique())
    assert (folder / "figure.svg").read_text().startswith("<svg")
