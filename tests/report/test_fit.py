"""Tables at the widths people have: numbers whole, words whole, nothing beyond the edge."""

from __future__ import annotations

import io
import re
from pathlib import Path

import made_up_runs as made_up
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweepkit.report import drawing, fit, sheets, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.results import store

LABELS = ["reference", "change=unembedding_lr_double", "change=x0_beta1_80", "a=b96,matrix_lr=0.025"]


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


@pytest.mark.parametrize("width", [66, 80, 100, 120])
def test_numbers_and_words_stay_whole(width: int) -> None:
    sheet = summary_sheet()
    lines = drawn(sheet, width)
    assert max(map(len, lines)) <= width
    page = "\n".join(lines)
    for place in range(len(LABELS)):
        assert f"2.5{place}123 ± 0.00{place}45" in page
        assert f"1{place}.1 s (+7.4%)" in page
    # what stands in a line is made of whole words of the labels
    words = set(re.split(r"[_=, ]", " ".join(LABELS)))
    table = lines[3:-1] if "tokens/s" in lines[-1] else lines[3:]
    for line in table:
        assert set(re.split(r"[_=, ]", line[7:].split("  ")[0].strip())) <= words | {""}


def test_optional_columns_give_way_and_are_named() -> None:
    narrow, wide = drawn(summary_sheet(), 66), drawn(summary_sheet(), 120)
    assert "no room for tokens/s" in narrow[-1]
    assert "22.0k" not in "\n".join(narrow)
    assert "22.0k" in "\n".join(wide)
    assert "no room" not in "\n".join(wide)


def test_numbers_end_in_one_column() -> None:
    ends = {line.rindex("s (+7.4%)") for line in drawn(summary_sheet(), 120) if "(+7.4%)" in line}
    assert len(ends) == 1


@given(st.text("ab_=, ±12\n", max_size=40), st.integers(1, 30))
def test_wrapping_loses_nothing_and_breaks_only_where_it_may(words: str, width: int) -> None:
    rest = words
    for whole in fit.wrap(words, width).split("\n"):
        rest = rest.lstrip() if whole.strip() else rest
        line = whole.lstrip()
        assert rest.startswith(line)
        rest = rest.removeprefix(line)
        assert not rest or not line or rest[0].isspace() or line[-1] in "_=,"
        if len(line) > width:  # then there was no place to break it
            assert not re.search(r"[_=,][ab]|[^± ] +[^± ]", line)
    assert not rest.strip()


def test_names_come_before_sentences_but_leave_them_room() -> None:
    sheet = Sheet(("variant", "reasons"))
    sheet.add("change=unembedding_lr_double", "a sentence that goes on and on " * 8)
    assert fit.fit(sheet, 80).widths == {0: 28, 1: 80 - 28 - fit.GAP - 2 * fit.MARGIN}
    assert fit.fit(sheet, 60).widths[1] >= fit.READABLE


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
    reason = "a sentence that goes on and on, " * 4
    sheet.add("d12", "change=unembedding_lr_double", "inconclusive", "2.51234", reason)
    sheet.add("d12", "reference", "", "", "")
    lines = drawn(sheet, 60)
    assert lines[0].split() == ["d12", "change=unembedding_lr_double"] and max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()).endswith(f"reasons {reason}d12 reference")
    assert [line.split() for line in lines[1:3]] == [["verdict", "inconclusive"], ["val_bpb", "2.51234"]]
    assert fit.fit(sheet, 120).is_readable and not fit.fit(sheet, 80).is_readable


def test_columns_move_together_before_words_are_chopped() -> None:
    sheet = Sheet(("rung", ">a", ">b", ">c"))
    sheet.add("d12", *["1" * 15] * 3)
    assert [fit.fit(sheet, width).gap for width in (57, 56, 55)] == [fit.GAP, fit.NARROW_GAP, fit.NARROW_GAP]
    assert [fit.fit(sheet, width).is_readable for width in (57, 54, 53)] == [True, True, False]
