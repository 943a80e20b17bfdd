"""``sweepkit fit``: published tables and made-up ones through the command line; pages, JSON, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweepkit.cli.main import main

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "tests" / "analysis" / "laws_tables"
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Learning rate × depth × batch × seeds, the optimum moving with width^-0.5 and batch^0.5."""
    rng, rows = np.random.default_rng(0), []
    for width, depth in ((128, 2), (256, 4), (512, 8), (1024, 16)):
        for batch in (1024, 2048, 4096):
            for lr in 0.005 * 2.0 ** np.arange(6):
                for seed in (1, 2):
                    best = 0.04 * (width / 128) ** -0.5 * (batch / 2048) ** 0.5
                    loss = 2 - 0.1 * np.log(width) + 0.03 * np.log(lr / best) ** 2
                    loss += 0.01 * np.log(batch / 2048) ** 2 + 0.002 * rng.standard_normal()
                    rows.append((depth, width, batch, lr, seed, loss, "complete"))
    names = ["depth", "width", "total_batch_size", "level_optimizer.matrix.lr", "seed", "val_bpb", "state"]
    frame = pd.DataFrame(rows, columns=names)
    frame.loc[0, ["val_bpb", "state"]] = (np.nan, "failed")
    frame.loc[len(frame)] = [16, 1024, 2048, 0.64, 1, np.nan, "diverged"]
    frame.to_csv(tmp_path / "grid.csv", index=False)
    return tmp_path / "grid.csv"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_an_axis_its_law_and_what_follows(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--axis", "optimizer.matrix.lr", "--by", "depth", "--scale", "width", "--rule=-0.5", "--propose"]
    page, data = grid.with_name("fit.html"), grid.with_name("fit.json")
    only = ["--where", "total_batch_size == 2048"]
    assert main(["fit", str(grid), *asked, *only, "--report", str(page), "--output", str(data)]) == 0
    text = said(capsys)
    assert "the rule width^-0.5 is not contradicted" in text
    assert "an exponent of 0 is contradicted" in text
    assert "diverges" in text
    found = json.loads(data.read_text())
    assert [item["group"] for item in found["optima"]] == ["2", "4", "8", "16"]
    assert found["law"]["exponent"] == pytest.approx(-0.5, abs=0.05)
    assert found["optima"][0]["value"] == pytest.approx(0.04, rel=0.1)
    html = page.read_text()
    assert "mathdefault" not in html and ">0.02<" in html, "axes read in plain numbers"
    assert html.count("<svg") == 2 and "Where is the best optimizer.matrix.lr" in html


def test_the_ridge_of_two_axes(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--axis", "optimizer.matrix.lr", "--axis2", "total_batch_size", "--by", "depth"]
    assert main(["fit", str(grid), *asked, "--where", "depth < 16", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["ridges"]
    assert all(item["slope_interval"]["low"] < 0.5 < item["slope_interval"]["high"] for item in found)
    assert all(abs(item["slope"] - 0.5) < 0.1 for item in found)


def test_the_help_s_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decay = str(REFERENCE / "weight_decay_optimum.csv")
    asked = ["--optimum", "optimal_weight_decay", "--scale", "width", "--by", "depth", "--rule=-2"]
    assert main(["fit", decay, *asked]) == 0
    text = said(capsys)
    assert "width^-1.849" in text and "-2.701 to -0.996" in text and "not contradicted" in text
    points = [str(TABLES / "chinchilla_points.csv"), "--params", "Model Size", "--flops", "Training FLOP"]
    page = tmp_path / "sizes.html"
    assert (
        main(["fit", *points, "--loss", "loss", "--drop", "0-4", "--replicates", "20", "--report", str(page)])
        == 0
    )
    text = said(capsys)
    assert "none, the 5 dropped before back in 1.891 0.3493 0.4530" in text
    assert "off by" in text and "Budgets, N = Model Size" in page.read_text()
    ladder = [str(TABLES / "olmo_ladder_small.csv"), "--params", "params", "--tokens", "tokens"]
    page = tmp_path / "forecast.html"
    asked = ["--loss", "loss_pile", "--forecast", "--sizes", "2", "--at", "3e9,6e10", "--report", str(page)]
    assert main(["fit", *ladder, *asked]) == 0
    assert "100% inside" in said(capsys) and "<svg" in page.read_text()


def test_critical_batches_and_their_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, rows = np.random.default_rng(1), []
    for size, critical in ((1, 2e4), (2, 4e4), (4, 8e4)):
        for batch in 2.0 ** np.arange(12, 19):
            for tokens in size * 2.0 ** np.arange(24, 29):
                loss = 2 + (tokens / size / (1 + batch / critical) / 1e7) ** -0.3
                rows.append((size, batch, tokens, loss * np.exp(0.0005 * rng.standard_normal())))
    table = tmp_path / "batches.jsonl"
    names = ["size", "batch", "tokens", "loss"]
    pd.DataFrame(rows, columns=names).to_json(table, orient="records", lines=True)
    asked = ["--batch", "batch", "--tokens", "tokens", "--loss", "loss", "--by", "size", "--target", "2.75"]
    assert main(["fit", str(table), *asked, "--rule", "0.383", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["batch"] for item in found["batches"]] == pytest.approx([2e4, 4e4, 8e4], rel=0.15)
    assert found["law"]["exponent"] == pytest.approx(1.0, abs=0.15)
    assert found["law"]["scale_name"] == "tokens"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "what to fit is None"),
        (["--axis", "optimizer.matrix.lrs"], "did you mean 'level_optimizer.matrix.lr'?"),
        (["--axis", "state"], "be a number in column state"),
        (["--axis", "optimizer.matrix.lr", "--loss", "nothing"], "--loss is 'nothing'"),
        (["--axis", "width", "--by", "depth"], "be three or more for a parabola"),
        (["--params", "width"], "--tokens is None"),
        (["--params", "width", "--tokens", "total_batch_size", "--drop", "9999"], "be a row from 0 to"),
        (["--axis", "optimizer.matrix.lr", "--drop", "a"], "be rows counted from 0"),
        (["--params", "width", "--forecast", "--sizes", "4"], "leave something to forecast"),
        (["--params", "width", "--forecast", "--at", "x"], "--at is 'x', but must be a number"),
        (["--params", "width", "--forecast", "--sizes", "1"], "--sizes is 1, but must be 2 or more"),
        (["--optimum", "val_bpb"], "--scale is None"),
        (["--axis", "width", "--loss", "width"], "--axis is 'width', but must be another column than --loss"),
        (["--axis", "width", "--by", "width"], "--axis is 'width', but must be another column than --by"),
        (["--batch", "width", "--tokens", "width"], "but must be another column than --batch"),
        (["--axis", "optimizer.matrix.lr", "--where", "width > 1e9"], "rows is 'none'"),
        (
            ["--params", "width", "--tokens", "seed", "--where", "width == 128"],
            "--params is 128.0, but must vary",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    asked: list[str], words: str, grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(grid), *asked]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_groups_of_words_have_optima_and_no_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They were refused as no scale: of text the table's missing numbers counted for numbers above 0."""
    lines = [
        f"{size},{lr},{2 + (lr - 4) ** 2 / 100}" for size in ("small", "large") for lr in (2, 3, 4, 5, 6)
    ]
    (tmp_path / "words.csv").write_text("\n".join(["size,lr,loss", *lines]))
    asked = ["--loss", "loss", "--axis", "lr", "--axis-scale", "log", "--by", "size"]
    assert main(["fit", str(tmp_path / "words.csv"), *asked]) == 0
    assert "no law: size is not a number above 0" in said(capsys)


def test_a_score_forecast_as_a_loss_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{size}e6,{0.3 + 0.05 * place}" for place, size in enumerate((70, 160, 410, 1000))]
    (tmp_path / "score.csv").write_text("\n".join(["params,acc", *lines]))
    asked = ["--loss", "acc", "--params", "params", "--forecast"]
    assert main(["fit", str(tmp_path / "score.csv"), *asked]) == 0
    assert "is this a loss?" in said(capsys)


def test_two_thousand_runs_take_seconds(tmp_path: Path) -> None:
    """Processor seconds of this process: another's work is not counted."""
    import time

    rng = np.random.default_rng(2)
    flops = 10 ** rng.choice(np.linspace(18, 21, 8), 2000)
    params = np.sqrt(flops / 120) * np.exp(rng.uniform(-1.4, 1.4, 2000))
    tokens = flops / 6 / params
    loss = (1.8 + 480 / params**0.35 + 2085 / tokens**0.37) * np.exp(0.004 * rng.standard_normal(2000))
    columns = {"params": params, "tokens": tokens, "flops": flops, "loss": loss}
    pd.DataFrame(columns).to_parquet(tmp_path / "many.parquet")
    began = time.process_time()
    asked = ["--params", "params", "--tokens", "tokens", "--flops", "flops", "--loss", "loss"]
    assert (
        main(["fit", str(tmp_path / "many.parquet"), *asked, "--replicates", "50", "--format", "json"]) == 0
    )
    assert time.process_time() - began < 30
