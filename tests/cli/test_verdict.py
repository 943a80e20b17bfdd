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
        ("variant,seed,val_bpb\n", "must have rows"),
        ("variant,seed,val_bpb\na,1,1.0,7\nb,1,0.9,7\n", "must be readable (Length of header"),
        (
            "variant,seed,val_bpb\na,1,1.0,\nb,1,0.9,\n",
            "must be one of two variants or more in the table (a, b)",
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
