"""Tables that broke import, fit and verdict: each with the answer that is right."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sample import is_full
from sweepkit.analysis import bar, fit
from sweepkit.analysis.laws import surface
from sweepkit.cli.main import main
from sweepkit.errors import ConfigError
from sweepkit.results.others import source, values


def imported(path: Path, text: str, *more: str) -> int:
    path.write_text(text)
    return main(["import", str(path), "--name", path.stem, *more])


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    main(["verdict", *arguments, "--format", "json"])
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_ledger_needs_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "val_bpb,status\n1.0,keep\n0.9,keep\n0.91,discard\n"
    assert imported(tmp_path / "calm.csv", text, "--ledger", "status") == 0
    assert told(capsys, "--runs", "calm", "--noise", "0.001,9")["more_than_noise"] == ["run-2"]


def test_a_time_that_was_never_reached_is_below_no_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "variant,loss,hours\n" + "a,3.0,10\na,3.1,inf\nb,3.0,8.9\nb,3.1,9.1\nb,3.2,9\n"
    metrics = ["--metric", "loss=lower,nats", "hours=lower,h"]
    assert imported(tmp_path / "late.csv", text, *metrics) == 0
    found = told(capsys, "--runs", "late", "--target", "12", "decision.metric=hours", "decision.alpha=0.01")
    groups = found["groups"]
    assert isinstance(groups, list)
    assert [(item["lost"], item["outcome"]) for item in groups] == [
        ("1 diverged", "reject"),
        ("", "promote"),
    ]


def test_runs_that_ended_alike_have_no_spread() -> None:
    alone = bar.against({"a": [3.2, 3.2, 3.2], "b": [3.1, 3.1]}, 3.28, None)
    assert [item.p for item in alone] == [None, None] and alone[0].sd == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        ["--target", "inf"],
        ["--target", "3", "--sigma=-1"],
        ["--target", "3", "--noise", "1,2"],
        ["--target", "3", "--reference", "a"],
    ],
)
def test_a_bar_is_a_number_and_has_no_other_noise(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("variant,val_bpb\na,2.9\na,2.8\n")
    assert main(["verdict", "--runs", str(path), *wrong]) == 2
    assert capsys.readouterr().err.startswith("sweepkit: --")


def test_a_setting_of_the_rule_behind_a_metric_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--metric", "loss=lower,nats", "decision.min_effect=0.1"]
    assert imported(tmp_path / "t.csv", "variant,loss\na,3\n", *more) == 2
    assert "a setting of the rule stands before --metric" in capsys.readouterr().err


LEVELS = [0.001 * 2.0**k for k in range(7)]


def test_a_missing_loss_has_not_diverged() -> None:
    valley = [3.0, 2.98, 2.97, 2.98, 3.0]
    frame = pd.DataFrame({"lr": LEVELS, "loss": [*valley, float("nan"), float("inf")]})
    found = fit(frame, loss="loss", axis="lr")
    assert [(level.value, level.loss) for level in found.optima[0].levels[-2:]] == [
        (LEVELS[4], 3.0),
        (LEVELS[6], None),
    ]
    assert found.notes == [
        "1 row without a loss left out: missing, not diverged",
        "1 run diverged: their levels are not fitted",
    ]
    assert found.optima[0].value == pytest.approx(LEVELS[2])


def test_groups_of_words_beside_numbers_and_a_column_that_is_there_twice() -> None:
    losses = [3.0, 2.9, 2.8, 2.7, 2.8, 2.9, 3.0]
    frame = pd.DataFrame({"lr": LEVELS * 3, "loss": losses * 3, "clip": ["none"] * 7 + [2.0] * 7 + [1.0] * 7})
    assert [item.group for item in fit(frame, loss="loss", axis="lr", by="clip").optima] == ["1", "2", "none"]
    with pytest.raises(ConfigError, match="one column of the table"):
        fit(pd.concat([frame, frame[["loss"]]], axis=1), loss="loss", axis="lr")


def test_a_surface_that_is_all_but_flat_has_no_best_size() -> None:
    flat = surface.Surface(1.0, 1e9, 1e-300, 1e-4, 1e-4, 0.0, np.empty(0))
    assert np.isinf(flat.best_params(np.array(1e20)))
    steep = surface.Surface(1.7, 400.0, 2000.0, 0.35, 0.37, 0.0, np.empty(0))
    sizes = np.geomspace(1e6, 1e14, 200_001)
    brute = sizes[np.argmin(steep.at(sizes, 1e20 / 6 / sizes))]
    assert float(steep.best_params(np.array(1e20))) == pytest.approx(brute, rel=1e-3)


def test_an_inner_level_that_is_best_is_no_edge() -> None:
    differences = [3.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0]
    (inner,) = fit(pd.DataFrame({"lr": LEVELS, "loss": differences}), loss="loss", axis="lr").optima
    assert (inner.value, inner.censored, inner.cliff) == (pytest.approx(LEVELS[3]), "", None)
    (first,) = fit(pd.DataFrame({"lr": LEVELS, "loss": sorted(differences)}), loss="loss", axis="lr").optima
    assert (first.censored, first.value) == ("below", LEVELS[0]) and first.extend_to is not None


@pytest.mark.parametrize("wrong", [{"confidence": 2.0}, {"tolerance": -1.0}, {"replicates": 0}])
def test_numbers_that_no_fit_can_be_asked_with(wrong: dict[str, float]) -> None:
    frame = pd.DataFrame({"lr": LEVELS, "loss": [3.0, 2.9, 2.8, 2.7, 2.8, 2.9, 3.0]})
    with pytest.raises(Exception, match=f"--{next(iter(wrong))}"):
        fit(frame, loss="loss", axis="lr", **wrong)


@pytest.mark.parametrize(
    ("mark", "cells", "expected"),
    [
        (";", ["1.234,56", "987,1", "1.234"], [1234.56, 987.1, 1234.0]),
        ("\t", ["1.234.567,5", "0,5", "0.912"], [1234567.5, 0.5, 0.912]),
        (";", ["1.234", "0,5", "2"], [1.234, 0.5, 2.0]),  # nothing tells that points are of thousands
    ],
)
def test_points_of_thousands(mark: str, cells: list[str], expected: list[float], tmp_path: Path) -> None:
    path = tmp_path / "deutsch.csv"
    path.write_text(
        "".join(f"{name}{mark}{cell}\n" for name, cell in zip("nabc", ["loss", *cells], strict=True))
    )
    assert values.typed(source.read(str(path)))["loss"].tolist() == expected


def test_a_bar_for_a_table_without_groups_says_how_to_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("entry,loss\na,2.9\n")
    assert main(["verdict", "--runs", str(path), "--target", "3"]) == 2
    assert "--variant COLUMN --map COLUMN=val_bpb" in capsys.readouterr().err


CELLS = st.one_of(
    st.sampled_from(
        ["", "NaN", "inf", "-", "1e999", "1.234,5", '"', "é", "\x00", "a\nb", "9" * 400, "true", "[]"]
    ),
    st.floats().map(str),
    st.text(max_size=4),
)
HEADS = st.sampled_from(
    ["variant", "seed", "val_bpb", "run_id", "state", "num_steps", "depth", "lr", "", "\ufeff"]
)


@given(st.lists(HEADS, min_size=1, max_size=5), st.data())
@settings(max_examples=500 if is_full() else 15, deadline=None, suppress_health_check=list(HealthCheck))
def test_odd_tables_are_read_or_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heads: list[str], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(heads), max_size=len(heads)), max_size=5))
    mark, suffix = data.draw(st.sampled_from([(",", "csv"), ("\t", "tsv"), (";", "csv"), ("{", "jsonl")]))
    text = mark.join(heads) + "\n" + "".join(f"{mark.join(row)}\n" for row in rows)
    raw = text.encode("utf-8", "surrogatepass")
    path = tmp_path / f"odd.{suffix}"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for command in (["import", str(path), "--replace"], ["verdict", "--runs", str(path), "--reference", "a"]):
        capsys.readouterr()
        code = main(command)
        err = capsys.readouterr().err
        assert code in (0, 1, 2, 3) and (code != 2 or err.startswith("sweepkit: ")), err
        assert err.count("\n") <= 1, err


def cells_of(path: Path) -> pd.DataFrame:
    return values.typed(source.read(str(path)), ["variant"])


def test_commas_of_thousands_where_a_cell_can_be_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('variant,tokens,loss\na,"3,276,800",3.1\nb,"1,024",3.2\n')
    assert list(cells_of(path)["tokens"]) == [3_276_800, 1024]
    path.write_text('variant,tokens,loss\na,"2,768",3.1\nb,"1,024",3.2\n')
    assert list(cells_of(path)["tokens"]) == ["2,768", "1,024"], "2.768 somewhere else"
    tabs = tmp_path / "t.tsv"
    tabs.write_text('variant\ttokens\tloss\na\t"1,234.5"\t3.1\nb\t"2,000"\t3.2\n')
    assert list(cells_of(tabs)["tokens"]) == [1234.5, 2000]
    path.write_text("variant;widths;loss\na;128,256,512;3,285\nb;128,256,512;3,2\n")
    assert list(cells_of(path)["loss"]) == [3.285, 3.2], "a list is no number, and its commas tell nothing"
    path.write_text("variant;widths;loss\na;128,256,512;3,285\nb;128,256,512;3,281\n")
    assert list(cells_of(path)["loss"]) == [3.285, 3.281]


@pytest.mark.parametrize("cell", ["97.3%", "3.1 s", "3,276", "$5"])
def test_a_number_with_something_beside_it_is_refused_as_that(
    cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'variant,accuracy\na,"{cell}"\nb,0.9\n'
    assert imported(tmp_path / "t.csv", text, "--metric", "accuracy=higher,ratio") == 2
    said = capsys.readouterr().err
    assert (
        f"line 2, column accuracy is '{cell}', but must be a number" in said and len(said.splitlines()) == 1
    )
    assert ("write the number alone" in said) == (cell[0] != "$")


@pytest.mark.parametrize("suffix", ["csv.gz", "jsonl.gz"])
def test_a_packed_table_that_is_damaged_is_a_line(suffix: str, tmp_path: Path) -> None:
    text = "variant,val_bpb\n" + "".join(f"{name},{n / 7}\n" for name in "ab" for n in range(1, 400))
    data = bytearray(gzip.compress(text.encode()))
    for place in range(12, len(data), 97):
        broken = bytearray(data)
        broken[place] ^= 0x5A
        path = tmp_path / f"t.{suffix}"
        path.write_bytes(broken)
        with pytest.raises(ConfigError):
            source.read(str(path))


def test_text_of_two_bytes_a_letter_without_their_order_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("variant,val_bpb\na,1\n".encode("utf-16-le"))
    with pytest.raises(ConfigError, match="zero bytes"):
        source.read(str(path))


def test_types_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame(
        {
            "variant": pd.Categorical(["a", "a", "b"]),
            "loss": [Decimal("3.25"), Decimal("3.5"), None],
            "layers": [[1, 2], [3], []],
            "config": [{"lr": 0.1}, {"lr": 0.2}, None],
            "half": np.full(3, 0.5, dtype=np.float16),
        }
    )
    frame.to_parquet(path)
    read = cells_of(path)
    assert list(read["variant"]) == ["a", "a", "b"]
    assert read["loss"].dropna().tolist() == [3.25, 3.5] and read["half"].tolist() == [0.5] * 3
    assert read["layers"].tolist() == ["[1, 2]", "[3]", "[]"]
    assert read["config"].dropna().tolist() == ['{"lr": 0.1}', '{"lr": 0.2}']
