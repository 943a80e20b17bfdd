"""Round trips through every format, and the command that writes them."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import made_up_runs as made_up
import pandas as pd
import pytest

from sweepkit.cli import results_options as command
from sweepkit.errors import SweepkitError
from sweepkit.results import columns, export, store


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    made_up.sweep(tmp_path, depths=(2, 4), seeds=2)
    return store.load("demo")


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.run(parser.parse_args(["results", *words]))


def retyped(frame: pd.DataFrame) -> pd.DataFrame:
    return store.typed(frame, columns.RUN_COLUMNS)


def test_csv_reads_back_unchanged(table: pd.DataFrame) -> None:
    read = pd.read_csv(io.BytesIO(export.encode(table, "csv")), dtype={"level_mlp": "string"})
    pd.testing.assert_frame_equal(retyped(read), table)


def test_json_reads_back_unchanged(table: pd.DataFrame) -> None:
    rows = json.loads(export.encode(table, "json"))
    assert rows[3]["val_bpb"] is None or isinstance(rows[3]["val_bpb"], float)
    pd.testing.assert_frame_equal(retyped(pd.DataFrame(rows)), table)


def test_parquet_reads_back_unchanged_with_its_dtypes(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(export.encode(table, "parquet"))), table)


def test_markdown_has_a_line_a_row_and_escapes_bars() -> None:
    frame = pd.DataFrame({"variant": ["a|b\nc"], "val_bpb": pd.array([None], dtype="Float64")})
    assert export.encode(frame, "markdown").decode().splitlines() == [
        "| variant | val_bpb |",
        "|---|---:|",
        "| a\\|b c |  |",
    ]


def test_an_unknown_format_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(SweepkitError, match="csv, json, markdown, parquet"):
        export.encode(table, "xlsx")


@pytest.mark.parametrize("suffix", ["csv", "json", "md", "parquet"])
def test_the_suffix_of_the_output_sets_the_format(table: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out.{suffix}"
    assert run("demo", "--output", str(target)) == 0
    assert target.stat().st_size > 100


def test_an_output_without_a_format_is_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(SweepkitError, match=r"\.parquet"):
        run("demo", "--output", str(tmp_path / "out.xyz"))


def test_filter_sort_and_select_apply_in_turn(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--filter", "rung == d2 and state == complete", "--sort=-val_bpb"]
    assert run(*words, "--select", "variant,val_bpb", "--format", "csv") == 0
    read = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(read.columns) == ["variant", "val_bpb"]
    assert read["val_bpb"].is_monotonic_decreasing
    assert read["variant"].iloc[0] == "lr=high"


def test_the_table_fits_its_width_and_says_why_a_run_failed(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 120
    assert "the loss rose to 3.1 x" in text
    for run_id in table["run_id"]:
        assert run_id in text


def test_curves_have_a_row_a_step(table: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--curves", "--format", "csv") == 0
    read = pd.read_csv(io.StringIO(capsys.readouterr().out))
    complete = (table["state"] == "complete").sum()
    assert len(read) == complete * made_up.STEPS


def test_curves_fit_a_terminal(table: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--curves", "--filter", "val_bpb is not missing") == 0
    header = next(line for line in capsys.readouterr().out.splitlines() if line.strip())
    assert {"run_id", "step", "loss", "val_bpb"} <= set(header.split())


def test_an_empty_filter_is_a_mistake_and_no_rows_keep_their_header(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SweepkitError, match="a column should follow"):
        run("demo", "--filter", "")
    with pytest.raises(SweepkitError, match="did you mean 'complete'"):
        run("demo", "--filter", "state == complet")
    assert run("demo", "--filter", "state == preempted") == 0
    text = capsys.readouterr().out
    assert "variant" in text
    assert "0 rows" in text


def test_runs_that_a_finished_promotion_did_not_need_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    frozen = made_up.sweep(tmp_path, depths=(2, 4), seeds=2)
    run("demo")
    assert "never needed" not in capsys.readouterr().out
    made_up.promote(frozen)
    run("demo")
    assert "2 planned and never needed" in capsys.readouterr().out


def test_every_column_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--columns") == 0
    text = capsys.readouterr().out
    for column in columns.RUN_COLUMNS:
        assert column.name in text
    assert run("--columns", "--format", "markdown") == 0
    assert "| val_bpb | Float64 | bits/byte | lower |" in capsys.readouterr().out


def test_the_explanation_is_a_table_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "columns.csv"
    assert run("--columns", "--filter", "unit == 'bits/byte'", "--select", "name", "--output", str(path)) == 0
    names = path.read_text().split()
    assert names[0] == "name" and set(names[1:]) == {
        "val_bpb",
        "bpb_<stream>",
        "ema_val_bpb",
        "ema_bpb_<stream>",
    }


def test_a_missing_sweep_lists_what_there_is(table: pd.DataFrame) -> None:
    with pytest.raises(SweepkitError, match="known: demo, all"):
        run()
    with pytest.raises(SweepkitError, match="did you mean 'demo'"):
        run("dem")


@pytest.mark.parametrize("text", ["=1+1", "+1 and more", "-x", "@sum", "\tx"])
def test_a_spreadsheet_shows_formulas_instead_of_running_them(text: str) -> None:
    frame = pd.DataFrame({"variant": [text, "-0.5", "plain"], "number": [-1.5, 2.0, -3.0]})
    rows = list(csv.reader(io.StringIO(export.csv(frame))))
    assert [row[0] for row in rows[1:]] == [f"'{text}", "-0.5", "plain"]
    assert [float(row[1]) for row in rows[1:]] == [-1.5, 2.0, -3.0]


@pytest.mark.parametrize("format", ["csv", "markdown", "json"])
def test_commands_to_a_terminal_are_shown_instead_of_obeyed(format: str) -> None:
    frame = pd.DataFrame({"variant": ["a\x1b[2Jb\x9b1m"]})
    text = export.encode(frame, format).decode()
    assert not {"\x1b", "\x9b"} & set(text)
