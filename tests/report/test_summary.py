"""Summaries against arithmetic done by hand."""

from __future__ import annotations

import statistics
from pathlib import Path

import made_up_runs as made_up
import pandas as pd
import pytest

import sample
from sweepkit.analysis.effects import effects
from sweepkit.report import sheets
from sweepkit.report.summary import summarise
from sweepkit.results import store


@pytest.fixture
def runs(tmp_path: Path) -> pd.DataFrame:
    made_up.sweep(tmp_path, depths=(2, 4))
    return store.load("demo", tmp_path)


def test_means_spread_and_paired_difference(runs: pd.DataFrame) -> None:
    row = summarise(runs).set_index(["rung", "variant"]).loc[("d2", "mlp=8")]
    mine = runs[(runs["rung"] == "d2") & (runs["variant"] == "mlp=8")]["val_bpb"].tolist()
    base = runs[(runs["rung"] == "d2") & (runs["variant"] == "reference")]["val_bpb"].tolist()
    assert row["mean"] == pytest.approx(statistics.mean(mine))
    assert row["sd"] == pytest.approx(statistics.stdev(mine))
    assert row["delta"] == pytest.approx(statistics.mean(a - b for a, b in zip(mine, base, strict=True)))
    assert row["num_pairs"] == 3
    assert row["time_ratio"] == pytest.approx(1.3, rel=0.05)
    assert row["flops_ratio"] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4 if sample.is_full() else 2))
def test_a_difference_is_the_effect_that_is_judged_whatever_runs_are_missing(
    runs: pd.DataFrame, seed: int
) -> None:
    """To the last bit, also of a part of the variants."""
    here = runs[runs["rung"] == "d2"]
    lost = here.sample(frac=0.3, random_state=sample.seed() + seed).index
    here = here.assign(state=here["state"].where(~here.index.isin(lost), "failed"))
    done = here.assign(val_bpb=here["val_bpb"].where(here["state"] == "complete"))
    found = {item.variant: item for item in effects(done, "val_bpb", 0.05)}
    few = here[here["variant"].isin(["reference", "mlp=8"])]
    for rows in (summarise(here), summarise(few, among=here)):
        for row in rows[~rows["is_reference"]].to_dict("records"):
            effect = found[row["variant"]]
            assert row["delta"] == effect.effect or (pd.isna(row["delta"]) and effect.effect is None)
            assert row["num_pairs"] == effect.n or pd.isna(row["delta"])


def test_failed_runs_are_counted_and_only_whole_pairs_compared(runs: pd.DataFrame) -> None:
    row = summarise(runs).set_index(["rung", "variant"]).loc[("d2", "lr=high")]
    assert row["num_runs"] == 3
    assert row["num_complete"] == 2
    assert row["num_pairs"] == 2
    assert row["states"] == "2 complete, 1 diverged"


def test_nothing_measured_is_missing(runs: pd.DataFrame) -> None:
    row = summarise(runs).set_index(["rung", "variant"]).loc[("d4", "lr=high")]
    for name in ("mean", "sd", "delta", "tokens_per_s", "time_ratio"):
        assert pd.isna(row[name])
    assert summarise(runs[runs["state"] == "planned"])["mean"].isna().all()


def test_the_reference_has_no_difference_to_itself(runs: pd.DataFrame) -> None:
    rows = summarise(runs)
    assert rows[rows["is_reference"]]["delta"].isna().all()


def test_a_metric_nobody_measured_yet_is_missing(runs: pd.DataFrame) -> None:
    assert summarise(runs, "bpb_web")["mean"].isna().all()


def test_a_variant_without_a_pair_has_no_difference_and_the_table_says_why(runs: pd.DataFrame) -> None:
    apart = runs.assign(pair_key=runs["pair_key"].where(runs["variant"] != "mlp=8", "another data order"))
    row = summarise(apart).set_index(["rung", "variant"]).loc[("d2", "mlp=8")]
    assert pd.isna(row["delta"]) and not pd.isna(row["mean"])
    (note,) = [note for note in sheets.summary(apart).notes if note.startswith("Δ reference – beside a mean")]
    assert "shares its data order with a run of the reference" in note
    assert not sheets.summary(runs).notes, "what diverged everywhere has no mean either"
