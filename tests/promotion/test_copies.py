"""A variant that equals the reference, or another one, bit for bit: said so, and it thins nobody's noise."""

from __future__ import annotations

import pandas as pd
import pytest
from other_tables import table

from sweepkit.analysis.effects import OWN, SAME, effects
from sweepkit.errors import ConfigError
from sweepkit.promotion.compare import compare
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.sweep.decision import DecisionRule


def with_copies(frame: pd.DataFrame, of: str, count: int) -> pd.DataFrame:
    copies = [frame[frame["variant"] == of].assign(variant=f"copy{number}") for number in range(count)]
    return pd.concat([frame, *copies], ignore_index=True)


@pytest.mark.parametrize("of", ["baseline", "better"])
def test_copies_change_nobody_elses_noise(of: str) -> None:
    frame = table({"better": -0.02, "other": -0.0002}, seeds=4)
    alone = {item.variant: item for item in effects(frame, "val_bpb", 0.05, "baseline")}
    beside = {item.variant: item for item in effects(with_copies(frame, of, 5), "val_bpb", 0.05, "baseline")}
    for name, effect in alone.items():
        assert (beside[name].effect, beside[name].noise_sd, beside[name].df) == (
            pytest.approx(effect.effect),
            pytest.approx(effect.noise_sd),
            effect.df,
        )


def test_a_copy_of_the_reference_changed_nothing() -> None:
    found = compare(with_copies(table({"better": -0.02}), "baseline", 1), "baseline")
    copy = found.final["copy0"]
    assert copy.outcome is Outcome.reject
    assert copy.reasons[0].startswith("changed nothing")
    assert copy.effect.method == SAME
    assert found.final["better"].outcome is Outcome.promote


def test_a_copy_is_not_worse() -> None:
    rule = DecisionRule.from_json({"axes": {"steps": "not_worse"}})
    found = compare(with_copies(table({"worse": 0.05}), "baseline", 1), "baseline", rule)
    assert found.final["copy0"].outcome is Outcome.promote
    assert found.final["worse"].outcome is not Outcome.promote


def test_what_is_shown_to_be_worse_is_rejected_with_its_numbers() -> None:
    rule = DecisionRule.from_json({"axes": {"steps": "not_worse"}})
    worse = compare(table({"worse": 0.05, "better": -0.05}), "baseline", rule).final["worse"]
    assert worse.outcome is Outcome.reject
    assert "failed" in worse.reasons[0] and "val_bpb +0.0" in worse.reasons[1]


def test_copies_of_a_variant_share_its_verdict() -> None:
    found = compare(with_copies(table({"better": -0.02}), "better", 1), "baseline").final
    assert found["copy0"].effect.effect == found["better"].effect.effect
    assert found["copy0"].outcome is found["better"].outcome is Outcome.promote


@pytest.mark.parametrize(("seeds", "apart"), [(3, 1), (4, 1), (6, 1), (6, 2)])
def test_a_near_copy_of_the_reference_changes_nobody_elses_verdict(seeds: int, apart: int) -> None:
    """What it changes came to bear with few seeds. Counted like others it makes the reference suspect."""
    frame = table({"better": -0.02, "other": -0.0002, "third": 0.0}, seeds=seeds)
    near = with_copies(frame, "baseline", 1)
    near.loc[(near["variant"] == "copy0") & (near["seed"] < apart), "val_bpb"] -= 0.01
    alone, beside = (compare(rows, "baseline").final for rows in (frame, near))
    for name, verdict in alone.items():
        assert beside[name].effect.noise_sd == pytest.approx(verdict.effect.noise_sd)
        assert beside[name].outcome is verdict.outcome
        assert beside[name].evidence.doubts.suspect is None
    copy = beside["copy0"]
    assert (copy.outcome, copy.effect.method) == (Outcome.inconclusive, OWN)
    assert copy.effect.effect == pytest.approx(-0.01 * apart / seeds)


@pytest.mark.parametrize("seeds", [2, 4, 9])
def test_a_table_is_looked_at_when_the_rule_says(seeds: int) -> None:
    rule = DecisionRule.from_json({"looks": [3, 5, 8]})
    with pytest.raises(ConfigError, match=f"decision.looks.*has {seeds} of them"):
        compare(table({"better": -0.02}, seeds=seeds), "baseline", rule)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_at_a_look_it_decides(seeds: int) -> None:
    rule = DecisionRule.from_json({"looks": [3, 5, 8]})
    frame = table({"better": -0.02, "same": 0.0, "worse": 0.02}, seeds=seeds)
    found = compare(frame, "baseline", rule).final["better"]
    assert found.outcome is Outcome.promote
