"""The ladder as a state machine: interrupted anywhere, tampered with, rerun, always the same end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from promotion_worlds import EFFECTS, RULE, VARIANTS, World, climb, files, freeze, settled

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import FrozenPlanError, StorageError, SweepkitError
from sweepkit.promotion import gate, ladder, verdict_file
from sweepkit.promotion.verdict_record import Final, Promotion, RungResult
from sweepkit.results.record import FailureClass, RunState
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.frozen import load_frozen

pytestmark = pytest.mark.xdist_group("ladder")


TAMPERED = [(file, moment) for file in ("plan.jsonl", "frozen.json") for moment in ("d2", "d4", "d6")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(freeze(tmp_path_factory.mktemp("shared"), VARIANTS), EFFECTS)
    climb(world)
    return world


@pytest.fixture
def climbed(shared: World, tmp_path: Path) -> World:
    """A ladder that was climbed, in a folder of its own."""
    results = shutil.copytree(shared.frozen.sweep_dir.parent, tmp_path / "climbed")
    return replace(shared, frozen=load_frozen(results, shared.frozen.name), done=dict(shared.done))


@pytest.mark.slow
def test_what_holds_is_adopted_and_the_rest_is_told_why(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, VARIANTS), EFFECTS)
    promotion = climb(world)
    assert promotion.finished
    assert promotion.of(Final.adopted) == ["holds"]
    finals = {final.variant: final for final in promotion.finals}
    assert (finals["hurts"].outcome, finals["hurts"].rung) == (Final.rejected, "d2")
    assert (finals["fades"].outcome, finals["fades"].rung) == (Final.rejected, "d4")
    assert all(final.reasons for final in promotion.finals)
    assert promotion.message.startswith("adopted: holds")


def test_only_the_reference_and_survivors_are_run_where_no_unselected_are_wanted(tmp_path: Path) -> None:
    rule = replace(RULE, num_unselected=0)
    world = World(freeze(tmp_path, VARIANTS, rule=rule), EFFECTS)
    promotion = climb(world)
    survivors = {result.rung: set(result.survivors) for result in promotion.rungs}
    variant = {cell.plan.run_id: cell.variant for cell in world.frozen.cells}
    for below, above in (("d2", "d4"), ("d4", "d6")):
        run = {variant[run_id] for rung, run_id in world.asked if rung == above}
        assert run == survivors[below] | {"reference"}


def test_the_transfer_story_follows_a_variant_up(climbed: World) -> None:
    promotion = climb(climbed)
    rows = {(row.variant, row.rung): row for row in promotion.transfer}
    assert [row.depth for row in promotion.transfer if row.variant == "holds"] == [2, 4, 6]
    assert rows["holds", "d4"].note.startswith("keeps")
    assert rows["fades", "d4"].note == "sign flip against d2: shown on both rungs"
    assert [row.depth for row in promotion.transfer if row.variant == "hurts"] == [2, 4, 6], "unselected"


def test_files_say_what_the_promotion_says(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, VARIANTS), EFFECTS, on_disk=True)  # through the store
    promotion = climb(world)
    folder = world.frozen.sweep_dir
    assert typed.load(Promotion, fsio.read_json(folder / "promotion.json")) == promotion
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert [(v["rung"], v["variant"], v["outcome"]) for v in verdicts["verdicts"]] == [
        (result.rung, verdict.variant, verdict.outcome.value)
        for result in promotion.rungs
        for verdict in result.verdicts
    ]
    assert verdicts["frozen_sha256"] == world.frozen.sha256
    effects = pd.read_csv(folder / "effects.csv")
    assert list(effects[effects["rung"] == "d2"]["variant"]) == VARIANTS
    assert effects["effect"].notna().all()
    assert {"low", "high", "p_corrected", "flops_ratio", "outcome"} <= set(effects.columns)
    assert not {"ratio", "median_step_time_s"} & set(effects.columns)
    assert len(pd.read_csv(folder / "runs.csv")) == len(world.frozen.cells)
    assert set(pd.read_csv(folder / "costs.csv")["status"]) == {"met"}


def test_nothing_that_climbs_ends_the_ladder_early(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, ["hurts", "bad"]), {"hurts": 0.08, "bad": 0.2})
    promotion = climb(world)
    assert promotion.finished
    assert [result.rung for result in promotion.rungs] == ["d2"]
    assert promotion.of(Final.rejected) == ["hurts", "bad"]
    assert "stopped after rung d2" in promotion.message
    assert {rung for rung, _ in world.asked} == {"d2"}


def test_a_single_rung_adopts_at_once(tmp_path: Path) -> None:
    promotion = climb(World(freeze(tmp_path, ["holds"], depths=(2,)), EFFECTS))
    assert promotion.of(Final.adopted) == ["holds"]


@pytest.mark.slow
def test_a_rerun_decides_and_runs_nothing_again(climbed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world, before = climbed, files(climbed.frozen)
    first = typed.load(Promotion, fsio.read_json(world.frozen.sweep_dir / "promotion.json"))

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("decided twice")

    monkeypatch.setattr(gate, "decide", never)
    told: list[RungResult] = []
    again = ladder.promote(world.frozen, never, world.load, on_decision=told.append)
    assert again == first
    assert told == first.rungs
    assert files(world.frozen) == before


@pytest.mark.slow
def test_a_damaged_or_deleted_store_of_decisions_is_rebuilt_the_same(climbed: World) -> None:
    world = climbed
    before = files(world.frozen)
    path = verdict_file.path(world.frozen)
    for damage in ("{", "[]", '{"frozen_sha256": 1}', before["verdicts.json"].replace("verdicts", "x"), None):
        path.unlink() if damage is None else path.write_text(damage)
        climb(world)
        assert files(world.frozen) == before


def test_decisions_of_a_newer_version_are_not_replaced(climbed: World) -> None:
    world = climbed
    path = verdict_file.path(world.frozen)
    fsio.write_json(path, fsio.read_json(path) | {"schema_version": 2})
    newer = path.read_text()
    with pytest.raises(SweepkitError, match=r"verdicts\.json has schema_version 2, but must have 1 or less"):
        climb(world)
    assert path.read_text() == newer


@pytest.mark.slow
def test_a_decision_edited_by_hand_is_not_believed(climbed: World) -> None:
    world = climbed
    before = files(world.frozen)
    edited = (
        before["verdicts.json"].replace('"reject"', '"adopt"').replace('"climbs": false', '"climbs": true')
    )
    assert edited != before["verdicts.json"]
    verdict_file.path(world.frozen).write_text(edited)
    climb(world)
    assert files(world.frozen) == before


def test_other_inputs_are_decided_anew(climbed: World) -> None:
    assert climb(climbed).of(Final.adopted) == ["holds"]
    assert "holds" in climb(World(climbed.frozen, {**EFFECTS, "holds": 0.08})).of(Final.rejected)


@pytest.mark.slow
def test_runs_that_have_not_ended_are_waited_for(tmp_path: Path, climbed: World) -> None:
    world = World(freeze(tmp_path, VARIANTS), EFFECTS)
    asked: list[str] = []
    waiting = ladder.promote(world.frozen, lambda rung, cells: asked.append(rung), world.load)
    assert not waiting.finished
    assert asked == ["d2"]
    assert "rung d2 waits for 25 runs" in waiting.message
    assert {final.outcome for final in waiting.finals} == {Final.pending}
    world.run_cells("d2", [cell for cell in world.frozen.cells if cell.rung == "d2"])
    waiting = ladder.promote(world.frozen, lambda rung, cells: asked.append(rung), world.load)
    assert asked == ["d2", "d4"]
    outcomes = {final.variant: final.outcome for final in waiting.finals}
    assert (outcomes["hurts"], outcomes["holds"]) == (Final.rejected, Final.pending)
    assert settled(climb(world)) == settled(climb(climbed))


def test_failed_runs_may_be_retried(tmp_path: Path) -> None:
    world = World(
        freeze(tmp_path, ["holds"]), EFFECTS, {("holds", 2, 1): (RunState.failed, FailureClass.crash)}
    )
    assert climb(world).rungs[0].verdicts[0].evidence.effect.n == 4
    asked: list[str] = []

    def retry(rung: str, cells: list[Cell]) -> None:
        asked.append(rung)
        world.done = {run_id: record for run_id, record in world.done.items() if record.state != "failed"}
        world.fates = {}
        world.run_cells(rung, cells)

    again = ladder.promote(world.frozen, retry, world.load, retry_failed=True)
    assert asked == ["d2"]
    assert again.rungs[0].verdicts[0].evidence.effect.n == 5


def test_a_preempted_run_is_not_an_end(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, ["holds"]), EFFECTS, {("holds", 2, 1): (RunState.preempted, None)})
    assert not climb(world).finished


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "moment"), [("plan.jsonl", "d2"), ("frozen.json", "d4"), ("plan.jsonl", "d6")]
)
def test_a_plan_or_rule_edited_on_the_way_is_refused(tmp_path: Path, file: str, moment: str) -> None:
    world = World(freeze(tmp_path, VARIANTS), EFFECTS)
    path = world.frozen.sweep_dir / file
    original = path.read_text()

    def run_and_tamper(rung: str, cells: Any) -> None:
        world.run_cells(rung, cells)
        if rung == moment:
            edited = original.replace('"alpha": 0.1', '"alpha": 0.4').replace('"seed":1', '"seed":9')
            assert edited != original
            path.write_text(edited)

    with pytest.raises(FrozenPlanError, match="restore it"):
        ladder.promote(world.frozen, run_and_tamper, world.load)
    with pytest.raises(FrozenPlanError):
        climb(world)
    decided = verdict_file.read(world.frozen)
    assert moment not in decided, "a decision was made by a tampered plan"
    path.write_text(original)
    assert climb(world).of(Final.adopted) == ["holds"]


def test_another_sweep_under_the_same_name_is_refused(tmp_path: Path) -> None:
    world = World(freeze(tmp_path / "a", VARIANTS), EFFECTS)
    other = freeze(tmp_path / "b", ["holds"])
    for name in ("plan.jsonl", "frozen.json"):
        shutil.copy(other.sweep_dir / name, world.frozen.sweep_dir / name)
    with pytest.raises(FrozenPlanError, match="this promotion began"):
        climb(world)


def test_a_full_disk_is_said_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(freeze(tmp_path, VARIANTS), EFFECTS)

    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("sweepkit.fsio.write_text", full)
        with pytest.raises(SweepkitError, match="disk is full"):
            climb(world)
    assert climb(world).of(Final.adopted) == ["holds"]
