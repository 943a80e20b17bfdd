"""The report: self-contained, escaped, complete, and made for every state of a sweep."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import made_up_runs as made_up
import pandas as pd
import pytest
from matplotlib.figure import Figure
from page_checker import check

from sweepkit import fsio
from sweepkit.cli import report as command
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.errors import SweepkitError
from sweepkit.promotion.simulation.play import Score
from sweepkit.promotion.verdict_record import Promotion
from sweepkit.report import (
    chart_data,
    committed,
    content,
    drawing,
    html,
    plots,
    policy_plot,
    sheets,
    tables,
    terminal,
)
from sweepkit.results import store
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen


@pytest.fixture
def frozen(tmp_path: Path) -> Frozen:
    return made_up.sweep(tmp_path, depths=(2, 4), seeds=2)


@pytest.fixture
def promotion(frozen: Frozen, tmp_path: Path) -> Promotion:
    return made_up.promote(frozen)


@pytest.mark.slow
def test_a_promoted_sweep_tells_everything(promotion: Promotion, frozen: Frozen, tmp_path: Path) -> None:
    path = html.write("demo", tmp_path)
    assert path == tmp_path / "demo" / "report.html"
    page = path.read_text()
    checker = check(page)
    for said in (frozen.question, frozen.sha256, promotion.message, "error rate α", "0.0003 bits/byte",
                 "the loss rose to 3.1 x", "a processor", "0123abc", "not run"):  # fmt: skip
        assert said in checker.text
    for verdict in promotion.rungs[0].verdicts:
        assert verdict.reasons[0] in checker.text
    for cell in frozen.cells:
        assert cell.plan.run_id in checker.text
    assert "<dl></dl>" not in page  # no runs missing is said as "none"
    assert page.count("<svg") == 2 + 1  # effects a rung, transfer
    assert page.count('data-of="curves-d2" data-run=""') == page.count('id="data-curves-d2"') == 1
    done = [cell.plan.run_id for cell in frozen.cells if cell.rung == "d2" or cell.variant != "lr=high"]
    assert sorted(re.findall(r'<details class="run" id="run-(.*?)"', page)) == sorted(done)


def test_text_is_escaped(tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script> & $a_1$ \\frac'
    run, base = made_up.plan(variant_id="b" * 12), made_up.plan()
    made_up.finish(tmp_path, run)
    made_up.finish(tmp_path, base)
    made_up.freeze(tmp_path, "x", [made_up.cell(base), made_up.cell(run, f"a={nasty}")])
    page = html.write("x", tmp_path).read_text()
    check(page)
    assert page.count("<script") == page.count("</script") == 2, "that of the page itself, and its data"
    assert "&lt;script&gt;" in page
    assert "$a_1$" in page


@pytest.mark.slow
def test_a_sweep_that_was_not_promoted_still_has_effects(frozen: Frozen, tmp_path: Path) -> None:
    page = html.write("demo", tmp_path).read_text()
    assert "sweepkit promote demo" in check(page).text
    gathered = content.gather("demo", tmp_path)
    assert gathered.promotion is None
    assert {row.variant for row in gathered.transfer} == set(made_up.EFFECTS) - {"reference"}
    assert "not run" not in set(gathered.runs["state"])


def test_a_sweep_that_was_only_frozen_has_a_report(tmp_path: Path) -> None:
    made_up.freeze_demo(tmp_path)
    page = html.write("demo", tmp_path).read_text()
    assert "36 planned" in check(page).text
    assert "<svg" not in page


@pytest.mark.parametrize("arguments", [["report", "all"], ["results", "all", "--analysis", "frontier"]])
def test_all_runs_are_no_sweep(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    assert main(arguments) == 2
    assert "sweep is 'all', but must be one sweep" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def test_a_sweep_whose_runs_all_failed_has_a_report(tmp_path: Path) -> None:
    frozen = made_up.freeze_demo(tmp_path, depths=(2,), seeds=1)
    for cell in frozen.cells:
        made_up.diverge(tmp_path, cell.plan)
    assert "4 diverged" in check(html.write("demo", tmp_path).read_text()).text


def test_a_run_that_two_cells_share_counts_once(tmp_path: Path) -> None:
    run = made_up.plan()
    made_up.finish(tmp_path, run)
    made_up.freeze(tmp_path, "x", [made_up.cell(run), made_up.cell(run, "a=b")])
    text = check(html.write("x", tmp_path).read_text()).text
    assert "runs: 1 complete" in text
    assert "(1 run)" in text
    assert "2 complete" not in text


def test_a_picture_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [Score("null", "best of n=1", 10, 9, None, 0.001, 100.0)]
    policy_plot.write(scores, 0.05, tmp_path / "policies.SVG")
    assert "<svg" in (tmp_path / "policies.SVG").read_text()

    def half(self: Figure, file: IO[bytes], **_: object) -> None:
        file.write(b"half")
        raise RuntimeError

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(RuntimeError):
        policy_plot.write(scores, 0.05, tmp_path / "other.png")
    assert [path.name for path in tmp_path.iterdir()] == ["policies.SVG"]


def test_a_picture_of_no_known_format_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--plot", str(tmp_path / "policies.xyz")]) == 2
    assert ".svg" in capsys.readouterr().err
    assert main(["simulate", "--seed", "-1"]) == 2
    assert "at least 0" in capsys.readouterr().err


def test_runs_evaluated_only_once_show_their_training_loss(frozen: Frozen, tmp_path: Path) -> None:
    curves = store.curves("demo", tmp_path)
    curves["val_bpb"] = curves["val_bpb"].where(curves["step"] == made_up.STEPS - 1)
    assert list(chart_data.learning(curves[curves["rung"] == "d2"], {}, {})["y"]) == ["loss"]


@pytest.mark.slow
def test_tampering_is_said_at_the_top(promotion: Promotion, frozen: Frozen, tmp_path: Path) -> None:
    path = frozen.sweep_dir / "frozen.json"
    head = json.loads(path.read_text())
    head["sweep"]["decision"]["alpha"] = 0.4
    path.write_text(json.dumps(head))
    text = check(html.write("demo", tmp_path).read_text()).text
    assert "edited after it was frozen" in text
    # the rule shown is the one the promotion went by, not a default and not the edited one
    path = frozen.sweep_dir / "promotion.json"
    fsio.write_json(path, typed.dump(replace(promotion, decision=replace(promotion.decision, alpha=0.1))))
    assert content.gather("demo", tmp_path).decision.alpha == 0.1


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"sweep": 1}'])
def test_an_unreadable_promotion_is_said_and_left_out(
    promotion: Promotion, frozen: Frozen, tmp_path: Path, damage: str
) -> None:
    (frozen.sweep_dir / "promotion.json").write_text(damage)
    gathered = content.gather("demo", tmp_path)
    assert gathered.promotion is None
    assert "cannot be read" in gathered.problems[0]


def test_a_promotion_by_another_plan_is_said(promotion: Promotion, frozen: Frozen, tmp_path: Path) -> None:
    path = frozen.sweep_dir / "promotion.json"
    fsio.write_json(path, json.loads(path.read_text()) | {"frozen_sha256": "f" * 64})
    assert "another frozen plan" in content.gather("demo", tmp_path).problems[0]


def test_plots_are_valid_svg_that_follows_the_page_and_never_changes(frozen: Frozen, tmp_path: Path) -> None:
    effects = content.gather("demo", tmp_path).effects()
    colour = plots.looks(["reference", *made_up.EFFECTS])

    def draw() -> list[str]:
        return [
            plots.forest(effects[effects["rung"] == "d2"], DecisionRule(), {"lr=high": "reject"}),
            plots.transfer(effects, colour, DecisionRule()),
        ]

    first = draw()
    assert first == draw()
    for svg in first:
        ElementTree.fromstring(svg)
        assert "currentColor" in svg
        assert "width=" not in svg[: svg.index(">")]
        assert "<text" in svg


@pytest.mark.filterwarnings("error")
def test_the_figure_of_a_ladder_that_stopped_is_of_the_rung_it_stopped_at(
    promotion: Promotion, frozen: Frozen, tmp_path: Path
) -> None:
    whole = content.gather("demo", tmp_path)
    first = whole.rungs[0]
    stopped = replace(
        whole,
        transfer=[row for row in whole.transfer if row.rung == first],
        promotion=replace(promotion, rungs=[rung for rung in promotion.rungs if rung.rung == first]),
    )
    assert len(whole.rungs) > 1 and "lr=high" in committed._figure(stopped)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("effects", "is_beyond"), [([0.0, 0.0, 0.005], False), ([0.0, 0.1, 0.005], True)])
def test_what_changed_nothing_makes_no_outlier_of_the_rest(effects: list[float], is_beyond: bool) -> None:
    rows = [{"variant": f"v{place}", "effect": at, "low": at, "high": at} for place, at in enumerate(effects)]
    svg = plots.forest(pd.DataFrame(rows), DecisionRule(), {})
    assert ("beyond this axis" in svg) is is_beyond


@pytest.mark.slow
def test_transfer_shows_what_climbed_and_nothing_else(
    promotion: Promotion, frozen: Frozen, tmp_path: Path
) -> None:
    page = html.write("demo", tmp_path).read_text()
    section = page[page.index('<section id="transfer">') :]
    section = section[: section.index("</section>")]
    climbed = {row.variant for row in promotion.transfer if row.rung == "d4"}
    svg = section[section.index("<svg") : section.index("</svg>")]
    assert {name for name in made_up.EFFECTS if f">{name}<" in svg} == climbed
    assert "lr=high" not in climbed
    assert "lr=high" in section  # its one effect is in the table


@pytest.mark.parametrize("length", [5, 30, 60])
def test_a_legend_stays_inside_its_figure(length: int) -> None:
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for number in range(6):
        axes.plot([0, 1], label=f"{number}".rjust(length, "x"))
    plots.legend(figure, axes)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert len(legend.get_texts()) == 6


def test_the_names_of_many_leave_room_for_their_lines() -> None:
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    axes = figure.subplots()
    for number in range(200):
        axes.plot([0, 1], label=f"variant {number}")
    plots.legend(figure, axes)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_texts()[-1].get_text() == "and 184 more"
    assert axes.get_window_extent().height > 0.25 * figure.bbox.height


@pytest.mark.slow
def test_sentences_keep_room_on_a_narrow_page(promotion: Promotion, tmp_path: Path) -> None:
    page = html.write("demo", tmp_path).read_text()
    reasons = [final.reasons[0] for final in promotion.finals]
    assert all(len(reason) > 60 for reason in reasons)
    cells = re.findall(r"<td[^>]*>val_bpb [−+][^<]*", page)
    assert cells
    assert all(cell.startswith('<td class="t" ') for cell in cells)
    assert re.search(r"td\.t \{ min-width", page)


@pytest.mark.slow
def test_on_a_phone_a_verdict_stands_above_its_reasons(promotion: Promotion, tmp_path: Path) -> None:
    """There every cell bears its column's name, for the heads are not shown."""
    page = html.write("demo", tmp_path).read_text()
    table = r'<table class="([a-z ]*)"><thead><tr>(.*?)</tr></thead><tbody><tr[^>]*>(.*?)</tr>'
    named = {}
    for kind, head, row in re.findall(table, page):
        names = re.findall(r"<th[^>]*>(.*?)</th>", head)
        assert re.findall(r'<td[^>]* data-name="(.*?)"', row) == names
        named[tuple(names)] = kind
    assert next(kind for names, kind in named.items() if names[-1] == "why") == "stacked"
    assert "" in named.values(), "tables of numbers stay tables"
    (step,) = re.findall(r"<li>(.*?--amend-to.*?)</li>", page)
    assert "<kbd>--amend-to</kbd>" in step, "no line ends between its hyphens"


def test_terminal_tables_say_the_same(
    promotion: Promotion, frozen: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(terminal.PIPE_WIDTH))
    console = terminal.console()
    with console.capture() as captured:
        console.print(drawing.draw(sheets.finals(promotion)))
        console.print(tables.verdicts([v for rung in promotion.rungs for v in rung.verdicts]))
        console.print(tables.transfer(promotion.transfer, frozen.decision.metric))
        console.print(tables.summary(store.load("demo", tmp_path)))
        console.print(tables.files({"report": tmp_path / "x.html"}))
    text = captured.get()
    for final in promotion.finals:
        assert final.variant in text
        assert final.outcome.value in text
        assert final.reasons[0][:18] in text
    assert "x.html" in text
    assert max(map(len, text.splitlines())) <= terminal.PIPE_WIDTH


def test_the_command_prints_the_path_and_honours_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up.freeze_demo(tmp_path, depths=(2,), seeds=1)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    target = tmp_path / "talk.html"
    assert command.run(parser.parse_args(["report", "demo", "--output", str(target)])) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert "talk.html" in target.read_text() and "report.html" not in target.read_text()
    with pytest.raises(SweepkitError, match="did you mean 'demo'"):
        command.run(parser.parse_args(["report", "dmo"]))
