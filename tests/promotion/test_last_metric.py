"""The last rung goes by text that no rung below used; everything else by the usual one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from promotion_worlds import HOLDOUT, RULE, World, climb, freeze, settled, with_holdout

from sweepkit.analysis import calibration_file
from sweepkit.analysis.calibration import Calibration
from sweepkit.config import typed
from sweepkit.errors import ConfigError
from sweepkit.promotion import replay, story, verdict_file
from sweepkit.promotion.compare import compare
from sweepkit.promotion.verdict_record import Final, Outcome, Promotion
from sweepkit.report import sheets_findings
from sweepkit.sweep.decision import DecisionRule

HELD_BACK = f"bpb_{HOLDOUT}"
#: "fits" is better on the validation text alone.
EFFECTS = {"holds": -0.03, "fits": -0.03}
TRUTH = {"fits": 0.01}


def ended(tmp_path: Path, rule: DecisionRule = RULE, **options: Any) -> tuple[World, Promotion]:
    frozen = freeze(tmp_path, list(EFFECTS), rule=rule, plan_changes=with_holdout, **options)
    world = World(frozen, EFFECTS, held_back=TRUTH)
    return world, climb(world)


def test_what_only_fits_the_usual_text_climbs_and_is_not_adopted(tmp_path: Path) -> None:
    _, promotion = ended(tmp_path)
    assert promotion.rungs[1].survivors == ["holds", "fits"]
    assert promotion.of(Final.adopted) == ["holds"]
    assert promotion.of(Final.rejected) == ["fits"]
    assert HELD_BACK in promotion.message
    last = {verdict.variant: verdict for verdict in promotion.rungs[-1].verdicts}
    assert last["fits"].reasons[0].startswith(HELD_BACK)
    said = f"rung d6 is decided by {HELD_BACK}, text that no rung below is evaluated on"
    assert all(said in verdict.notes for verdict in last.values())
    assert not any(said in verdict.notes for verdict in promotion.rungs[0].verdicts)


def test_effects_are_followed_on_one_text_all_the_way(tmp_path: Path) -> None:
    world, promotion = ended(tmp_path)
    rows = world.load()
    here = rows[rows["rung"] == "d6"].pivot_table(index="seed", columns="variant", values="val_bpb")
    expected = (here["fits"] - here["reference"]).mean()
    last = next(row for row in promotion.transfer if (row.variant, row.rung) == ("fits", "d6"))
    assert last.effect == pytest.approx(expected)
    assert last.note.startswith("keeps")
    retained = story.retentions(promotion.rungs, RULE)
    assert [item.flips for item in retained] == [[], []], "no sign turns on the text of all rungs"
    verdict = next(item for item in promotion.rungs[-1].verdicts if item.variant == "fits")
    assert (verdict.evidence.metric, verdict.evidence.usual_metric) == (HELD_BACK, "val_bpb")
    assert verdict.effect.effect == pytest.approx(0.01, abs=0.005)
    assert verdict.followed.effect == pytest.approx(expected)
    table = pd.read_csv(world.frozen.sweep_dir / "effects.csv").set_index(["variant", "rung"])
    assert table.loc[("fits", "d6"), "metric"] == HELD_BACK
    assert table.loc[("fits", "d4"), "metric"] == "val_bpb"
    # it climbed for looking good, so it is held against its shrunken estimate
    ratio = table.loc[("fits", "d6"), "followed_effect"] / table.loc[("fits", "d4"), "shrunk"]
    assert table.loc[("fits", "d6"), "retention"] == pytest.approx(ratio)
    shown = sheets_findings.transfer(promotion.transfer, world.frozen.decision.metric)
    assert ">effect on val_bpb" in shown.headers


@pytest.mark.slow
def test_a_replay_by_the_usual_text_shows_what_it_would_have_adopted(tmp_path: Path) -> None:
    world, _ = ended(tmp_path)
    rule = replace(RULE, last_metric="val_bpb")
    stored = verdict_file.read(world.frozen)
    changed = [item for item in replay.replay(world.frozen, rule, world.load(), stored) if item.differs]
    assert [(item.variant, item.rung, item.before, item.after) for item in changed] == [
        ("fits", "d6", "reject", "adopt")
    ]
    assert not any(item.differs for item in replay.replay(world.frozen, RULE, world.load(), stored))


@pytest.mark.slow
def test_the_noise_is_that_of_the_text_that_decides(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "depth": 6, "dataset": "embedded", "dtype": "bf16", "hardware": "a processor", "total_tokens": 40960,
        "df": 30, "measured_at": "2026-01-01T00:00:00+00:00", "run_ids": (),
    }  # fmt: skip
    known = [
        Calibration(metric="val_bpb", sd=0.0021, **values),
        Calibration(metric=HELD_BACK, sd=0.0019, **values),
    ]
    _, without = ended(tmp_path / "a")
    calibration_file.add(tmp_path / "b", known)
    _, promotion = ended(tmp_path / "b")
    for verdict, plain in zip(promotion.rungs[-1].verdicts, without.rungs[-1].verdicts, strict=True):
        assert verdict.effect.df == plain.effect.df + 30
        assert verdict.followed.df == plain.followed.df + 30
        assert verdict.effect.noise_sd != verdict.followed.noise_sd


def test_with_looks_it_is_looked_at_too(tmp_path: Path) -> None:
    rule = replace(RULE, looks=(3, 5, 8), num_unselected=0)
    frozen = freeze(tmp_path, list(EFFECTS), (2, 6), 8, rule, plan_changes=with_holdout)
    world = World(frozen, EFFECTS, held_back=TRUTH)
    promotion = climb(world)
    assert (promotion.of(Final.adopted), promotion.of(Final.rejected)) == (["holds"], ["fits"])
    assert settled(climb(world)) == settled(promotion)


@pytest.mark.slow
def test_a_table_with_such_a_column_is_judged_by_it_at_its_deepest(tmp_path: Path) -> None:
    world, promotion = ended(tmp_path)
    frame = world.load()
    found = compare(frame, "reference", RULE)
    assert found.outcome_of("fits") is Outcome.reject
    assert "d6 is decided by bpb_validation_holdout, text that decides no depth below" in found.notes
    last = {verdict.variant: verdict for verdict in promotion.rungs[-1].verdicts}
    of_table, of_ladder = (vars(item["holds"].evidence.effect) for item in (found.final, last))
    for name, value in of_ladder.items():  # rows in another order are summed in another one
        assert of_table[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name
    usual = compare(frame, "reference", replace(RULE, last_metric="val_bpb"))
    assert sorted(usual.promoted) == ["fits", "holds"]
    without = compare(frame.drop(columns=HELD_BACK), "reference", RULE)
    assert "d6 is decided by val_bpb, the text of the depths below" in without.notes
    assert [row.effect for row in found.transfer] == [row.effect for row in usual.transfer]


def test_a_ladder_that_was_frozen_without_one_is_decided_as_it_was(tmp_path: Path) -> None:
    world = World(freeze(tmp_path, list(EFFECTS)), EFFECTS, held_back=TRUTH)
    promotion = climb(world)
    assert promotion.of(Final.adopted) == ["holds", "fits"]
    assert json.loads((world.frozen.sweep_dir / "frozen.json").read_text())["sweep"][
        "decision"
    ] == typed.dump(RULE)
    note = "rung d6 is decided by val_bpb, the text of the rungs below"
    last = promotion.rungs[-1].verdicts
    assert all(any(said.startswith(note) for said in verdict.notes) for verdict in last)


@pytest.mark.slow
def test_a_score_can_hold_back_and_never_promote(tmp_path: Path) -> None:
    world, _ = ended(tmp_path)
    frame = world.load()
    shift = {"holds": -0.03, "fits": 0.05, "reference": 0.0}
    noise = [0.001 * (hash_ % 7 - 3) for hash_ in range(len(frame))]
    frame["core"] = [0.2 + shift[name] + extra for name, extra in zip(frame["variant"], noise, strict=True)]
    rule = replace(RULE, scores={"core": 0.01})
    plain, scored = compare(frame, "reference", RULE), compare(frame, "reference", rule)
    assert (plain.outcome_of("holds"), scored.outcome_of("holds")) == (Outcome.promote, Outcome.reject)
    assert "lower by more than the margin 0.01" in scored.final["holds"].reasons[0]
    assert plain.outcome_of("fits") is scored.outcome_of("fits") is Outcome.reject, (
        "a good score saves nothing"
    )
    wide = compare(frame, "reference", replace(RULE, scores={"core": 0.1}))
    assert wide.outcome_of("holds") is Outcome.promote
    notes = wide.final["holds"].notes
    assert any("not lower by more than the margin 0.1" in note for note in notes)
    other = replace(RULE, scores={"other": 0.0})
    with pytest.raises(ConfigError, match=r"decision\.scores.*other"):
        compare(frame, "reference", other)
    unmeasured = compare(frame.assign(other=pd.NA), "reference", other)
    assert unmeasured.outcome_of("holds") is Outcome.inconclusive, "a guard that was not measured holds back"
    assert "other was not recorded by enough runs: not checked" in unmeasured.final["holds"].reasons[0]
    assert wide.final["holds"].evidence.scores[0].status == "met"
