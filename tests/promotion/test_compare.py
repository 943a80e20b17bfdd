"""Any table is judged by the rule that promotion uses: same verdicts, in any order, with what it has."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from other_tables import EFFECTS, replicated, table
from promotion_worlds import RULE, World, climb, freeze
from rich.console import Console

import sweepkit.analysis
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.errors import SweepkitError
from sweepkit.promotion import doubts, gate
from sweepkit.promotion.compare import compare
from sweepkit.promotion.verdict_record import Final, Outcome
from sweepkit.report import drawing, sheets
from sweepkit.report.sheet import Mark
from sweepkit.sweep.decision import DecisionRule, Demands, Margins


def test_it_is_the_gates_own_rule(tmp_path: Path) -> None:
    """The runs table of a real ladder, judged as a table, gives the last rung's evidence number by number."""
    frozen = freeze(tmp_path, list(EFFECTS), depths=(2,))
    world = World(frozen, EFFECTS)
    world.run_cells("d2", frozen.cells)
    frame = world.load()
    found = compare(frame, "reference", RULE).final
    for verdict in gate.decide(frame, RULE, "d2", is_last=True):
        assert found[verdict.variant].evidence.effect == verdict.evidence.effect
        adopts = verdict.outcome is Outcome.adopt
        assert found[verdict.variant].outcome is (Outcome.promote if adopts else verdict.outcome)
    assert found["better"].outcome is Outcome.promote


@pytest.mark.slow
def test_the_runs_table_of_a_ladder_adopts_what_the_ladder_did(tmp_path: Path) -> None:
    """What did not climb was not tried at the top: its planned rows cost the others nothing."""
    effects = {"slight": -0.004, **{f"no{number}": 0.05 for number in range(12)}}
    world = World(freeze(tmp_path, list(effects)), effects)
    promotion = climb(world)
    frame = world.load()
    assert (frame["state"] == "planned").sum() > 50
    found = compare(frame, "reference", RULE)
    last = {item.variant: item for item in promotion.rungs[-1].verdicts if not item.unselected}
    assert list(last) == ["slight"]
    assert found.final["slight"].evidence.p_corrected <= 3 * last["slight"].evidence.p_corrected
    assert found.promoted == promotion.of(Final.adopted) == ["slight"]
    assert any("planned and never run" in note for note in found.notes)


def test_outcomes() -> None:
    found = sweepkit.analysis.compare(table(EFFECTS), reference="baseline")
    assert found.outcome is Outcome.promote
    assert found.promoted == ["better"]
    assert found.outcome_of("worse") is Outcome.reject
    assert all(verdict.outcome is found.outcome_of(verdict.variant) for verdict in found.verdicts)
    assert compare(table({"worse": 0.05}), "baseline").outcome is Outcome.reject
    assert compare(table({"better": -0.02}, seeds=1), "baseline").outcome is Outcome.inconclusive
    assert any("wall_clock is not judged" in note for note in found.notes)


def test_the_largest_depth_has_the_last_word() -> None:
    frame = pd.concat([table({"fades": -0.02}, (12,)), table({"fades": 0.02}, (20,))])
    found = compare(frame, "baseline")
    assert found.outcome is Outcome.reject
    assert [row.rung for row in found.transfer] == ["d12", "d20"]
    assert "sign flip" in found.transfer[1].note
    only_small = pd.concat([table({"it": -0.02, "other": 0.0}, (12,)), table({"other": 0.0}, (20,))])
    assert compare(only_small, "baseline").outcome_of("it") is Outcome.inconclusive


def test_the_reference_may_have_several_rows_a_seed() -> None:
    frame = replicated(table(EFFECTS), 3)
    found = compare(frame, "baseline")
    evidence = found.final["better"].evidence
    assert len(set(evidence.reference_run_ids)) == 15
    assert (evidence.effect.n, evidence.effect.rho) == (5, pytest.approx(1 / 4))
    assert evidence.divergence.reference_runs == 15
    assert evidence.effect.df == 5 * (3 + 3 - 1) - 3
    once = compare(table(EFFECTS), "baseline").final["better"].evidence.effect
    ratio = evidence.effect.standard_error / evidence.effect.noise_sd
    assert ratio == pytest.approx(np.sqrt((1 + 1 / 3) / 5))
    assert once.standard_error / once.noise_sd == pytest.approx(np.sqrt(2 / 5))
    shuffled = frame.sample(frac=1.0, random_state=1)
    assert compare(shuffled, "baseline").outcome is found.outcome is Outcome.promote


def test_rows_in_any_order_give_the_same_numbers() -> None:
    frame = table(EFFECTS, (12, 20), total_flops=1e15)
    shuffled = frame.sample(frac=1.0, random_state=1).reset_index(drop=True)
    assert compare(frame, "baseline").to_json() == compare(shuffled, "baseline").to_json()


def test_costs_are_judged_where_the_table_has_them() -> None:
    frame = table({"slow": -0.02}, train_time_s=100.0, total_flops=1e15)
    rng = np.random.default_rng(1)
    slow = frame["variant"] == "slow"
    frame["train_time_s"] *= np.where(slow, 1.5, 1.0) * np.exp(rng.normal(0.0, 0.002, len(frame)))
    found = compare(frame, "baseline")
    assert found.outcome is Outcome.reject
    assert "worse by more than 2.0%" in found.final["slow"].reasons[0]
    assert found.notes == []


def fp8_table() -> tuple[pd.DataFrame, DecisionRule]:
    """Made up from the published numbers: 1.17× tokens/s, worse per step, 1.05× at matched capability."""
    rng = np.random.default_rng(2)
    luck = rng.normal(0.0, 0.001, 5)
    rows = []
    for name, steps, worth, speed in [
        ("bf16", 1000, 1000, 1.0), ("bf16@0.5x", 500, 500, 1.0), ("bf16@2x", 2000, 2000, 1.0),
        ("fp8", 1000, 1000 * 1.05 / 1.17, 1.17),
    ]:  # fmt: skip
        for seed in range(5):
            loss = 0.8 * (worth / 1000) ** -0.06 + luck[seed] + rng.normal(0.0, 0.0003)
            time = steps / speed * math.exp(rng.normal(0.0, 0.002))
            rows.append(
                {"variant": name, "seed": seed, "depth": 24, "val_bpb": loss, "num_steps": steps,
                 "train_time_s": time, "total_flops": 1e15 * steps}
            )  # fmt: skip
    frame = pd.DataFrame(rows).sort_values("seed", kind="stable", ignore_index=True)
    end = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(frame["train_time_s"].cumsum(), unit="s")
    frame = frame.assign(started_at=end - pd.to_timedelta(frame["train_time_s"], unit="s"), ended_at=end)
    rule = DecisionRule(
        axes=Demands("not_worse", "superior", "not_worse"),
        margins=Margins(steps=0.01),
        min_effect=0.0003,
    )
    return frame, rule


@pytest.mark.slow
def test_fp8_is_worth_having_at_equal_time() -> None:
    frame, rule = fp8_table()
    found = compare(frame, "bf16", rule)
    assert found.outcome is Outcome.promote
    wall = found.final["fp8"].evidence.axes["wall_clock"]
    assert wall.matched.speedup == pytest.approx(1.05, abs=0.01)
    assert 1 / wall.ratio == pytest.approx(1.17, abs=0.01)
    assert "at equal time shown to be better" in wall.sentence
    assert "at equal time shown to be better" in found.final["fp8"].reasons[0]
    # 0.0023 bits per byte at equal time are not worth having to somebody who wants more
    assert compare(frame, "bf16", replace(rule, min_effect=0.004)).outcome is not Outcome.promote
    # by the usual rule, which wants a gain per step, it is not
    assert compare(frame, "bf16").outcome is Outcome.reject


def test_the_axes_table_shows_what_was_decided_on() -> None:
    """A difference at equal time where there is a frontier, else a ratio; units in the header; 80 columns."""
    frame, rule = fp8_table()

    def shown(rows: pd.DataFrame) -> tuple[tuple[str, ...], str, list[str]]:
        found = compare(rows, "bf16", rule)
        sheet = sheets.axes(found.verdicts, found.decision)
        (row,) = sheet.rows
        console = Console(width=80, file=io.StringIO())
        console.print(drawing.draw(sheet))
        assert isinstance(console.file, io.StringIO)
        assert max(map(len, console.file.getvalue().splitlines())) <= 80
        assert isinstance(row[4], Mark)
        return sheet.headers, row[4].text, sheet.notes

    headers, cell, notes = shown(frame)
    assert headers[4] == "bits/byte at equal time: better?"
    matched = compare(frame, "bf16", rule).final["fp8"].evidence.axes["wall_clock"].matched
    half = (matched.high - matched.low) / 2
    assert cell == f"{matched.effect:+.5f} ± {half:.5f} met".replace("-", "−") and not notes
    alone = frame[~frame["variant"].str.contains("@")]
    headers, cell, notes = shown(alone)
    assert headers[4] == "× time: better?" and not notes
    assert cell.startswith("0.85") and "×" in cell and " to " in cell and cell.endswith("met")
    mixed = alone.assign(concurrency=[8 if name == "fp8" else 1 for name in alone["variant"]])
    headers, cell, notes = shown(mixed)
    assert cell == "– unresolved"
    assert notes[0].startswith("fp8: wall clock is not compared: concurrency 8 against the reference's 1")
    assert compare(mixed, "bf16", rule).final["fp8"].evidence.effect.low is not None, "losses compare"


def test_the_axes_table_says_that_met_is_not_corrected() -> None:
    """Of 60 variants that do nothing some are "met" by themselves, and the verdicts know why."""
    rng = np.random.default_rng(1)
    many = table({f"v{number}": 0.0 for number in range(60)})
    many["val_bpb"] += rng.normal(0.0, 0.001, len(many))
    found = compare(many, "baseline")
    met = [verdict for verdict in found.verdicts if verdict.evidence.axes["steps"].status == "met"]
    assert met and not found.promoted
    assert "met: of one variant" in sheets.axes(found.verdicts, found.decision).notes[-1]
    clear = compare(table({"better": -0.02, "worse": 0.05}), "baseline")
    assert not sheets.axes(clear.verdicts, clear.decision).notes


def test_a_diverged_run_counts_and_a_missing_one_does_not() -> None:
    frame = table({"it": -0.02}, seeds=7)
    frame["state"] = "complete"
    last = frame.index[-1]
    frame.loc[last, "val_bpb"] = np.nan
    frame.loc[last, "state"] = "failed"
    waiting = compare(frame, "baseline").final["it"]
    assert waiting.outcome is Outcome.inconclusive
    assert "lost 1 of 7 runs, the reference 0 of 7: not promoted until" in waiting.reasons[0]
    assert compare(frame.drop(columns="state"), "baseline").final["it"].evidence.missing
    frame.loc[last, "state"] = "diverged"
    assert compare(frame, "baseline").final["it"].evidence.against


def test_where_only_the_reference_was_run_nothing_is_judged() -> None:
    """A deeper baseline turns no last depth into a screen, which asks for less."""
    rng = np.random.default_rng(3)
    frame = table({"it": -0.02}, train_time_s=100.0)
    frame["train_time_s"] *= np.exp(rng.normal(0.0, 0.05, len(frame)))  # "not slower" stays open
    deeper = table({}, (24,), train_time_s=1000.0)
    found, alone = (compare(rows, "baseline") for rows in (pd.concat([frame, deeper]), frame))
    assert found.outcome is alone.outcome is Outcome.inconclusive
    assert typed.dump(found.final["it"]) == typed.dump(alone.final["it"])
    assert any("d24: the reference was run alone" in note for note in found.notes)


def test_runs_on_the_same_tokens_are_one_block_whatever_their_seeds() -> None:
    """Two runs of a variant a data order: its mean has half the noise, the reference's all of it."""
    frame = table({"it": -0.02})
    frame["pair_key"] = [f"order {seed}" for seed in frame["seed"]]
    mine = frame[frame["variant"] == "it"]
    again = mine.assign(
        seed=mine["seed"] + 100, val_bpb=mine["val_bpb"] + [0.001, -0.001, 0.0, 0.002, -0.001]
    )
    effect = compare(pd.concat([frame, again]), "baseline").final["it"].effect
    assert effect.standard_error is not None and effect.noise_sd is not None
    assert effect.standard_error / effect.noise_sd == pytest.approx(math.sqrt((1 + 1 / 2) / 5))
    assert (effect.n, effect.df) == (5, 5 * 3 - 2 - 4)


def test_other_evaluations_are_refused() -> None:
    frame = table(EFFECTS, evaluation_fingerprint="stream")
    frame.loc[frame["variant"] == "better", "evaluation_fingerprint"] = "rows"
    with pytest.raises(SweepkitError, match="evaluation_fingerprint"):
        compare(frame, "baseline")


@pytest.mark.parametrize(("effects", "status"), [({"it": -0.02}, 0), ({"it": 0.05}, 1), ({"it": -0.0003}, 3)])
def test_the_command(
    effects: dict[str, float], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, parquet = tmp_path / "runs.csv", tmp_path / "runs.parquet"
    table(effects).to_csv(csv, index=False)
    table(effects).to_parquet(parquet)
    assert main(["verdict", "--runs", str(csv), "--reference", "baseline"]) == status
    shown = capsys.readouterr().out
    assert "it" in shown and "better than baseline" in shown
    outputs = []
    for path in (csv, parquet):
        assert main(["verdict", "--runs", str(path), "--reference", "baseline", "--format", "json"]) == status
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0]["outcome"] == ("promote", "reject", "", "inconclusive")[status]
    assert outputs[0]["verdicts"][0]["evidence"]["effect"]["n"] == 5


def test_the_commands_rule_and_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "runs.csv"
    table({"it": -0.02}).to_csv(csv, index=False)
    arguments = ["verdict", "--runs", str(csv), "--reference", "baseline"]
    assert main([*arguments, "decision.min_effect=0.1"]) != 0
    capsys.readouterr()
    assert main([*arguments, "decision.alpa=0.1"]) == 2
    assert "alpha" in capsys.readouterr().err
    assert main(["verdict", "--runs", str(tmp_path / "no.csv"), "--reference", "baseline"]) == 2
    assert "be a file that exists" in capsys.readouterr().err


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_seed_is_left_out_of_all_axes_that_count(factor: float) -> None:
    """What a cost axis forbids is not shown without any seed either."""
    frame = table({"better": -0.02, "same": 0.0}, total_flops=1e12)
    frame.loc[frame["variant"] == "better", "total_flops"] *= factor
    rule = DecisionRule.from_json({"axes": {"steps": "superior", "flops": "not_worse"}})
    found = compare(frame, "baseline", rule).final["better"]
    assert (found.outcome is Outcome.promote) is (factor == 1.0)
    assert len(found.evidence.doubts.left_out) == 5
    assert {item.shown for item in found.evidence.doubts.left_out} == {factor == 1.0}


def test_what_is_not_worse_holds_without_a_seed_whatever_min_effect_is() -> None:
    frame = table({"same": 0.0, "other": 0.001}, seeds=6)
    axes = {"steps": "not_worse", "wall_clock": "ignore", "flops": "ignore"}
    rule = DecisionRule.from_json({"axes": axes, "margins": {"steps": 0.05}})
    found = compare(frame, "baseline", rule).final["same"]
    assert found.outcome is Outcome.promote
    assert found.reasons[-1] == "holds without any one of its seeds"


def test_no_seed_more_or_less_is_asked_of_what_a_divergence_holds_up() -> None:
    frame = table({"better": -0.05, "other": 0.0}, seeds=8, state="complete")
    lost = (frame["variant"] == "better") & (frame["seed"] == 3)
    frame.loc[lost, ["state", "val_bpb"]] = ["diverged", math.nan]
    found = compare(frame, "baseline").final["better"]
    assert found.outcome is Outcome.inconclusive
    (why,) = found.reasons
    assert "not promoted while more of its runs diverge" in why


def test_seeds_that_were_not_left_out_for_their_number_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table({"better": -0.05, "other": 0.0}, seeds=4)
    (holds,) = compare(frame, "baseline").final["better"].reasons[1:]
    assert holds == "holds without any one of its seeds"
    monkeypatch.setattr(doubts, "_MOST_ROWS", 3 * len(frame))
    (untried,) = compare(frame, "baseline").final["better"].reasons[1:]
    assert untried == "not tried without each of its seeds: so many runs would take too long"
