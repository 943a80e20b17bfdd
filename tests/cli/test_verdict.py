"""verdict on tables from elsewhere: names are what is written in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweepkit.cli.main import main


@pytest.mark.parametrize(("reference", "other"), [("0.10", "0.20"), ("none", "NA"), ("1e-3", "1e-4")])
def test_a_variant_is_called_what_the_file_calls_it(
    reference: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{reference},{seed},{1 + seed / 1000}" for seed in range(1, 6)]
    rows += [f"{other},{seed},{0.9 + seed / 1000 + seed % 2 / 10_000}" for seed in range(1, 6)]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["variant,seed,val_bpb", *rows]))
    assert main(["verdict", "--runs", str(path), "--reference", reference, "--format", "json"]) == 0
    (verdict,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert (verdict["variant"], verdict["outcome"]) == (other, "promote")


def test_a_row_without_a_variant_is_no_variant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("variant,seed,val_bpb\na,1,1.0\n,1,0.9\n")
    assert main(["verdict", "--runs", str(path), "--reference", "a"]) == 2
    assert "two variants or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "must be a file that exists"),
        ("variant,seed,val_bpb\n", "must have a row a run"),
        (
            "variant,seed,val_bpb\na,1,1.0,7\nb,1,0.9,7\n",
            "runs.csv, line 2 is 'a row of 4 cells', but must have 3",
        ),
        (
            "variant,seed,val_bpb\na,1,1.0,\nb,1,0.9,\n",
            "must be one of two variants or more in the table; known: a, b",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_text(content)
    assert main(["verdict", "--runs", str(path), "--reference", "c"]) == 2
    assert said in capsys.readouterr().err


def rows_of(reference: str = "base", other: str = "wide") -> list[tuple[str, int, float]]:
    rows = [(reference, seed, 1 + seed / 1000) for seed in range(1, 6)]
    return rows + [(other, seed, 0.9 + seed / 1000 + seed % 2 / 10_000) for seed in range(1, 6)]


@pytest.mark.parametrize(
    ("mark", "decimal", "start", "suffix"),
    [
        (",", ".", "", "csv"),
        (";", ",", "\ufeff", "csv"),
        (";", ".", "", "csv"),
        ("\t", ".", "", "tsv"),
        ("|", ".", "", "csv"),
    ],
)
def test_a_table_is_the_same_whatever_separates_its_columns(
    mark: str, decimal: str, start: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [mark.join((name, str(seed), str(loss).replace(".", decimal))) for name, seed, loss in rows_of()]
    path = tmp_path / f"runs.{suffix}"
    path.write_text(start + "\n".join([mark.join(("variant", "seed", "val_bpb")), *lines]))
    assert main(["verdict", "--runs", str(path), "--reference", "base", "--format", "json"]) == 0
    (verdict,) = json.loads(capsys.readouterr().out)["verdicts"]
    plain = tmp_path / "plain.csv"
    plain.write_text("variant,seed,val_bpb\n" + "\n".join(f"{a},{b},{c}" for a, b, c in rows_of()))
    assert main(["verdict", "--runs", str(plain), "--reference", "base", "--format", "json"]) == 0
    assert verdict == json.loads(capsys.readouterr().out)["verdicts"][0]


def test_states_in_other_words_are_the_same_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """wandb's, in any case; a run that crashed is missing, one that was never run is left out."""
    words = {"complete": "Finished", "failed": "crashed", "planned": "pending"}
    said = []
    for name, translate in (("own", {key: key for key in words}), ("others", words)):
        rows = [f"{variant},{seed},{loss},{translate['complete']}" for variant, seed, loss in rows_of()]
        rows += [
            f"wide,6,,{translate['failed']}",
            f"base,6,1.0,{translate['complete']}",
            f"wide,7,,{translate['planned']}",
        ]
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["variant,seed,val_bpb,state", *rows]))
        assert main(
            ["verdict", "--runs", str(path), "--reference", "base", "--seeds", "shared", "--format", "json"]
        ) in (0, 3)
        said.append(json.loads(capsys.readouterr().out))
    assert said[0]["verdicts"] == said[1]["verdicts"]
    assert "wide-s6" in json.dumps(said[1]["verdicts"][0]["evidence"]["missing"])


def test_all_missing_columns_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("model,trial,loss\na,1,1.0\n")
    wanted = ["decision.scores.score_core=0.1"]
    assert main(["verdict", "--runs", str(path), "--reference", "a", *wanted]) == 2
    said = capsys.readouterr().err
    assert "columns is 'variant, seed, val_bpb, score_core'" in said and "model, trial, loss" in said


def test_names_that_differ_by_a_blank_are_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*rows_of(), *rows_of(other="Wide")[5:], *rows_of(other="wi de")[5:]]
    path = tmp_path / "runs.csv"
    path.write_text("variant,seed,val_bpb\n" + "\n".join(f"{a},{b},{c}" for a, b, c in rows))
    main(["verdict", "--runs", str(path), "--reference", "base"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "'wi de'" in said
        and "'Wide'" in said
        and "differ by blanks or capitals alone, and are judged as 3" in said
    )
