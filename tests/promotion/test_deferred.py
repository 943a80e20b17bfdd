"""Variants that change a scale-sensitive field climb undecided below the named depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from promotion_worlds import RULE, World, climb, freeze

from sweepkit.config import typed
from sweepkit.config.choices import Dtype
from sweepkit.config.schema import PrecisionConfig, RunConfig
from sweepkit.errors import ConfigError
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.results.record import FailureClass, RunState
from sweepkit.sweep.decision import DecisionRule


def changes(variant: str, depth: int, seed: int) -> dict[str, Any]:
    dtype = "fp8" if variant.startswith("fp8") else "bf16"
    return {"config": RunConfig(seed=seed, precision=PrecisionConfig(dtype=Dtype[dtype]))}


def rule(depth: int) -> DecisionRule:
    return DecisionRule.from_json(typed.dump(RULE) | {"scale_sensitive": {"precision": depth}})


def test_it_climbs_over_a_bad_small_rung_and_is_decided_at_its_depth(tmp_path: Path) -> None:
    effects = {("fp8", 2): 0.05, ("fp8", 4): 0.05, ("fp8", 6): -0.05, "good": -0.03, "bad": 0.05}
    frozen = freeze(
        tmp_path, ["fp8", "good", "bad"], rule=rule(6), max_promoted=1, plan_changes=changes
    )  # fmt: skip
    promotion = climb(World(frozen, effects))
    first = {verdict.variant: verdict for verdict in promotion.rungs[0].verdicts}
    assert first["fp8"].climbs and first["fp8"].outcome is Outcome.inconclusive
    assert first["fp8"].reasons[0] == "precision is declared scale-sensitive: not decided below d6"
    assert first["good"].climbs, "it takes nobody's place"
    assert not first["bad"].climbs
    last = {verdict.variant: verdict for verdict in promotion.rungs[-1].verdicts}
    assert last["fp8"].outcome is Outcome.adopt


def test_below_its_depth_nothing_is_adopted(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, ["fp8", "other"], rule=rule(24), plan_changes=changes)
    promotion = climb(World(frozen, {"fp8": -0.05, "other": -0.03}))
    last = {verdict.variant: verdict for verdict in promotion.rungs[-1].verdicts}
    assert last["fp8"].outcome is Outcome.inconclusive and not last["fp8"].climbs
    assert last["other"].outcome is Outcome.adopt


def test_divergence_still_counts(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, ["fp8", "other"], rule=rule(6), plan_changes=changes)
    fates = {("fp8", 2, seed): (RunState.diverged, FailureClass.diverged) for seed in range(1, 10)}
    promotion = climb(World(frozen, {"other": -0.03}, fates))
    assert {v.variant: v for v in promotion.rungs[0].verdicts}["fp8"].evidence.against
    assert not {v.variant: v for v in promotion.rungs[0].verdicts}["fp8"].reasons[0].startswith("precision")


@pytest.mark.parametrize("given", [{"precision": "d24"}, {"precision": 0}, ["precision"]])
def test_depths_are_whole_numbers(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"decision\.scale_sensitive"):
        DecisionRule.from_json({"scale_sensitive": given})
