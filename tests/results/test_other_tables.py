"""Tables of others as files have them: odd marks, missing and infinite cells, copies, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from sweepkit import results
from sweepkit.cli.main import main
from sweepkit.errors import DamagedError

ROWS = [("a", 3.28), ("a", 3.27), ("a", 3.275), ("b", 3.25), ("b", 3.251), ("b", 3.249)]


def imported(path: Path, *words: str) -> pd.DataFrame:
    metric = () if any(word.startswith("--metric") for word in words) else ("--metric=loss=lower",)
    assert main(["import", str(path), "--name=t", "--variant=opt", "--replace", *metric, *words]) == 0
    return results.load("t")


@pytest.mark.parametrize(
    ("mark", "decimal", "start", "suffix", "encoding"),
    [
        (",", ".", "\ufeff", "csv", "utf-8"), (";", ",", "", "csv", "utf-8"),
        ("\t", ".", "", "tsv", "utf-16"),
        ("\t", ",", "", "tsv", "utf-8"), ("|", ".", "", "csv", "utf-8"), ("~", ".", "", "txt", "utf-8"),
        ("   ", ".", "\n\n", "txt", "utf-8"), (" | ", ".", "", "csv", "utf-8"),
    ],
)  # fmt: skip
def test_a_table_is_the_same_whatever_separates_it(
    mark: str, decimal: str, start: str, suffix: str, encoding: str, tmp_path: Path
) -> None:
    lines = [mark.join(("opt", "loss")), *(mark.join((a, str(b).replace(".", decimal))) for a, b in ROWS)]
    if mark == " | ":  # markdown
        lines = [f"| {line} |" for line in (lines[0], "--- | ---:", *lines[1:])]
    path = tmp_path / f"t.{suffix}"
    path.write_text(start + "\n".join(lines) + "\n", encoding=encoding)
    found = imported(path)
    assert list(zip(found["variant"], found["loss"], strict=True)) == ROWS


def test_jsonl_parquet_and_a_packed_file_say_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["opt", "loss"])
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.json", orient="columns")
    (tmp_path / "t.json").write_text(frame.to_json(orient="records"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=True).encode()))
    for name in ("t.jsonl", "t.parquet", "t.json", "t.csv.gz"):
        found = imported(tmp_path / name)
        assert list(zip(found["variant"], found["loss"], strict=True)) == ROWS, name


def test_missing_is_missing_and_infinite_is_diverged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("opt,loss,hours\na,1.0,1\na,,2\na,NaN,3\nb,inf,4\nb,0.9,inf\nb,0.95,—\n")
    found = imported(path, "--metric", "loss=lower", "hours=lower,h")
    assert list(found["state"]) == ["complete", "complete", "complete", "diverged", "complete", "complete"]
    assert list(found["loss"].isna()) == [False, True, True, True, False, False]
    assert found["hours"].isna().sum() == 1 and float(found["hours"].max()) == float("inf")
    assert "NaN in 1 cell of loss" in capsys.readouterr().out
    rule = ["decision.metric=hours", "decision.min_effect=0.1"]
    assert main(["verdict", "--runs", "t", "--reference", "a", "--format=json", *rule]) in (1, 3)
    assert (
        '"diverged": 2' in capsys.readouterr().out
    )  # the run that diverged, and the one that never got there
    alone = imported(path)
    assert list(alone["state"]) == ["complete", "failed", "failed", "diverged", "complete", "complete"]


def test_more_is_better_where_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("opt,top1\n" + "\n".join(f"{a},{4 - b}" for a, b in ROWS))
    imported(path, "--metric=top1=higher,ratio", "--reference=a")
    capsys.readouterr()
    assert main(["verdict", "--runs", "t", "decision.min_effect=0.01"]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "inconclusive: better than a: none" in said
    assert "after the fact, for fresh runs to settle: better than a: b" in said


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("opt,loss\na,1.0\na\n", [], "t.csv, line 3 is 'a row of 1 cells', but must have 2"),
        ("opt,loss\na,1.0,7\n", [], "t.csv, line 2 is 'a row of 3 cells'"),
        ("opt,loss\na,1.0\nb,0.9x\n", [], "t.csv, line 3, column loss is '0.9x', but must be a number"),
        ('opt,loss\n"a,1.0\n', [], "close the quotes"),
        ("opt,loss,loss\na,1,1\n", [], "column is 'loss', but must be there once"),
        ("opt,loss\n", [], "a row a run"),
        ("opt,loss\na,1.0\n,1.1\n", [], "t.csv, line 3, column variant is None"),
        ("opt,loss,state\na,1.0,odd\n", [], "t.csv, line 2, column state is 'odd'"),
        ("opt,loss,t\na,1.0,9.5\na,1.0,9.5\n", [], "t.csv, line 3 is 'a copy of line 2'"),
        ("opt,loss,id\na,1.0,x\nb,1.1,x\n", ["--map=id=run_id"], "t.csv, line 3, column run_id is 'x'"),
        ("opt,loss\na,1.0\n", ["--map", "los=val_bpb"], "did you mean 'loss'?"),
        ("opt,loss\na,1.0\n", ["--map", "loss=opt"], "be no other column"),
        ("opt,loss,s\na,1.0,5e3.1\n", ["--map=s=num_steps"], "line 2, column num_steps is '5e3.1'"),
        ("opt,loss,s\na,1.0,-5\n", ["--map=s=train_time_s"], "train_time_s is -5.0, but must be at least 0"),
        ("opt,loss\na,-inf\n", [], "column loss is -inf, but must be finite"),
        ("opt,loss\na,1.0\n", ["--seeds=shared"], "come with a column seed"),
        ("opt,loss\na,1.0\n", ["--reference=b"], "--reference is 'b'"),
        ("opt,loss\na,1.0\n", ["--where=loss > 2"], "keep a row of t.csv"),
        ("opt,loss\na,1.0\n", ["--parse=opt=d{depth}"], "column opt is 'a', but must fit the template"),
        ("opt,loss\na,1.0\n", ["--ledger=loss"], "column loss is '1.0', but must be keep, discard or crash"),
        ("opt,loss\na,1.0\n", ["decision.alpha=2"], "decision.alpha"),
        ("opt,loss\na,1.0\n", ["--name=runs"], "--name is 'runs'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_with_its_place(
    text: str, words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    line = ["import", str(path), "--name=t", "--variant=opt", "--metric=loss=lower", *words]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.glob("results/*"))  # nothing half-written


def test_two_runs_may_end_alike_to_a_few_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("opt,loss\na,0.75\na,0.75\nb,0.76\n")
    assert len(imported(path)) == 3
    assert "taken for runs that ended alike" in capsys.readouterr().out
    assert len(imported(path, "--duplicates=drop")) == 2
    path.write_text("opt,loss\na,0.7512345678\na,0.7512345678\nb,0.76\n")
    line = ["import", str(path), "--name=t", "--variant=opt", "--metric=loss=lower", "--replace"]
    assert main(line) == 2 and main([*line, "--duplicates=keep"]) == 0
    path.write_text("opt,seed,loss\na,1,0.75\na,1,0.75\na,2,0.75\nb,1,0.76\n")
    assert main(line) == 2, "of one seed they are one run"
    assert len(imported(path, "--duplicates=drop")) == 3


@pytest.mark.parametrize("name", ["val/loss (nats)", "it's, [a] {b}", "loss: 'x'", "1e3", "true"])
def test_a_metric_may_be_called_anything(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.json"
    rows = [{"opt": opt, name: 3.2 + place / 100} for place, opt in enumerate("aaabbb")]
    path.write_text(json.dumps(rows))
    words = ["--name=t", "--variant=opt", f"--metric={name}=lower,a (b)", "--reference=a"]
    assert main(["import", str(path), *words]) == 0
    capsys.readouterr()
    assert main(["verdict", "--runs=t", "decision.min_effect=0.001"]) == 1
    assert name in " ".join(capsys.readouterr().out.split())


def test_losses_compare_within_a_step_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("opt,loss,steps\n" + "\n".join(f"{a},{b},{1000 + 900 * (b > 3.26)}" for a, b in ROWS))
    imported(path, "--map=steps=num_steps", "--reference=a")
    path.write_text(path.read_text().replace("a,3.28,1900", "a,3.28,1500"))
    imported(path, "--map=steps=num_steps", "--reference=a")
    capsys.readouterr()
    assert main(["verdict", "--runs", "t", "decision.min_effect=0.01"]) == 2
    assert "be one for all runs of a variant" in capsys.readouterr().err
    main(["verdict", "--runs", "t", "--target", "3.2"])
    assert "a at 1,500 steps" in capsys.readouterr().out


def test_an_import_is_sealed_and_replaced_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("opt,loss\n" + "\n".join(f"{a},{b}" for a, b in ROWS))
    imported(path)
    line = ["import", str(path), "--name=t", "--variant=opt", "--metric=loss=lower"]
    assert main(line) == 2 and "--replace" in capsys.readouterr().err
    table = tmp_path / "results" / "t" / "runs.csv.gz"
    table.write_bytes(gzip.compress(gzip.decompress(table.read_bytes()).replace(b"3.28", b"3.20")))
    with pytest.raises(DamagedError, match=r"runs\.csv\.gz"):
        results.load("t")
