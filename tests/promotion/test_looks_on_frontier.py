"""Looks at a last rung that has the reference's other horizons, and variants that are not decided there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from promotion_worlds import RULE, World, climb, freeze, settled

from sweepkit.analysis import spending
from sweepkit.config.choices import Dtype
from sweepkit.config.schema import PrecisionConfig, RunConfig
from sweepkit.promotion import gate
from sweepkit.promotion.verdict_record import Final, Outcome, Promotion
from sweepkit.sweep.decision import DecisionRule

pytestmark = pytest.mark.xdist_group("looks on frontier")

HORIZONS = (0.5, 2.0)
EFFECTS = {"great": -0.05, "slight": -0.002, "fp8": -0.05}
LOOKS = (3, 5, 8)


def changes(variant: str, depth: int, seed: int) -> dict[str, Any]:
    dtype = "fp8" if variant == "fp8" else "bf16"
    return {"config": RunConfig(seed=seed, precision=PrecisionConfig(dtype=Dtype[dtype]))}


def rule(from_depth: int) -> DecisionRule:
    return replace(RULE, looks=LOOKS, num_unselected=0, scale_sensitive={"precision": from_depth})


def ended(tmp_path: Path, from_depth: int, depths: tuple[int, ...] = (6,)) -> tuple[World, Promotion]:
    frozen = freeze(
        tmp_path, list(EFFECTS), depths, LOOKS[-1], rule(from_depth), plan_changes=changes, horizons=HORIZONS
    )
    world = World(frozen, EFFECTS)
    return world, climb(world)


def runs_of(world: World, rung: str) -> Counter[str]:
    variant = {cell.plan.run_id: cell.variant for cell in world.frozen.cells}
    return Counter(variant[run_id] for where, run_id in world.asked if where == rung)


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Promotion]:
    """FP8 is not decided below d24, and the last rung is d6."""
    return ended(tmp_path_factory.mktemp("below"), from_depth=24, depths=(4, 6))


@pytest.mark.slow
def test_other_horizons_get_the_seeds_of_the_looks_that_were_taken(below: tuple[World, Promotion]) -> None:
    world, promotion = below
    runs = runs_of(world, "d6")
    assert "great" in promotion.of(Final.adopted) and runs["great"] == LOOKS[0]
    assert runs["reference"] == runs["reference@0.5x"] == runs["reference@2x"] == runs["slight"] > LOOKS[0]


@pytest.mark.slow
def test_what_is_not_decided_here_climbs_to_the_top_and_costs_one_look(
    below: tuple[World, Promotion],
) -> None:
    world, promotion = below
    first, last = ({v.variant: v for v in result.verdicts}["fp8"] for result in promotion.rungs)
    assert first.climbs and not last.climbs
    assert first.outcome is last.outcome is Outcome.inconclusive
    assert last.reasons[0] == "precision is declared scale-sensitive: not decided below d24"
    assert runs_of(world, "d6")["fp8"] == LOOKS[0], "no number of seeds would decide it"
    others = [verdict.evidence.num_variants for verdict in promotion.rungs[-1].verdicts]
    assert sorted(others) == [1, 2, 2], "it costs the others nothing"


@pytest.mark.slow
def test_a_rerun_says_the_same(below: tuple[World, Promotion]) -> None:
    world, promotion = below
    asked = list(world.asked)
    assert settled(climb(world)) == settled(promotion) and world.asked == asked


def test_a_look_is_decided_on_the_frontier_of_its_own_seeds(below: tuple[World, Promotion]) -> None:
    """The first look's p is what its seeds alone give on their frontier, at the level it may spend."""
    world, promotion = below
    rows = world.load()
    rows = rows[(rows["rung"] == "d6") & (rows["seed"] <= LOOKS[0])]
    alone = gate.decide(rows, replace(rule(24), looks=()), "d6", is_last=True, apart=["fp8"])
    for verdict in alone:
        assert verdict.evidence.axes["wall_clock"].matched is not None, "held against the frontier"
    plain = next(verdict for verdict in alone if verdict.variant == "great")
    looked = next(verdict for verdict in promotion.rungs[-1].verdicts if verdict.variant == "great")
    expected = spending.sequential_p([plain.evidence.p], [LOOKS[0] / LOOKS[-1]])
    assert looked.evidence.p == pytest.approx(expected) and expected > plain.evidence.p
    assert looked.evidence.axes["wall_clock"] == plain.evidence.axes["wall_clock"]


@pytest.mark.slow
def test_from_its_depth_on_it_is_decided_at_the_first_look_that_shows_it(tmp_path: Path) -> None:
    world, promotion = ended(tmp_path, from_depth=6)
    assert {"great", "fp8"} <= set(promotion.of(Final.adopted))
    assert runs_of(world, "d6")["fp8"] == LOOKS[0]
