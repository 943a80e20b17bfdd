"""Interim looks: what is clear early stops early, the rest gets its seeds, and nothing is decided twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promotion_worlds import RULE, Killed, World, climb, freeze, settled

from sample import is_full, sample
from sweepkit.config import typed
from sweepkit.errors import ConfigError
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.sweep.decision import DecisionRule

LOOKS = replace(RULE, looks=(3, 5, 8), num_unselected=0)
EFFECTS = {"great": -0.05, "slight": -0.002, "bad": 0.05}


def ended(tmp_path: Path, effects: dict[str, float] = EFFECTS, seed: int = 0) -> tuple[World, Promotion]:
    world = World(freeze(tmp_path, list(effects), depths=(2,), seeds=8, rule=LOOKS), effects, seed=seed)
    return world, climb(world)


def test_what_is_clear_stops_early_and_the_rest_gets_its_seeds(tmp_path: Path) -> None:
    world, promotion = ended(tmp_path)
    variant = {cell.plan.run_id: cell.variant for cell in world.frozen.cells}
    runs = [variant[run_id] for _, run_id in world.asked]
    assert {name: runs.count(name) for name in ("bad", "great")} == {"bad": 3, "great": 3}
    assert runs.count("slight") == runs.count("reference") > 3
    assert promotion.of(Final.adopted)[:1] == ["great"]
    assert promotion.of(Final.rejected)[-1:] == ["bad"]
    assert len(promotion.rungs) == 1
    assert promotion.finished


@pytest.mark.slow
def test_a_rerun_says_the_same_and_runs_nothing(tmp_path: Path) -> None:
    world, promotion = ended(tmp_path)
    asked = list(world.asked)
    assert settled(climb(world)) == settled(promotion)
    assert world.asked == asked


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", sample(range(1, 24, 4), 2))
def test_killed_at_any_look_it_ends_the_same(tmp_path: Path, kill_after: int) -> None:
    _, undisturbed = ended(tmp_path / "a")
    frozen = freeze(tmp_path / "b", list(EFFECTS), depths=(2,), seeds=8, rule=LOOKS)
    world = World(frozen, EFFECTS, kill_after=kill_after)
    with pytest.raises(Killed):
        climb(world)
    world.kill_after = None
    assert settled(climb(world)) == settled(undisturbed)


@pytest.mark.slow
@given(
    st.lists(st.sampled_from([-0.02, -0.003, -0.001, 0.0, 0.02]), min_size=1, max_size=3),
    st.integers(0, 999),
)
@settings(max_examples=6 if is_full() else 3, deadline=None)
def test_the_machine_keeps_its_promises(values: list[float], seed: int) -> None:
    import tempfile

    effects = {f"v{index}": value for index, value in enumerate(values)}
    with tempfile.TemporaryDirectory() as folder:
        world, promotion = ended(Path(folder), effects, seed)
    assert promotion.finished
    assert {final.variant for final in promotion.finals} == set(effects)
    assert all(final.outcome is not Final.pending for final in promotion.finals)
    variant = {cell.plan.run_id: cell.variant for cell in world.frozen.cells}
    runs = [variant[run_id] for _, run_id in world.asked]
    counts = {name: runs.count(name) for name in effects}
    assert set(counts.values()) <= {3, 5, 8}, "seeds are added by looks alone"
    assert runs.count("reference") == max(counts.values())
    undecided = [final.variant for final in promotion.finals if final.outcome is Final.inconclusive]
    assert all(counts[name] == 8 for name in undecided)


def test_looks_are_checked() -> None:
    for looks in ([5, 3], [1, 4], [3, 3], ["a"], 3):
        with pytest.raises(ConfigError, match=r"decision\.looks"):
            DecisionRule.from_json({"looks": looks})
    assert DecisionRule.from_json({"looks": [3, 5]}).looks == (3, 5)
    rule = DecisionRule(looks=(3, 5))
    assert DecisionRule.from_json(typed.dump(rule)) == rule


def test_one_look_at_all_seeds_is_no_look(tmp_path: Path) -> None:
    ends = {}
    for name, rule in {"plain": replace(LOOKS, looks=()), "one": replace(LOOKS, looks=(8,))}.items():
        world = World(freeze(tmp_path / name, list(EFFECTS), depths=(2,), seeds=8, rule=rule), EFFECTS)
        ends[name] = [item.evidence.p_corrected for item in climb(world).rungs[0].verdicts]
    assert np.allclose(ends["plain"], ends["one"], rtol=1e-9)
