"""Tables of real runs (tests/tables/README.md), imported and judged, with the answers known of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from sweepkit import results
from sweepkit.cli.main import main

TABLES = Path(__file__).parents[1] / "tables"
FOR_FITS = Path(__file__).parents[1] / "analysis" / "laws_tables"
Run = Callable[..., Any]


@pytest.fixture
def sweepkit(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command line; its status and what it printed, a verdict as JSON."""

    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = main(list(words))
        said = capsys.readouterr()
        return status, json.loads(said.out) if "json" in words else said.out + said.err

    return run


def imported(sweepkit: Run, table: str, *words: str) -> pd.DataFrame:
    path = next(folder / table for folder in (TABLES, FOR_FITS) if (folder / table).is_file())
    status, said = sweepkit("import", str(path), "--name", "theirs", *words)
    assert status == 0, said
    return results.load("theirs")


LAYERDROPOUT = (
    "--variant=configuration", "--metric=final_loss=lower,nats/token", "--reference=baseline",
    "--map", "time_seconds=train_time_s", "steps=num_steps",
)  # fmt: skip


def test_nothing_beats_the_speedruns_baseline_clearly(sweepkit: Run) -> None:
    runs = imported(sweepkit, "modded_layerdropout.csv", *LAYERDROPOUT)
    assert len(runs) == 20 and runs["seed"].isna().all()  # a run's number is no seed
    status, found = sweepkit("verdict", "--runs", "theirs", "--format", "json", "decision.min_effect=0.001")
    assert status == 3
    outcomes = {item["variant"]: item["outcome"] for item in found["verdicts"]}
    assert outcomes == {
        "topological_r8": "inconclusive", "weighted_r8": "inconclusive", "weighted_r6": "reject",
    }  # fmt: skip
    assert "shown_after_the_fact" not in found
    groups = {name: list(group) for name, group in runs.groupby("variant")["final_loss"]}
    pooled = math.sqrt(sum(pd.Series(group).var() for group in groups.values()) / 4)
    for item in found["verdicts"]:
        assert item["evidence"]["effect"]["method"] == "one-way"
        assert item["evidence"]["effect"]["noise_sd"] == pytest.approx(pooled)
        assert "after the fact" in item["reasons"][-1]
    assert any("shared seeds" in note and "would have taken" in note for note in found["notes"])


def test_a_speedruns_rule_gives_its_published_answers(sweepkit: Run) -> None:
    """An entry counts when (3.28 - mean) sqrt(n) >= 0.004, with sigma 0.0013, within a step count."""
    runs = imported(
        sweepkit, "modded_track3_part.csv", "--variant=entry", "--metric=val_loss=lower,nats/token",
        "--map", "train_time=train_time_s", "last_step=num_steps", "--duplicates=drop",
    )  # fmt: skip
    status, found = sweepkit(
        "verdict", "--runs", "theirs", "--target", "3.28", "--sigma", "0.0013", "--format", "json"
    )
    assert status == 0
    margins = {
        key: (3.28 - group.mean()) * math.sqrt(len(group))
        for key, group in runs.groupby(["variant", "num_steps"])["val_loss"]
    }
    assert len(margins) == len(found["groups"]) == 34
    assert sorted(item["margin"] for item in found["groups"]) == pytest.approx(sorted(margins.values()))
    for item in found["groups"]:
        assert (item["outcome"] == "promote") == (item["margin"] >= 0.004), item
        assert item["p"] == pytest.approx(stats.norm.sf(item["margin"] / 0.0013))
    counted = {item["group"] for item in found["groups"] if item["outcome"] == "promote"}
    assert {"20260430_muonh", "20260610_tuned_baseline_3250"} <= counted
    assert not any(name.startswith("(root)") for name in counted)


def test_a_run_with_two_logs_is_one_run(sweepkit: Run) -> None:
    """Four of the table's runs left two logs each, which agree in loss and in seconds to the millisecond."""
    words = ("--variant=entry", "--metric=val_loss=lower", "--map", "train_time=train_time_s")
    status, said = sweepkit("import", str(TABLES / "modded_track3_part.csv"), "--name=theirs", *words)
    assert status == 2
    assert "modded_track3_part.csv, line 44 is 'a copy of line 43'" in said and "--duplicates drop" in said
    assert len(imported(sweepkit, "modded_track3_part.csv", *words, "--duplicates=drop")) == 213


LEDGER = ("--ledger=status", "--map", "commit=run_id", "description=variant")


def test_a_ledger_without_a_noise_has_no_verdict_and_says_what_would_give_one(sweepkit: Run) -> None:
    runs = imported(sweepkit, "keep_discard_ledger.tsv", *LEDGER)
    (crashed,) = runs[runs["state"] == "failed"].to_dict("records")
    assert crashed["run_id"] == "e05a87d" and pd.isna(crashed["val_bpb"])  # it says 0.000000
    status, found = sweepkit("verdict", "--runs", "theirs", "--format", "json")
    assert status == 3 and found["outcome"] == "inconclusive" and found["more_than_noise"] == []
    said = " ".join(found["notes"])
    assert "no verdict: every try is one run" in said and "--noise SD,DF" in said and "five seeds" in said
    gains = [item["gain"] for item in found["tries"] if item["is_kept"] and item["gain"] is not None]
    assert (
        len(gains) == 22 and sum(gain < 0.0007 for gain in gains) > 11
    )  # most keeps gained less than a seed


@pytest.mark.parametrize(
    ("noise", "shown"),
    [
        # the ledger's own change of seed, 0.0007 between two runs: one degree of freedom shows nothing
        ("0.000495,1", []),
        ("0.000495,20", ["bea057b", "7f2a65c", "7d047e4"]),
    ],
)
def test_few_keeps_are_more_than_noise(noise: str, shown: list[str], sweepkit: Run) -> None:
    runs = imported(sweepkit, "keep_discard_ledger.tsv", *LEDGER)
    status, found = sweepkit("verdict", "--runs", "theirs", "--noise", noise, "--format", "json")
    named = set(runs.loc[runs["run_id"].isin(shown), "variant"])
    assert set(found["more_than_noise"]) == named and status == (0 if shown else 3)
    tried = [item for item in found["tries"] if item["gain"] is not None]
    sd, df = map(float, noise.split(","))
    for item in tried:
        assert item["p"] == pytest.approx(stats.t.sf(item["gain"] / (sd * math.sqrt(2)), df))
    best = max(tried, key=lambda item: item["gain"])
    assert best["p_corrected"] == pytest.approx(min(1.0, len(tried) * best["p"]))


@pytest.mark.parametrize(
    ("workload", "name", "direction", "min_effect", "better", "worse"),
    [
        ("imagenet_resnet", "accuracy", "higher,ratio", 0.005, [], ["ademamix", "lion", "muon"]),
        ("finewebedu_lm", "ppl", "lower", 0.1, ["lion"], ["ademamix"]),
        ("librispeech_conformer", "wer", "lower,ratio", 0.005, ["ademamix"], ["muon"]),
    ],
)
def test_an_optimizer_that_fails_wildly_hides_nothing(
    workload: str,
    name: str,
    direction: str,
    min_effect: float,
    better: list[str],
    worse: list[str],
    sweepkit: Run,
) -> None:
    words = ("--variant=submission", "--map", f"value={name}", f"--metric={name}={direction}")
    where = ("--where", f"workload == {workload}", "--reference=nadamw")
    runs = imported(sweepkit, "algoperf_5_submissions.csv", *words, *where)
    assert len(runs) == 15
    _, found = sweepkit(
        "verdict", "--runs", "theirs", "--format", "json", f"decision.min_effect={min_effect}"
    )
    outcomes = {item["variant"]: item["outcome"] for item in found["verdicts"]}
    assert sorted(key for key, value in outcomes.items() if value == "reject") == worse
    assert found.get("shown_after_the_fact", []) == better
    assert "promote" not in outcomes.values()


@pytest.mark.parametrize(
    ("table", "words", "rows", "numbers"),
    [
        (
            "chinchilla_points.csv",
            ("--map", "Training FLOP=total_flops", "--metric=loss=lower,nats/token"),
            245,
            {"loss": 5.005581996196243, "total_flops": 9.993852799709755e18, "Model Size": 6795600349.289497},
        ),
        (
            "olmo_ladder_small.csv",
            ("--map", "steps=num_steps", "tokens=total_tokens", "--metric=loss_pile=lower,nats/token"),
            18,
            {"loss_pile": 3.180816888809204, "num_steps": 3641, "params": 190354176},
        ),
        (
            "gemstones_width_depth.jsonl",
            ("--map", "run_name=variant", "step=num_steps", "--metric=final_loss=lower,nats/token"),
            220,
            {"final_loss": 3.1010556221, "depth": 28, "num_steps": 2385},
        ),
        (
            "openlm_grid.json",
            (
                "--parse=key=d={width}_l={depth}_h={num_heads}-{batch}-{lr}-{wd}-{_}",
                "--map", "value=loss", "--metric=loss=lower,nats/token",
            ),
            435,
            {"loss": 2.7364922364552817, "width": 1024, "depth": 12, "lr": 0.003},
        ),
    ],
)  # fmt: skip
def test_tables_for_fits_keep_every_digit(
    table: str, words: tuple[str, ...], rows: int, numbers: dict[str, float], sweepkit: Run
) -> None:
    runs = imported(sweepkit, table, *words)
    assert len(runs) == rows and (runs["state"] == "complete").all()
    assert {name: runs[name].iloc[0] for name in numbers} == numbers
    assert all(pd.api.types.is_numeric_dtype(runs[name].dtype) for name in numbers)
