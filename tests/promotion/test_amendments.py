"""Amendments: seeds beyond the plan, decided on alone, at a level that halves; never twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from promotion_worlds import RULE, Killed, World, climb, freeze, settled, with_holdout, with_seed

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import ConfigError, FrozenPlanError
from sweepkit.promotion import amend, replay, verdict_file
from sweepkit.promotion.verdict_record import Final, Outcome, Promotion
from sweepkit.sweep import amendments
from sweepkit.sweep.frozen import Frozen, load_frozen

#: Too small for the plan's seeds to show, and large enough for more of them.
EFFECTS: dict[Any, float] = {
    "great": -0.05, "slight": -0.003, "bad": 0.05,
    ("turns", 2): -0.05, ("turns", 6): 0.05,
}  # fmt: skip
VARIANTS = ["great", "slight", "bad", "turns"]


@pytest.fixture(autouse=True)
def made_up_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amendments, "with_seed", with_seed)


def planned(tmp_path: Path, **options: Any) -> Frozen:
    rule = replace(RULE, min_effect=0.0001, num_unselected=0)
    return freeze(tmp_path, VARIANTS, (2, 6), 3, rule, plan_changes=with_holdout, **options)


def reloaded(world: World) -> World:
    """The same world over the sweep as it now is on disk."""
    return replace(world, frozen=load_frozen(world.frozen.sweep_dir.parent, world.frozen.name))


def decided(tmp_path: Path, **options: Any) -> World:
    world = World(planned(tmp_path, **options), EFFECTS, seed=1)
    assert climb(world).of(Final.inconclusive) == ["slight"], "the made-up world is as it is meant to be"
    return reloaded(world)


def amended(world: World, to_seeds: int, variants: tuple[str, ...] = ()) -> World:
    amend.amend(world.frozen, to_seeds, variants)
    return reloaded(world)


def test_fresh_seeds_alone_decide_what_was_open(tmp_path: Path) -> None:
    before = decided(tmp_path)
    world = amended(before, 15)
    promotion = climb(world)
    assert promotion.of(Final.adopted) == ["great", "slight"]
    with pytest.raises(ConfigError, match=r"--amend-to is 20, but must be for what.*--amend-variant .turns"):
        amend.amend(reloaded(world).frozen, 20)
    result = promotion.rungs[-1]
    assert (result.rung, result.amendment, result.depth) == ("d6-amendment-1", 1, 6)
    (verdict,) = result.verdicts
    (amendment,) = world.frozen.amendments
    used = {cell.plan.seed for cell in before.frozen.cells}
    assert not used & set(amendment.seeds) and len(amendment.seeds) == 12
    fresh = {cell.plan.run_id for cell in amendment.cells}
    assert set(verdict.evidence.run_ids) | set(verdict.evidence.reference_run_ids) == fresh
    assert verdict.evidence.effect.n == 12 and verdict.evidence.num_variants == 1
    assert verdict.evidence.metric == "bpb_validation_holdout", "it goes by the last rung's text"
    rule = world.frozen.rule_on(result.rung)
    assert rule.alpha == RULE.alpha / 2 and f"≤ α = {rule.alpha:g}" in verdict.reasons[0]
    assert any(
        "12 fresh seeds alone, at α = 0.05; the plan and 1 amendment" in note for note in verdict.notes
    )
    assert (
        "1 amendment on fresh seeds, with which all decisions together are wrong at most 0.15"
        in promotion.message
    )
    assert {row.rung for row in promotion.transfer} == {"d2", "d6"}, "it is no further depth"
    assert typed.load(Promotion, fsio.read_json(world.frozen.sweep_dir / "promotion.json")) == promotion


@pytest.mark.slow
def test_asking_again_asks_for_nothing_and_a_rerun_runs_nothing(tmp_path: Path) -> None:
    world = amended(decided(tmp_path), 6)
    first, asked = climb(world), list(world.asked)
    again = amended(world, 6)
    assert again.frozen.amendments == world.frozen.amendments
    assert settled(climb(again)) == settled(first) and world.asked == asked


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [0, 3, 5])
def test_killed_anywhere_it_ends_the_same(tmp_path: Path, kill_after: int) -> None:
    undisturbed = settled(climb(amended(decided(tmp_path / "a"), 6)))
    world = amended(decided(tmp_path / "b"), 6)
    world.kill_after = kill_after
    with pytest.raises(Killed):
        climb(world)
    world.kill_after = None
    assert settled(climb(amended(world, 6))) == undisturbed


@pytest.mark.slow
def test_a_second_one_halves_again_and_is_fresh_again(tmp_path: Path) -> None:
    world = amended(decided(tmp_path), 5)
    climb(world)
    world = amended(reloaded(world), 8, ("slight", "turns"))
    promotion = climb(world)
    first, second = world.frozen.amendments
    assert not set(first.seeds) & set(second.seeds)
    assert (second.variants, len(second.seeds), second.previous) == (("slight", "turns"), 3, first.sha256)
    assert world.frozen.rule_on(second.rung).alpha == RULE.alpha / 4
    assert promotion.of(Final.rejected) == ["bad", "turns"]
    assert "2 amendments on fresh seeds, with which all decisions together are wrong at most 0.175" in (
        promotion.message
    )


@given(st.floats(0.001, 0.4), st.integers(1, 40))
def test_all_levels_together_are_the_sum_that_is_said(alpha: float, number: int) -> None:
    levels = [alpha] + [amendments.level(alpha, place) for place in range(1, number + 1)]
    assert amendments.total(alpha, number) == pytest.approx(sum(levels)) and sum(levels) < 2 * alpha * (
        1 + 1e-12
    )


def test_while_it_runs_its_variants_are_pending_and_no_other_is_recorded(tmp_path: Path) -> None:
    world = amended(decided(tmp_path), 6)
    world.kill_after = 0
    with pytest.raises(Killed):
        climb(world)
    from sweepkit.promotion import ladder

    waiting = ladder.promote(world.frozen, lambda rung, cells: None, world.load)
    assert not waiting.finished and "rung d6-amendment-1 waits for 6 runs" in waiting.message
    assert (waiting.of(Final.pending), waiting.of(Final.adopted)) == (["slight"], ["great"])
    with pytest.raises(ConfigError, match=r"--amend-to is 9, but must follow a decision.*d6-amendment-1"):
        amend.amend(reloaded(world).frozen, 9)


def test_what_cannot_be_amended(tmp_path: Path) -> None:
    fresh = planned(tmp_path / "a")
    with pytest.raises(ConfigError, match="follow a decision, and d6 has none"):
        amend.amend(fresh, 9)
    world = decided(tmp_path / "b")
    for variants, to_seeds, message in (
        (("great",), 6, "--amend-variant is 'great', but must have been judged on rung d6 and not adopted"),
        (("bad",), 6, "'bad', but must have been judged on rung d6"),  # it never came there
        (("slihgt",), 6, "did you mean 'slight'"),
        ((), 4, "--amend-to is 4, but must be at least 5"),
        (("slight",), 2, "be more than the 3 seeds that there are"),
    ):
        with pytest.raises(ConfigError, match=message):
            amend.amend(world.frozen, to_seeds, variants)
    assert amend.amend(world.frozen, 2) is None
    assert not reloaded(world).frozen.amendments


@pytest.mark.parametrize("damage", ["edit", "delete", "swap"])
def test_an_edited_or_missing_one_is_refused(tmp_path: Path, damage: str) -> None:
    world = amended(decided(tmp_path), 5)
    climb(world)
    world = amended(reloaded(world), 7, ("slight",))
    folder = world.frozen.sweep_dir
    one, two = folder / "amendment-1.json", folder / "amendment-2.json"
    if damage == "edit":
        one.write_text(one.read_text().replace('"slight"', '"bad"'))
    elif damage == "delete":
        one.unlink()
    else:
        two.write_text(one.read_text())
    with pytest.raises(FrozenPlanError, match=r"amendment-[12]\.json is missing, edited or of another plan"):
        load_frozen(folder.parent, world.frozen.name)


def test_two_commands_at_once_agree_or_one_is_refused(tmp_path: Path) -> None:
    world = decided(tmp_path)
    one = amend.amend(world.frozen, 5)
    assert amend.amend(world.frozen, 5) == one, "the second had not seen the first"
    with pytest.raises(FrozenPlanError, match="recorded by another command meanwhile"):
        amend.amend(world.frozen, 8)
    assert len(reloaded(world).frozen.amendments) == 1


@pytest.mark.slow
def test_the_table_and_a_replay_know_them(tmp_path: Path) -> None:
    before = decided(tmp_path)
    before.on_disk = True
    for cell in before.frozen.cells:
        before.done.pop(cell.plan.run_id, None)
    climb(before)
    world = amended(before, 15)
    climb(world)
    rows = world.load()
    assert (rows["rung"] == "d6-amendment-1").sum() == len(world.frozen.amendments[0].cells) == 24
    stored = verdict_file.read(world.frozen)
    assert not any(item.differs for item in replay.replay(world.frozen, world.frozen.decision, rows, stored))
    strict = replace(world.frozen.decision, alpha=1e-9)
    found = {
        (item.variant, item.rung): item.after for item in replay.replay(world.frozen, strict, rows, stored)
    }
    assert found["slight", "d6-amendment-1"] == Outcome.inconclusive.value
