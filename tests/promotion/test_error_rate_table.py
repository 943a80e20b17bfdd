"""The committed error rates are what docs/statistics.md shows, clear their bars, and come from the script."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweepkit.analysis import suspicion, unequal
from sweepkit.analysis.unequal import Kind, Spread
from sweepkit.promotion import doubts
from sweepkit.promotion.simulation import verdict_arrays, verdicts
from sweepkit.sweep import published_seal
from sweepkit.sweep.decision import STEPS_ALONE, DecisionRule

ROOT = Path(__file__).parents[2]
published_seal.check(ROOT / "results/published/error_rates")
TABLE = pd.read_csv(ROOT / "results/published/error_rates/verdicts.csv", dtype={"seeds": str})
DOC = (ROOT / "docs/statistics.md").read_text()
CONTENT = verdicts.load()
NULL = TABLE[(TABLE["better"] == 0) & ~TABLE["world"].str.contains("lost")]
DESIGNS = ["2", "3", "4", "5", "6", "3 twice"]
KEYS = ["world", "seeds", "better"]


def percent(share: float) -> str:
    return f"{100.0 * share:.1f}%"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def named(seeds: str) -> str:
    return "3 seeds, twice" if seeds == "3 twice" else f"{seeds} seeds"


def change(row: pd.Series[float]) -> str:
    before, after = percent(row["trusting_false_promotion"]), percent(row["false_promotion"])
    return f"{before} → {after} ({row['waits']:.0%})"


def false_promotions() -> str:
    """As the document has it; a cell a design, empty where none was asked for."""
    rows = []
    for world in dict.fromkeys(NULL["world"]):
        found = NULL[NULL["world"] == world].set_index("seeds")
        rows.append([world, *(change(found.loc[seeds]) if seeds in found.index else "" for seeds in DESIGNS)])
    return markdown(["world", *map(named, DESIGNS)], rows)


def power() -> str:
    rows = []
    better = TABLE[TABLE["better"] > 0]
    for seeds in dict.fromkeys(better["seeds"]):
        found = better[better["seeds"] == seeds].set_index("better")
        cells = [f"{percent(row['trusting_shown'])} → {percent(row['shown'])}" for _, row in found.iterrows()]
        rows.append([named(seeds), *cells])
    return markdown(["", "one is better", "four of eight", "all eight"], rows)


def lost() -> str:
    found = TABLE[TABLE["world"].str.contains("lost")]
    return ", ".join(f"{change(row)} at {named(row['seeds'])}" for _, row in found.iterrows())


@pytest.mark.parametrize("part", [false_promotions, power, lost])
def test_the_document_shows_the_committed_table(part: Callable[[], str]) -> None:
    assert part() in DOC


def test_every_cell_was_measured_and_clears_its_bar() -> None:
    cells = verdicts.cells(CONTENT)
    assert [tuple(row) for row in TABLE[KEYS].to_numpy()] == [
        (cell.rung.name, str(cell.design), cell.num_better) for cell in cells
    ]
    for cell, (_, row) in zip(cells, TABLE.iterrows(), strict=True):
        assert row["worlds"] == (500 if cell.rung.worst_lost else 4000)
        bar = verdicts.bar(CONTENT, cell)
        wrong = round(row["false_promotion"] * row["worlds"])
        if bar is not None:
            more = stats.binomtest(wrong, row["worlds"], bar, alternative="greater").pvalue if wrong else 1.0
            assert more > 0.01, (cell.rung.name, cell.design)
        if cell.num_better:
            assert row["trusting_shown"] - row["shown"] <= CONTENT["power"]["loss"][cell.design]


@pytest.mark.slow
def test_the_script_writes_such_a_table(tmp_path: Path) -> None:
    out = tmp_path / "few.csv"
    command = [
        sys.executable,
        "scripts/simulate_verdicts.py",
        "--worlds",
        "8",
        "--only",
        "lost",
        "--out",
        out,
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = pd.read_csv(out)
    assert list(found.columns) == list(TABLE.columns)
    assert set(found["worlds"]) == {1}


@pytest.mark.parametrize(
    "world", ["clean", "reference run +5 SD", "reference 3 times as noisy", "log-normal SDs"]
)
def test_the_trusting_rule_is_the_real_code_without_its_doubts(
    world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unequal, "spread", lambda *runs: Spread(Kind.equal, runs[-1].fit, {}))
    monkeypatch.setattr(suspicion, "suspect", lambda *_: None)
    monkeypatch.setattr(doubts, "MIN_SEEDS", 2)
    rule = DecisionRule(alpha=0.05, min_effect=0.0, axes=STEPS_ALONE)
    num_promoted = 0
    for seeds in (2, 3):
        cell = verdicts.Cell(CONTENT["worlds"][world], seeds, 1, 2, 4.0)
        loss_WQ, frame = verdicts.draw(cell, 5, np.random.default_rng(5))
        promoted_WV, waits_W = verdict_arrays.judge(*verdicts.split(cell, loss_WQ), 0.05, is_trusting=True)
        assert not waits_W.any()
        for loss_Q, promoted_V in zip(loss_WQ, promoted_WV, strict=True):
            found, _ = verdicts.judge(frame.assign(val_bpb=loss_Q), rule)
            assert sorted(found) == [f"v{place}" for place in np.flatnonzero(promoted_V)]
            num_promoted += len(found)
    assert num_promoted
