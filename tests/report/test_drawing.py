"""Tables at the widths people have: names and numbers whole, sentences readable, nothing beyond the edge."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import made_up_runs as made_up
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweepkit.promotion import target
from sweepkit.report import drawing, sheets, sheets_others, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.results import store
from sweepkit.sweep.decision import DecisionRule

LABELS = ["reference", "change=unembedding_lr_double", "change=x0_beta1_80", "a=b96,matrix_lr=0.025"]
SENTENCE = "a sentence that goes on and on and on, "
NAMES = st.text("abc_=,.1", min_size=1, max_size=24)
WORDS = st.lists(st.text("abc,.", min_size=1, max_size=9), min_size=9, max_size=30).map(" ".join)


def drawn(sheet: Sheet, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(drawing.draw(sheet))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def summary_sheet() -> Sheet:
    sheet = Sheet(
        ("rung", "variant", ">n", ">val_bpb ± SD", ">tokens/s", ">train time"), optional=("tokens/s",)
    )
    for place, label in enumerate(LABELS):
        sheet.add(
            "d12", label, "3", f"2.5{place}123 ± 0.00{place}45", f"2{place}.0k", f"1{place}.1 s (+7.4%)"
        )
    return sheet


@pytest.mark.parametrize("width", [50, 66, 80, 100, 120])
def test_names_and_numbers_stay_whole(width: int) -> None:
    lines = drawn(summary_sheet(), width)
    assert max(map(len, lines)) <= width
    for place, label in enumerate(LABELS):
        for whole in (label, f"2.5{place}123 ± 0.00{place}45", f"1{place}.1 s (+7.4%)"):
            assert any(whole in line for line in lines)


@given(st.lists(st.tuples(NAMES, NAMES, WORDS), min_size=1, max_size=4), st.integers(60, 140))
def test_nothing_is_lost_or_chopped_at_any_width(rows: list[tuple[str, str, str]], width: int) -> None:
    sheet = Sheet(("rung", "a long title of names", ">number", "reasons"))
    for place, (name, other, words) in enumerate(rows):
        sheet.add(name, other, f"{place}.12345", words)
    lines = drawn(sheet, width)
    assert max(map(len, lines)) <= width
    for place, (name, other, _) in enumerate(rows):
        assert all(any(whole in line for line in lines) for whole in (name, other, f"{place}.12345"))
    page = " ".join(" ".join(lines).split())
    missing = [word for _, _, words in rows for word in words.split() if word not in page]
    assert not missing


@given(st.integers(60, 140), st.integers(1, 60))
def test_a_sentence_has_room_or_a_line_of_its_own(width: int, label: int) -> None:
    sheet = Sheet(("variant", "reasons"))
    sheet.add("x" * label, SENTENCE * 6)
    lines = drawn(sheet, width)
    is_table = any("─" in line for line in lines)
    names = max(label, len("variant"))
    assert is_table == (names + drawing.GAP + drawing.READABLE + 2 * drawing.MARGIN <= width)


def test_optional_columns_give_way_and_are_named() -> None:
    narrow, wide = drawn(summary_sheet(), 80), drawn(summary_sheet(), 120)
    assert "no room for tokens/s" in narrow[-1]
    assert "22.0k" not in "\n".join(narrow)
    assert "22.0k" in "\n".join(wide)
    assert "no room" not in "\n".join(wide)


def test_titles_take_more_lines_before_a_column_is_left_out() -> None:
    sheet = Sheet(("rung", ">train time of all"), optional=("rung",))
    sheet.add("d12", "1.5")
    assert "d12" in " ".join(drawn(sheet, 20)) and len(drawn(sheet, 20)) > len(drawn(sheet, 40))


def test_numbers_end_in_one_column() -> None:
    ends = {line.rindex("s (+7.4%)") for line in drawn(summary_sheet(), 120) if "(+7.4%)" in line}
    assert len(ends) == 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_runs_of_a_sweep_fit(tmp_path: Path, width: int) -> None:
    made_up.sweep(tmp_path, depths=(2,), seeds=2)
    frame = store.load("demo", tmp_path)
    lines = drawn(sheets.runs(frame), width)
    assert max(map(len, lines)) <= width
    for run_id, value in zip(frame["run_id"], frame["val_bpb"].dropna(), strict=False):
        assert run_id in "\n".join(lines)
        assert f"{value:.5f}" in "\n".join(lines)


@pytest.mark.parametrize(("columns", "width"), [("80", 80), (None, terminal.PIPE_WIDTH)])
def test_a_pipe_is_as_wide_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert terminal.console().width == width


def test_what_no_table_holds_is_stacked_and_whole(tmp_path: Path) -> None:
    sheet = Sheet(("rung", "variant", "verdict", ">val_bpb", "reasons"), optional=("val_bpb",))
    sheet.add("d12", "change=unembedding_lr_double", "inconclusive", "2.51234", SENTENCE * 4)
    sheet.add("d12", "reference", "", "", "")
    lines = drawn(sheet, 60)
    assert lines[0].split() == ["d12", "change=unembedding_lr_double"] and max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()).endswith(f"reasons {SENTENCE * 4}d12 reference")
    assert [line.split() for line in lines[1:3]] == [["verdict", "inconclusive"], ["val_bpb", "2.51234"]]


@given(st.integers(1, 12), st.lists(st.integers(1, 300), min_size=1, max_size=5), st.booleans())
def test_in_a_pipe_every_row_is_one_line(columns: int, lengths: list[int], is_sentence: bool) -> None:
    """Whatever its width; in a terminal it is laid out anew."""
    word = "word " if is_sentence else "w"
    sheet = Sheet(tuple(f"c{place}" for place in range(columns)), optional=("c0",))
    rows = [
        [f"{number}{(word * length).strip()}" for _ in range(columns)]
        for number, length in enumerate(lengths)
    ]
    for row in rows:
        sheet.add(*row)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        patch.setattr(sys, "stdout", out := io.StringIO())
        terminal.console().print(drawing.draw(sheet))
    lines = [line.split() for line in out.getvalue().splitlines()]
    for row in rows:
        assert " ".join(row).split() in lines
    assert all(line == line.rstrip() for line in out.getvalue().splitlines())


def test_p_corrected_is_never_left_out_for_room() -> None:
    """Of many groups it is the number that counts; it was the first to go."""
    names = [f"a_record_with_a_name_as_long_as_they_are_{place}" for place in range(12)]
    runs = pd.DataFrame({"variant": names * 2, "val_bpb": [1 + place / 97 for place in range(24)]})
    found = target.judge(runs.assign(state="complete"), 1.2, None, DecisionRule(min_effect=0.0))
    shown = [
        " ".join(" ".join(drawn(sheets_others.against(found), width)).split()) for width in range(60, 180)
    ]
    assert all("corrected" in text for text in shown)
    assert any("no room for margin·√n;" in text for text in shown)
