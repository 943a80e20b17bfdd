"""Runs that were seen: replaced by fresh seeds, or judged after the fact; every road to a second sweep."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import roads
from roads import LR, World, sweep

from sample import sample
from sweepkit.cli import plan as plan_command
from sweepkit.config import typed
from sweepkit.errors import FrozenPlanError
from sweepkit.promotion import amend
from sweepkit.promotion.verdict_record import Final, Outcome, Promotion
from sweepkit.results.record import RunState
from sweepkit.sweep import file, frozen_head, multirun, seen
from sweepkit.sweep import frozen as freezing
from sweepkit.sweep.file import SweepFile

RATES = [0.02, 0.022, 0.024, 0.026]
HELPS = {0.022: -0.02}
BETTER = f"{LR}=0.022"

#: What a second sweep may be called and be made of, over the runs of the first one.
SECOND: dict[str, Callable[[], SweepFile]] = {
    "another name": lambda: sweep("second", RATES),
    "fewer variants": lambda: sweep("second", RATES[:3]),
    "more variants": lambda: sweep("second", [*RATES, 0.028]),
    "one seed dropped": lambda: sweep("second", RATES, seeds=[1, 3]),
    "one seed kept": lambda: sweep("second", RATES, seeds=[3, 11, 12]),
    "another level": lambda: sweep("second", RATES, decision={"alpha": 0.2}),
    "another min_effect": lambda: sweep("second", RATES, decision={"min_effect": 0.0}),
    "another metric": lambda: sweep("second", RATES, decision={"metric": "bpb_probe"}),
    "other axes": lambda: sweep(
        "second", axes={"rate": {name: [f"{LR}={rate}"] for name, rate in zip("abcd", RATES, strict=True)}},
        reference={"rate": "a"},
    ),
    "another reference": lambda: sweep("second", RATES[::-1]),
    "another evaluation": lambda: sweep(
        "second", RATES, base=["experiment=mini", "model=d2", "evaluation.every_steps=3"]
    ),
    "another limit of divergence": lambda: sweep(
        "second", RATES, base=["experiment=mini", "model=d2", "trainer.max_loss_ratio=9"]
    ),
    "two runs of the reference a seed": lambda: sweep("second", RATES, reference_replicates=2),
    "other looks": lambda: sweep("second", RATES, decision={"looks": [2, 3]}),
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "results", HELPS, seed=3)


@pytest.fixture
def first(world: World) -> Promotion:
    promotion = world.promote(sweep(rates=RATES))
    assert promotion.of(Final.adopted) == [BETTER]
    return promotion


def trainings(frozen: freezing.Frozen) -> set[tuple[str, int]]:
    return {(cell.plan.training_id, cell.plan.seed) for cell in frozen.cells}


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(list(SECOND), 5))
def test_no_road_leads_back_to_runs_that_were_seen(world: World, first: Promotion, name: str) -> None:
    known = trainings(freezing.load_frozen(world.results_dir, "first"))
    made = freezing.freeze(SECOND[name](), world.results_dir)
    assert made.seen.replaced and not made.seen.runs
    assert not trainings(made) & known
    by_seed = {
        seed: {cell.variant for cell in made.cells if cell.plan.seed == seed}
        for seed in {cell.plan.seed for cell in made.cells}
    }
    assert len(set(map(frozenset, by_seed.values()))) == 1, "pairs stay pairs"
    assert [(item.sweep, item.alpha) for item in made.seen.judged] == [("first", roads.ALPHA)]
    (sentence,) = made.seen.sentences
    assert "judged by first at α = 0.05" in sentence
    again = freezing.freeze(SECOND[name](), world.results_dir)
    assert again == made == freezing.load_frozen(world.results_dir, "second"), "the same command goes on"
    adopted = world.climb(made).of(Final.adopted)
    assert adopted or name in ("another reference", "one seed dropped"), "what helps is found on fresh seeds"


@pytest.mark.parametrize("name", sample(list(SECOND), 5))
def test_reused_runs_are_judged_after_the_fact(world: World, first: Promotion, name: str) -> None:
    wanted = SECOND[name]()
    made = freezing.freeze(wanted, world.results_dir, reuse_runs=True)
    assert not made.seen.replaced and set(made.seen.runs) <= {cell.plan.run_id for cell in made.cells}
    assert {cell.plan.seed for cell in made.cells} == set(wanted.seeds)
    promotion = world.climb(made)
    assert not promotion.of(Final.adopted)
    for verdict in promotion.rungs[-1].verdicts:
        assert verdict.outcome is not Outcome.adopt
        assert verdict.reasons[0].startswith("after the fact")
        assert "judged by first at α = 0.05" in verdict.reasons[0]
        assert verdict.evidence.after_the_fact[0].sweep == "first"


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(list(SECOND), 5))
def test_plan_shows_what_freezing_gives(
    world: World, first: Promotion, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(world.results_dir))
    path = tmp_path / "second.yaml"
    path.write_text(
        json.dumps({key: item for key, item in typed.dump(SECOND[name]()).items() if key != "name"})
    )
    for reuse_runs in (False, True):
        asked = plan_command.planned([f"sweep={path}"], reuse_runs)
        planned, said = asked.rows, asked.seen
        made = freezing.freeze(file.load(path), world.results_dir, reuse_runs=reuse_runs)
        assert [row.plan.run_id for row in planned] == [cell.plan.run_id for cell in made.cells]
        assert said == made.seen.sentences and "judged by first" in said[0]
        assert plan_command.planned([f"sweep={path}"], reuse_runs).seen == said, "frozen by now"
        shutil.rmtree(made.sweep_dir)


def test_fresh_seeds_are_the_next_unused_integers(world: World, first: Promotion) -> None:
    made = freezing.freeze(SECOND["one seed kept"](), world.results_dir)
    assert made.seen.replaced == {3: 13}
    assert sorted({cell.plan.seed for cell in made.cells}) == [11, 12, 13]
    world.climb(made)
    third = freezing.freeze(sweep("third", RATES[:2]), world.results_dir)
    assert third.seen.replaced == {1: 4, 2: 5, 3: 6}
    assert {item.sweep for item in third.seen.judged} == {"first"}, "of runs with the listed seeds"


def test_single_runs_and_multiruns_count_as_seen(world: World) -> None:
    ran = multirun.freeze(["experiment=mini", "model=d2", f"{LR}=0.02,0.5", "seed=2"], world.results_dir)
    for cell in ran.cells:
        world.run(cell.plan)
    made = freezing.freeze(sweep(rates=RATES), world.results_dir)
    assert made.seen.replaced == {2: 4} and not made.seen.judged
    assert made.seen.sentences == ["fresh seeds 4 for 2, with which runs had been seen"]


def test_a_multirun_runs_what_was_asked_for_and_says_so(world: World, first: Promotion) -> None:
    words = ["experiment=mini", "model=d2", f"{LR}=0.02,0.022", "seed=1,2,3"]
    ran = multirun.freeze(words, world.results_dir)
    assert {cell.plan.seed for cell in ran.cells} == {1, 2, 3}
    assert len(ran.seen.runs) == 6
    assert not world.climb(ran).of(Final.adopted)
    assert multirun.freeze(words, world.results_dir) == ran


@pytest.mark.parametrize(
    ("state", "is_seen"),
    [
        (RunState.complete, True),
        (RunState.diverged, True),
        (RunState.pruned, True),
        (RunState.running, False),
        (RunState.cancelled, False),
        (RunState.preempted, False),
        (RunState.failed, False),
    ],
)
def test_what_has_told_nothing_was_not_seen(world: World, state: RunState, is_seen: bool) -> None:
    plan = freezing.freeze(sweep("other", RATES), world.results_dir).cells[0].plan
    world.run(plan, state)
    assert bool(freezing.freeze(sweep(), world.results_dir).seen.replaced) is is_seen
    run_dir = world.results_dir / "runs" / plan.run_id
    (run_dir / "metrics.jsonl").write_text('{"step": 1, "train_loss": 6.0}\n')
    assert freezing.freeze(sweep("later"), world.results_dir).seen.replaced, "a step was logged"


def test_a_record_that_cannot_be_read_may_have_been(world: World) -> None:
    plan = freezing.freeze(sweep("other", RATES), world.results_dir).cells[0].plan
    world.run(plan)
    (world.results_dir / "runs" / plan.run_id / "record.json").write_bytes(b"\xff{")
    assert freezing.freeze(sweep(), world.results_dir).seen.replaced


def test_deleting_folders_does_not_unsee(world: World, first: Promotion) -> None:
    shutil.rmtree(world.results_dir / "first")
    made = freezing.freeze(sweep(rates=RATES), world.results_dir)
    assert made.seen.replaced == {1: 4, 2: 5, 3: 6}
    world.climb(made)
    shutil.rmtree(world.results_dir / "runs")
    (world.results_dir / "first" / "verdicts.json").unlink()  # promotion.json tells as much
    again = freezing.freeze(sweep("second", RATES, seeds=[4, 5]), world.results_dir)
    assert again.seen.replaced == {4: 7, 5: 8}, "6 was judged too"
    assert [item.sweep for item in again.seen.judged] == ["first"]


def test_reusing_runs_of_a_sweep_with_fresh_seeds_needs_a_new_name(world: World, first: Promotion) -> None:
    freezing.freeze(sweep("second", RATES), world.results_dir)
    with pytest.raises(FrozenPlanError, match="leave out --reuse-runs, or give the sweep file a new name"):
        freezing.freeze(sweep("second", RATES), world.results_dir, reuse_runs=True)


@pytest.mark.slow
def test_of_two_sweeps_frozen_together_the_second_to_judge_adopts_nothing(world: World) -> None:
    made = [freezing.freeze(sweep(name, RATES), world.results_dir) for name in ("first", "second")]
    apart = freezing.freeze(sweep("apart", [0.02, 0.03, 0.04, 0.05]), world.results_dir)
    assert not any(item.seen.runs or item.seen.replaced for item in (*made, apart))
    before = world.climb(made[0])
    after = world.climb(made[1])
    assert before.of(Final.adopted) == [BETTER] and not after.of(Final.adopted)
    better = next(item for item in after.rungs[-1].verdicts if item.variant == BETTER)
    assert "its runs had been judged by first at α = 0.05 before" in better.reasons[0]
    others = world.climb(apart).rungs[-1].verdicts
    assert all("the reference's runs had been judged by first" in item.notes[-1] for item in others)
    assert world.climb(made[0]) == before and world.climb(made[1]) == after, "who was first stays first"


def test_amendments_take_seeds_that_nobody_has_seen(world: World) -> None:
    world.effects = {}
    world.promote(sweep(rates=RATES))
    for cell in freezing.freeze(sweep("other", RATES, seeds=[4, 6]), world.results_dir).cells:
        world.run(cell.plan)
    frozen = freezing.load_frozen(world.results_dir, "first")
    amendment = amend.amend(frozen, 9)
    assert amendment is not None and amendment.seeds == (5, 7, 8, 9, 10, 11)


@pytest.mark.slow
def test_a_reused_lower_rung_screens_and_the_last_rung_adopts_on_fresh_runs(tmp_path: Path) -> None:
    """Seeds of the last rung chose nothing, whatever was seen below."""
    world = World(tmp_path / "results", HELPS)
    for cell in freezing.freeze(sweep("below", RATES), world.results_dir).cells:
        world.run(cell.plan)
    ladder: dict[str, Any] = {"base": ["experiment=mini"], "ladder": "mini"}
    promotion = world.promote(sweep("whole", RATES, **ladder), reuse_runs=True)
    lowest = promotion.rungs[0].verdicts
    assert all(item.reasons[0].startswith("after the fact") for item in lowest)
    assert Outcome.promote not in {item.outcome for item in lowest}
    assert BETTER in [item.variant for item in lowest if item.climbs]
    assert not any("after the fact" in item.reasons[0] for item in promotion.rungs[-1].verdicts)


def test_what_was_seen_is_frozen(world: World, first: Promotion) -> None:
    made = freezing.freeze(sweep("second", RATES), world.results_dir, reuse_runs=True)
    path = made.sweep_dir / frozen_head.FROZEN_FILE
    content = json.loads(path.read_text())
    assert typed.load(seen.Seen, content["seen"]) == made.seen
    content["seen"]["runs"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(FrozenPlanError, match="edited after it was frozen"):
        world.climb(made)
