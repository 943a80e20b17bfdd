"""Forecasts of a ladder: written before a rung runs, once, never revised; scored when it has run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from promotion_worlds import EFFECTS, VARIANTS, Killed, World, climb, freeze
from promotion_worlds import RULE as USUAL
from scipy import stats

from sweepkit.analysis.next_rung import EFFECT, LAW, LOSS, NO_CHANGE, RETENTION, SAME_EFFECT
from sweepkit.promotion import forecast, forecast_scores
from sweepkit.promotion.forecast_scores import HIT, MISS, UNSCORED
from sweepkit.promotion.verdict_record import Promotion
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import STEPS_ALONE

pytestmark = pytest.mark.xdist_group("forecast")


@dataclasses.dataclass
class Watched(World):
    """A world that notes which forecasts lay there when a rung's first run was asked for."""

    there: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def run_cells(self, rung: str, cells: list[Cell]) -> None:
        found = [item.rung for item in forecast.read(self.frozen.sweep_dir)[0]]
        self.there.setdefault(rung, found)
        super().run_cells(rung, cells)


RULE = dataclasses.replace(USUAL, axes=STEPS_ALONE)


def made(folder: Path, **options: Any) -> World:
    """Three rungs of three seeds, not yet run; what is judged by a clock has no part in forecasts."""
    return Watched(freeze(folder, VARIANTS, seeds=3, rule=RULE), EFFECTS, **options)


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Promotion]:
    """At its end; not to be changed."""
    world = made(tmp_path_factory.mktemp("climbed"))
    return world, climb(world)


@pytest.fixture
def copied(climbed: tuple[World, Promotion], tmp_path: Path) -> tuple[World, Promotion]:
    """The same in a folder of the test's own."""
    world, promotion = climbed
    folder = shutil.copytree(world.frozen.sweep_dir, tmp_path / world.frozen.name)
    return dataclasses.replace(world, frozen=dataclasses.replace(world.frozen, sweep_dir=folder)), promotion


def compared(world: World, promotion: Promotion) -> pd.DataFrame:
    found, problems = forecast.read(world.frozen.sweep_dir)
    assert not problems
    return forecast_scores.compared(found, promotion.rungs, world.load())


def test_every_rung_but_the_lowest_is_foretold_before_its_first_run(climbed: tuple[Any, Promotion]) -> None:
    world, promotion = climbed
    assert world.there == {"d2": [], "d4": ["d4"], "d6": ["d4", "d6"]}
    for item in forecast.read(world.frozen.sweep_dir)[0]:
        result = next(result for result in promotion.rungs if result.rung == item.rung)
        told = {entry.target for entry in item.predictions if entry.kind == EFFECT}
        assert told == {verdict.variant for verdict in result.verdicts}, "the unselected too"
        assert not item.after_the_fact
        methods = {entry.method for entry in item.of(LOSS, "reference")}
        assert methods == ({NO_CHANGE} if item.rung == "d4" else {LAW, NO_CHANGE, SAME_EFFECT})


def test_what_came_out_is_scored_by_the_density_it_was_given(climbed: tuple[World, Promotion]) -> None:
    world, promotion = climbed
    table = compared(world, promotion)
    effects = {(r.rung, v.variant): v.followed for r in promotion.rungs for v in r.verdicts}
    losses = world.load().query("variant == 'reference'").groupby("rung")["val_bpb"].mean()
    told = {
        (item.rung, entry.target, entry.method): entry
        for item in forecast.read(world.frozen.sweep_dir)[0]
        for entry in item.predictions
    }
    for row in table.itertuples():
        entry = told[row.rung, row.target, row.method]
        is_effect = row.kind == EFFECT
        value = effects[row.rung, row.target].effect if is_effect else losses[row.rung]
        runs = 2 / 3 if is_effect else 1 / 3
        density = stats.t(entry.df, entry.mean, (entry.sd**2 + runs * entry.run_sd**2) ** 0.5)
        assert row.measured == pytest.approx(value)
        assert (row.low, row.high) == pytest.approx(density.interval(0.9))
        assert row.outcome == (HIT if row.low <= value <= row.high else MISS)
        assert row.log_score == pytest.approx(density.logpdf(value))
    outcomes = table.set_index(["rung", "target", "method"])["outcome"]
    assert outcomes["d4", "fades", SAME_EFFECT] == MISS
    assert outcomes["d4", "holds", RETENTION] == HIT
    assert outcomes["d6", "nothing", NO_CHANGE] == HIT


def test_the_score_counts_rungs_not_variants(climbed: tuple[World, Promotion]) -> None:
    table = compared(*climbed)
    scores = forecast_scores.scored(table).set_index(["kind", "method"])
    mine = table[(table["kind"] == EFFECT) & (table["method"] == RETENTION)].set_index("rung")
    by_rung = [(mine.loc[[rung], "outcome"] == HIT).mean() for rung in ("d4", "d6")]
    row = scores.loc[(EFFECT, RETENTION)]
    assert (row["rungs"], row["forecasts"]) == (2, len(mine))
    assert row["coverage"] == pytest.approx(sum(by_rung) / 2)
    for hits in ([0.0, 0.0], [1.0, 1.0], by_rung):
        low, high = forecast_scores._wilson(pd.Series(hits))
        assert low <= sum(hits) / 2 <= high and high - low > 0.5, "two rungs say little, alike or not"
        if sum(hits) in (0, 1, 2):
            told = stats.binomtest(int(sum(hits)), 2).proportion_ci(method="wilson")
            assert (low, high) == pytest.approx((told.low, told.high))
    assert (row["coverage_low"], row["coverage_high"]) == forecast_scores._wilson(pd.Series(by_rung))
    base = table[(table["kind"] == EFFECT) & (table["method"] == NO_CHANGE)].set_index(["rung", "target"])
    gains = mine.set_index("target", append=True)["log_score"] - base["log_score"]
    assert row["over_no_change"] == pytest.approx(gains.groupby(level="rung").mean().mean())
    assert pd.isna(scores.loc[(EFFECT, NO_CHANGE)]["over_no_change"])


def test_a_law_that_misses_says_so_before_the_next_rung(climbed: tuple[World, Promotion]) -> None:
    table = compared(*climbed)
    assert "the law of the rungs below d6 missed by" in " ".join(forecast_scores.said(table, "d6"))
    told = forecast_scores.said(table, "d4")
    assert told[0].startswith("effects at d4 as expected: 3 of 4 by retention")
    assert not any("law" in sentence for sentence in told)


def test_killed_between_the_forecast_and_the_run_it_is_never_revised(tmp_path: Path) -> None:
    world = made(tmp_path, kill_after=15)  # all of d2
    with contextlib.suppress(Killed):
        climb(world)
    folder = world.frozen.sweep_dir
    before = {path.name: path.read_bytes() for path in folder.glob("forecast-*.json")}
    world.kill_after = None
    promotion = climb(world)
    climb(world)
    assert before
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not compared(world, promotion)["outcome"].isin([UNSCORED]).any()


def test_killed_between_the_decision_and_the_forecast_it_is_written_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = made(tmp_path)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr("sweepkit.promotion.forecast.fsio.create_json", killed)
        climb(world)
    assert not list(world.frozen.sweep_dir.glob("forecast-*.json"))
    assert not compared(world, climb(world))["outcome"].isin([UNSCORED]).any()


def test_where_runs_had_begun_it_is_after_the_fact_and_not_scored(copied: tuple[World, Promotion]) -> None:
    world, _ = copied
    for path in world.frozen.sweep_dir.glob("forecast-*.json"):
        path.unlink()
    table = compared(world, climb(world))
    assert set(table["outcome"]) == {UNSCORED}
    assert table["measured"].notna().all()
    assert forecast_scores.scored(table).empty


def test_an_edited_one_is_named_and_left_out(copied: tuple[World, Promotion]) -> None:
    world, first = copied
    path = world.frozen.sweep_dir / "forecast-2.json"
    content = json.loads(path.read_text())
    content["predictions"][0]["mean"] = 0.0
    path.write_text(json.dumps(content))
    found, problems = forecast.read(world.frozen.sweep_dir)
    assert [item.rung for item in found] == ["d6"]
    assert "forecast-2.json is not what was written" in problems[0]
    assert climb(world) == first
    assert json.loads(path.read_text()) == content, "never written again"


def test_a_rung_that_cannot_be_foretold_has_no_numbers(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, VARIANTS, depths=(2, 4), seeds=1, rule=RULE, max_promoted=2), EFFECTS)
    promotion = climb(world)
    assert compared(world, promotion).empty, "one run says nothing of its noise"
