"""The table of verdicts: what holds for all stands once, nothing is lost, and reasons have room."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import made_up_runs as made_up
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweepkit.analysis.effects import Effect
from sweepkit.analysis.stability import Divergence
from sweepkit.promotion.doubts import Doubts
from sweepkit.promotion.verdict_record import Evidence, Outcome, Verdict
from sweepkit.report import drawing, html, sheets

EVIDENCE = Evidence(
    metric="val_bpb",
    run_ids=[],
    reference_run_ids=[],
    against={},
    missing={},
    divergence=Divergence(0, 0, 0, 0),
    divergence_p=1.0,
    num_variants=1,
    effect=Effect.unknown("v", 0.9),
    p=1.0,
    p_corrected=1.0,
    metric_p_corrected=1.0,
    correction="Holm",
    axes={},
    doubts=Doubts(None, 0, 0, 0, 0, []),
    scores=[],
)
LINES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4, unique=True)


@given(st.lists(st.tuples(st.sampled_from(["d2", "d4"]), LINES, LINES), max_size=6))
def test_a_sentence_of_all_stands_once_and_none_is_lost(
    given_: list[tuple[str, list[str], list[str]]],
) -> None:
    rows = [
        Verdict(f"v{place}", rung, Outcome.reject, False, reasons, EVIDENCE, notes)
        for place, (rung, reasons, notes) in enumerate(sorted(given_, key=lambda item: item[0]))
    ]
    sheet = sheets.verdicts(rows)
    for verdict, row in zip(rows, sheet.rows, strict=True):
        start = f"{verdict.rung}, every variant: "
        shared = [note.removeprefix(start) for note in sheet.notes if note.startswith(start)]
        own = str(row[3]).split("\n") if row[3] != "as all of this rung, below" else []
        assert {*own, *shared} - {""} == {*verdict.reasons, *verdict.notes}
        assert not {*own} & {*shared}
        alike = [item for item in rows if item.rung == verdict.rung]
        for line in {*own} - {""} if len(alike) > 1 else ():
            assert any(line not in (*item.reasons, *item.notes) for item in alike)


def test_at_80_characters_reasons_have_more_than_half_of_the_line(tmp_path: Path) -> None:
    promotion = made_up.promote(made_up.sweep(tmp_path, depths=(2, 4)))
    verdicts = [item for rung in promotion.rungs for item in rung.verdicts]
    verdicts = [dataclasses.replace(item, variant=f"change={item.variant}_and_more") for item in verdicts]
    console = Console(width=80, file=io.StringIO(), highlight=False)
    console.print(drawing.draw(sheets.verdicts(verdicts, with_notes=False)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    reasons = [line for line in lines if line.startswith("  reasons  ")]
    assert len(reasons) == len(verdicts) and max(map(len, map(str.strip, reasons))) >= drawing.READABLE + 9
    shown = " ".join(" ".join(lines).split())
    for verdict in verdicts:
        assert verdict.reasons[0] in shown


@pytest.mark.slow
def test_the_page_says_how_to_read_it_and_what_to_do(tmp_path: Path) -> None:
    made_up.promote(made_up.sweep(tmp_path, depths=(2, 4)))
    page = html.write("demo", tmp_path).read_text()
    for said in ("How to read a verdict", "Why 90% and not 95%?", "What to do next", "How sure:"):
        assert said in page
    assert page.count("<h4>") == page.count("</h4>") > 3 and "<h1>" in page and page.count("<h1>") == 1
