"""A variant that equals the reference, or another one, bit for bit: said so, and it thins nobody's noise."""

from __future__ import annotations

import itertools
from random import Random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_tables import table

from sweepkit.analysis import copies
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


@pytest.mark.parametrize("data", ["same", "own"])
def test_a_copy_of_the_reference_changed_nothing(data: str) -> None:
    """Also where its rows of data have another name: packing that comes out as the same rows."""
    frame = with_copies(table({"better": -0.02}), "baseline", 1)
    frame["pair_key"] = frame["seed"].astype(str)
    frame.loc[(frame["variant"] == "copy0") & (data == "own"), "pair_key"] += " of its own"
    found = compare(frame, "baseline")
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


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=8), st.floats(-16, -10), st.randoms())
def test_merged_values_are_those_within_a_billionth(
    values: list[float], exponent: float, random: Random
) -> None:
    moved = [value * (1.0 + random.choice((-1, 1)) * 10.0**exponent) for value in values]
    mixed = [*values, *moved]
    found = copies.merged(mixed)
    assert [first == found[len(values) + place] for place, first in enumerate(found[: len(values)])] == [
        True
    ] * len(values)
    for one, other in itertools.combinations(range(len(mixed)), 2):
        if abs(mixed[one] - mixed[other]) > 1e-6:  # further than any chain of these reaches
            assert found[one] != found[other]


@pytest.mark.parametrize("moved", [1e-13, -1e-11, 3e-10])
def test_a_copy_that_was_moved_by_less_than_rounding_is_a_copy(moved: float) -> None:
    frame = table({"better": -0.02, "other": -0.0002}, seeds=4)
    near = with_copies(frame, "baseline", 5)
    is_copy = near["variant"].str.startswith("copy")
    near.loc[is_copy, "val_bpb"] += moved * near.loc[is_copy, "val_bpb"]
    alone, beside = (compare(rows, "baseline") for rows in (frame, near))
    for name, verdict in alone.final.items():
        assert beside.final[name].effect.noise_sd == pytest.approx(verdict.effect.noise_sd)
        assert beside.final[name].outcome is verdict.outcome
    assert beside.final["copy0"].effect.method == SAME
    assert "nine digits" in beside.final["copy0"].reasons[0]
    assert any("copied: copy4 seed 0 and reference seed 0" in note for note in beside.notes)


@pytest.mark.parametrize("moved", [0.0, 1e-13])
@pytest.mark.parametrize("variant", ["better", "baseline"])
def test_a_row_that_was_copied_to_another_seed_is_named(variant: str, moved: float) -> None:
    frame = table({"better": -0.02, "other": -0.0002}, seeds=4)
    row = frame[(frame["variant"] == variant) & (frame["seed"] == 2)]
    copied = pd.concat([frame, row.assign(seed=9, val_bpb=row["val_bpb"] + moved)])
    named = [note for note in compare(copied, "baseline").notes if "copied" in note]
    name = variant.replace("baseline", "reference")
    assert len(named) == 1 and f"{name} seed 2 and {name} seed 9" in named[0]
    assert not [note for note in compare(frame, "baseline").notes if "copied" in note]
    rounded = copied.assign(val_bpb=copied["val_bpb"].round(3))
    assert not [note for note in compare(rounded, "baseline").notes if "copied" in note]


def test_a_second_run_of_the_reference_with_the_same_seed_is_no_copy_moved_by_little() -> None:
    frame = table({"better": -0.02})
    row = frame[(frame["variant"] == "baseline") & (frame["seed"] == 2)]
    with pytest.raises(ConfigError, match="copy of another"):
        compare(pd.concat([frame, row.assign(val_bpb=row["val_bpb"] + 1e-13)]), "baseline")


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
