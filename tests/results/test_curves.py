"""Learning curves: attempts resolved, torn lines skipped, costs filled in where they follow."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import made_up_runs as made_up
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit import sealed
from sweepkit.results import curve_columns, store
from sweepkit.results.record import RunDir


def write_rows(results: Path, rows: list[dict], tail: str = "") -> None:
    run = made_up.plan()
    path = RunDir.of(results, run.run_id).metrics_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(sealed.line(row, run.run_id) for row in rows) + tail.encode())
    made_up.freeze(results, "x", [made_up.cell(run)])


def test_the_last_attempt_wins_and_torn_lines_are_skipped(tmp_path: Path) -> None:
    rows = [
        {"step": 0, "attempt": 1, "loss": 5.0},
        {"step": 1, "attempt": 1, "loss": 4.0},
        {"step": 1, "attempt": 2, "loss": 4.5},
        {"step": 2, "attempt": 2, "loss": 3.0, "val_bpb": 1.5, "bpb_probe": 1.7},
    ]
    write_rows(tmp_path, rows, tail='{"loss": 1.0}\n[]\n3\n{"step": 3, "lo')
    table = store.curves("x", tmp_path)
    assert list(table["step"]) == [0, 1, 2]
    assert list(table["loss"]) == [5.0, 4.5, 3.0]
    assert list(table["attempt"]) == [1, 2, 2]
    assert table["val_bpb"].isna().tolist() == [True, True, False]
    assert table["bpb_probe"].iloc[2] == 1.7


def test_columns_are_documented_and_typed(tmp_path: Path) -> None:
    made_up.sweep(tmp_path, depths=(2,), seeds=1)
    table = store.curves("demo", tmp_path)
    for name, dtype in table.dtypes.items():
        column = curve_columns.find(str(name))
        assert column is not None
        assert str(dtype) == column.dtype
    assert set(table["variant"]) == set(made_up.EFFECTS)
    last = table.groupby("run_id")["step"].idxmax()
    assert (table.loc[last, "tokens"] <= made_up.STEPS * 4096).all()


def test_tokens_and_flops_follow_from_the_step(tmp_path: Path) -> None:
    run = made_up.plan()
    write_rows(tmp_path, [{"step": 5, "loss": 2.0}])
    row = store.curves("x", tmp_path).iloc[0]
    assert row["tokens"] == 5 * run.total_batch_size
    assert row["flops"] == 5 * run.total_batch_size * run.flops_per_token


def test_a_sweep_without_metrics_has_an_empty_typed_table(tmp_path: Path) -> None:
    made_up.freeze(tmp_path, "x", [made_up.cell(made_up.plan())])
    table = store.curves("x", tmp_path)
    assert table.empty
    assert str(table["loss"].dtype) == "Float64"


ROWS = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 6), "loss": st.floats(0, 10)}, optional={"val_bpb": st.floats(0.1, 3)}
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(ROWS, st.integers(0, 30))
def test_a_file_cut_anywhere_gives_its_whole_rows(rows: list[dict], cut: int) -> None:
    with TemporaryDirectory() as folder:
        results = Path(folder)
        write_rows(results, rows)
        path = RunDir.of(results, made_up.plan().run_id).metrics_path
        path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size - cut)])
        whole = []
        for line in path.read_text().splitlines():
            try:
                whole.append(json.loads(line))
            except ValueError:
                continue
        table = store.curves("x", results)
        expected: dict[int, float] = {row["step"]: row["loss"] for row in whole}
        assert dict(zip(table["step"], table["loss"], strict=True)) == expected
        assert list(table["step"]) == sorted(expected)
        assert not pd.isna(table["loss"]).any()
