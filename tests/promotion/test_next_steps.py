"""What to do next: a command that this very sweep can be given, however its ladder stands."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from promotion_worlds import RULE, World, climb, freeze, with_holdout, with_seed

from sweepkit.config.schema import RunConfig
from sweepkit.promotion import amend, next_steps
from sweepkit.promotion.verdict_record import Final
from sweepkit.sweep import amendments
from sweepkit.sweep.frozen import load_frozen

EFFECTS: dict[Any, float] = {
    "great": -0.05, "slight": -0.003, "bad": 0.05, ("turns", 2): -0.05, ("turns", 6): 0.05,
}  # fmt: skip


def changes(variant: str, depth: int, seed: int) -> dict[str, Any]:
    config = RunConfig(seed=seed)
    config.optimizer.matrix.lr = {"great": 0.5, "slight": 0.25}.get(variant, 0.02)
    return with_holdout(variant, depth, seed) | {"config": config}


def world(tmp_path: Path, *variants: str, seeds: int = 3, min_effect: float = 0.002) -> World:
    rule = dataclasses.replace(RULE, min_effect=min_effect, num_unselected=0)
    frozen = freeze(tmp_path, list(variants), (2, 6), seeds, rule, plan_changes=changes)
    return World(frozen, EFFECTS, seed=1)


def test_before_and_on_the_way_it_is_to_go_on(tmp_path: Path) -> None:
    here = world(tmp_path, "great", "slight", "bad")
    assert next_steps.of(here.frozen, None) == ["sweepkit promote made_up runs what is missing and decides"]
    waiting = dataclasses.replace(climb(here), finished=False)
    (step,) = next_steps.of(here.frozen, waiting)
    assert step.startswith("sweepkit resume made_up --climb ")


def test_what_was_adopted_is_given_as_overrides_and_what_is_open_as_an_amendment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amendments, "with_seed", with_seed)
    here = world(tmp_path, "great", "slight", "bad", "turns")
    promotion = climb(here)
    assert promotion.of(Final.inconclusive) == ["slight"] and promotion.of(Final.adopted) == ["great"]
    adopted, amended = next_steps.of(here.frozen, promotion)
    assert adopted == "great: put optimizer.matrix.lr=0.5 into the base of your next runs"
    found = re.fullmatch(
        r"slight: sweepkit promote made_up --amend-to (\d+) adds (\d+) fresh .* = 0.05", amended
    )
    assert found is not None and int(found[1]) == 3 + int(found[2])
    amendment = amend.amend(load_frozen(tmp_path, "made_up"), int(found[1]))
    assert amendment is not None and (amendment.variants, len(amendment.seeds)) == (
        ("slight",),
        int(found[2]),
    )


@pytest.mark.parametrize("is_same", [True, False])
def test_of_several_that_were_adopted_it_is_said_what_is_not_known(is_same: bool, tmp_path: Path) -> None:
    def two(variant: str, depth: int, seed: int) -> dict[str, Any]:
        found = changes(variant, depth, seed)
        if variant == "slight" and not is_same:
            found["config"].optimizer.matrix.lr, found["config"].optimizer.x0.beta1 = 0.02, 0.5
        return found

    rule = dataclasses.replace(RULE, min_effect=0.002, num_unselected=0)
    frozen = freeze(tmp_path, ["great", "slight"], (2, 6), 5, rule, plan_changes=two)
    promotion = climb(World(frozen, {"great": -0.05, "slight": -0.05}, seed=1))
    assert promotion.of(Final.adopted) == ["great", "slight"]
    *own, both = next_steps.of(frozen, promotion)
    assert len(own) == 2 and ("take one of them" if is_same else "combine: 2") in both


def test_where_no_amendment_would_show_it_none_is_named(tmp_path: Path) -> None:
    here = world(tmp_path, "great", "slight", "bad", "turns", min_effect=1e-6)
    promotion = climb(here)
    _, open_one = next_steps.of(here.frozen, promotion)
    assert open_one.startswith("slight: more than ") and "--amend-to" not in open_one


def test_of_what_is_rejected_nothing_is_asked(tmp_path: Path) -> None:
    here = world(tmp_path, "bad", "worse", seeds=5)
    here = dataclasses.replace(here, effects=EFFECTS | {"worse": 0.1})
    promotion = climb(here)
    assert promotion.of(Final.rejected) == ["bad", "worse"]
    (step,) = next_steps.of(here.frozen, promotion)
    assert step.startswith("nothing to change")
