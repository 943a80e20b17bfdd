"""The page in a real browser: what a person does with it, at a desk and on a phone; nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import browser as browsers
import made_up_runs as made_up
import pytest
from browser import Browser
from search_fakes import FormulaSession, freeze

from sweepkit import sealed
from sweepkit.config.schema import LauncherConfig
from sweepkit.report import html
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import drive

WIDTHS, PRINTED = (1280, 390), 718
RUNS = "[...document.querySelectorAll('#runs table')].find(t => t.tBodies[0].rows.length > 8)"
CHART = "document.querySelector('#curves figure').chart"
TICKS = f"[...{CHART}.svg.querySelectorAll('.grid text[text-anchor=middle]')].map(t => t.textContent)"
TIP = "(tip => tip.hidden ? null : tip.textContent)(document.querySelector('.tip'))"

pytestmark = [
    pytest.mark.skipif(
        browsers.PROGRAM is None, reason="no chromium here: the page is not looked at in a browser"
    ),
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    made_up.promote(made_up.sweep(folder, depths=(2, 4), seeds=3))
    path = html.write("demo", folder)
    assert path.stat().st_size < 5e6
    return path


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with two objectives, whose points have long labels."""
    folder = tmp_path_factory.mktemp("search")
    space = {
        "optimizer.matrix.lr": {"low": 0.005, "high": 0.1, "log": True},
        "optimizer.x0.beta1": {"low": 0.7, "high": 0.99},
        "optimizer.matrix.num_iterations": {"low": 3, "high": 5},
        "model.window_pattern": ["SSSL", "SL", "L"],
    }
    sweep = freeze(folder, space=space, n_trials=12, second_objective="peak_memory_gib")
    drive.search(
        sweep, LauncherConfig(), results_dir=folder, prepare=lambda config: None,
        session_factory=lambda: FormulaSession(memory=lambda plan: 1 / plan.config.optimizer.matrix.lr),
    )  # fmt: skip
    return html.write("s", folder)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsers.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(params=WIDTHS)
def seen(page: Path, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The page as it is opened; whatever is done, no script fails, nothing is fetched, nothing is cut."""
    chromium.open(page, request.param, scheme="light" if request.param > 500 else "dark")
    yield chromium
    assert chromium.errors == [] and chromium.requests == []
    inside, window = chromium.do("[document.documentElement.scrollWidth, innerWidth]")
    assert inside <= window == request.param, "the page is wider than its window"


def test_tables_sort_and_filter(seen: Browser) -> None:
    seen.do("document.querySelectorAll('#runs > details').forEach(d => { d.open = true; })")
    header = f"[...{RUNS}.tHead.rows[0].cells].find(cell => cell.textContent === 'val_bpb')"
    column = f"[...{RUNS}.tBodies[0].rows].map(row => row.cells[{header}.cellIndex].textContent)"
    before = seen.do(column)
    seen.click(header)
    up = seen.do(column)
    seen.press("Enter")
    down = seen.do(column)
    seen.press("Enter")
    assert seen.do(column) == before
    values = [float(text) for text in before if re.match(r"[\d.]+$", text)]
    assert len(values) < len(before), "the made-up runs have one that diverged, and some that were not run"
    assert [float(text) for text in up[: len(values)]] == sorted(values) != values
    assert [float(text) for text in down[: len(values)]] == sorted(values, reverse=True)
    seen.click(f"{RUNS}.parentElement.previousElementSibling.querySelector('input')")
    seen.press(*"diverged")
    shown = seen.do(f"[...{RUNS}.tBodies[0].rows].filter(r => r.offsetHeight).map(r => r.textContent)")
    assert len(shown) == 1 and "diverged" in shown[0]


def test_what_is_folded_fits(seen: Browser) -> None:
    seen.do("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert "Evidence" in seen.do("document.body.textContent")


def test_a_chart_answers_to_the_pointer(seen: Browser) -> None:
    """A value, its run and seed; a closer look, and back; a click opens the run's panel."""
    line = seen.do(
        f"(l => ({{...l, path: null}}))({CHART}.visible.find(l => l.label === 'lr=high' && l.run))"
    )
    middle = len(line["points"]) // 2
    step, value, _ = line["points"][middle]

    def place() -> tuple[float, float]:
        seen.place(f"{CHART}.svg")
        left, top = seen.do(f"(b => [b.left, b.top])({CHART}.svg.getBoundingClientRect())")
        return left + line["places"][middle][0], top + line["places"][middle][1]

    seen.move(*place())
    who, _, said = seen.do(TIP).partition(": ")
    assert who == f"lr=high · {line['detail']} · {line['run']}"
    assert [float(number) for number in said.split(" at ")] == pytest.approx([value, step], rel=1e-4)
    before = seen.do(TICKS)
    x, y = place()
    seen.drag((x - 60, y - 60), (x + 30, y + 30))
    assert seen.do(TICKS) != before
    seen.click(f"{CHART}.figure.querySelector('button[title=\"as it was\"]')")
    assert seen.do(TICKS) == before
    seen.drag(place())
    assert seen.do(f"document.getElementById('run-{line['run']}').open")
    seen.settle()
    own = f"document.querySelector('[id=\"run-{line['run']}\"] figure').chart"
    assert set(seen.do(f"{own}.visible.map(l => l.label)")) == {"lr=high", "reference"}


def test_axes_and_lines_are_chosen(seen: Browser) -> None:
    chosen = "[...document.querySelectorAll('#curves select')].find(s => s.options[0].value === 'step')"
    seen.do(f"(s => {{ s.value = 'flops'; s.dispatchEvent(new Event('change')); }})({chosen})")
    charts = "[...document.querySelectorAll('#curves figure')].map(f => f.chart)"
    assert seen.do(f"{charts}.map(c => c.x)") == ["flops", "flops"], "one choice for the page"
    linear = seen.do(f"{CHART}.visible[0].places")
    seen.click(f"{CHART}.figure.querySelector('input[type=checkbox]')")
    assert seen.do(f"{CHART}.visible[0].places") != linear
    button = f"{CHART}.buttons.querySelector('[data-label=\"mlp=8\"]')"
    seen.click(button)
    assert seen.do(f"{button}.getAttribute('aria-pressed')") == "false"
    assert not seen.do(f"{charts}.some(c => c.visible.some(l => l.label === 'mlp=8'))")
    assert seen.do(f"{CHART}.visible.length")
    seen.press(" ")
    assert seen.do(f"{CHART}.visible.some(l => l.label === 'mlp=8')")


def test_a_chart_says_what_it_shows_where_there_is_no_choice(tmp_path: Path, chromium: Browser) -> None:
    run = made_up.plan()
    folder = RunDir.of(tmp_path, run.run_id)
    folder.write_plan(run)
    rows = [{"step": step, "attempt": 1, "loss": 5.0 - step, "train_time_s": 1.0 * step} for step in (1, 2)]
    folder.metrics_path.write_bytes(b"".join(sealed.line(row, folder.run_id) for row in rows))
    folder.write_record(made_up.record(run, RunState.running, step=2, ended_at=None))
    made_up.freeze(tmp_path, "x", [made_up.cell(run)])
    chromium.open(html.write("x", tmp_path), 390)
    assert "y training loss, nats per token" in chromium.do(f"{CHART}.figure.textContent")
    assert chromium.errors == []


def test_a_chart_answers_to_the_keyboard(seen: Browser) -> None:
    seen.place(f"{CHART}.svg")
    seen.do(f"{CHART}.svg.focus()")
    seen.press("ArrowRight")
    last = seen.do(TIP)
    seen.press("ArrowLeft")
    assert last and seen.do(TIP) not in (None, last)
    seen.press("ArrowDown")
    other = seen.do(TIP)
    assert other.split(" at ")[1] != last.split(" at ")[1] and other.split(":")[0] != last.split(":")[0]
    before = seen.do(TICKS)
    seen.press("+")
    assert seen.do(TICKS) != before
    seen.press("Escape")
    assert seen.do(TICKS) == before and seen.do(TIP) is None
    seen.press("ArrowLeft", "Enter")
    run = seen.do("document.activeElement.closest('details.run')?.id")
    assert run and seen.do("document.activeElement.parentElement.open")


def test_many_variants_can_be_told_apart(tmp_path: Path, chromium: Browser) -> None:
    """By colour and dashes, with the same in the legend; what is pointed at stands out. Long names fit."""
    cells = []
    for place in range(18):
        label = f"lr={'9' * 300 if place == 17 else place}" if place else "reference"
        run = made_up.plan(variant_id=f"{place:012x}")
        made_up.finish(tmp_path, run)
        cells.append(made_up.cell(run, label))
    made_up.freeze(tmp_path, "x", cells)
    page = html.write("x", tmp_path)
    for width in WIDTHS:
        chromium.open(page, width)
        chromium.place("document.querySelector('#curves figure')")
        look = "[e.style.stroke, getComputedStyle(e).strokeDasharray].join()"
        lines = chromium.do(f"{CHART}.visible.map(({{label, path: e}}) => [label, {look}])")
        legend = f"[...{CHART}.buttons.querySelectorAll('[data-label]')]"
        keys = chromium.do(f"{legend}.map(b => (e => [b.dataset.label, {look}])(b.querySelector('path')))")
        assert sorted(lines) == sorted(keys) and len({said for _, said in lines}) == 18
        chromium.move(*chromium.place(f"{legend}[12]"))
        seen = f"{CHART}.visible.map(l => [l.label, Number(getComputedStyle(l.path).opacity)])"
        faint = dict(chromium.do(seen))
        assert faint.pop(keys[12][0]) == 1 and faint.pop("reference") > max(faint.values())
        chromium.do("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        inside = chromium.do("document.documentElement.scrollWidth")
        assert inside <= width and chromium.errors == [] and chromium.requests == []


def test_no_zoom_ends_in_numbers_that_are_none(seen: Browser) -> None:
    """Below the least number and above the largest a logarithmic axis would have ticks without end."""
    for is_log in ("false", "true"):
        seen.do(f"(c => {{ c.isLog.y = {is_log}; c.draw({{range: null}}); }})({CHART})")
        for times in (2, 0.5):
            seen.do(f"(c => {{ for (let i = 0; i < 1100; i++) c.zoom({times}); }})({CHART})")
            assert seen.do(f"{CHART}.range.y.every(Number.isFinite)")


@pytest.mark.parametrize("width", [*WIDTHS, PRINTED])
def test_a_search_of_many_fields_is_all_there(search: Path, chromium: Browser, width: int) -> None:
    """Its charts are drawn, and labels of all its fields neither hide numbers nor make the page wider."""
    chromium.open(search, width)
    if width == PRINTED:
        chromium.tell("Emulation.setEmulatedMedia", media="print")
    chromium.do("document.querySelectorAll('figure').forEach(it => it.scrollIntoView())")
    assert chromium.errors == []
    assert chromium.do(
        "new Set([...document.querySelectorAll('[id]')].map(it => it.id)).size"
    ) == chromium.do("document.querySelectorAll('[id]').length")
    assert chromium.do("document.documentElement.scrollWidth <= innerWidth")
    wide = "[...document.querySelectorAll('#summary table')].map(it => it.getBoundingClientRect().right)"
    assert max(chromium.do(wide)) <= width
    assert "<wbr>" not in chromium.do("document.body.textContent")
    lines = """[...document.querySelectorAll('#summary td.r:nth-child(5)')].map(it => {
        const text = document.createRange();
        text.selectNodeContents(it);
        return text.getClientRects().length;
    })"""
    assert set(chromium.do(lines)) <= {0, 1}, "no number is broken"
    chromium.tell("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("kind", ["page", "search"])
def test_paper_holds_all_that_is_unfolded(
    kind: str, request: pytest.FixtureRequest, chromium: Browser
) -> None:
    """No table is wider than the paper, and no name in a legend is cut."""
    chromium.open(request.getfixturevalue(kind), PRINTED)
    chromium.tell("Emulation.setEmulatedMedia", media="print")
    chromium.do("document.querySelectorAll('details').forEach(it => { it.open = true; })")
    chromium.do("document.querySelectorAll('figure').forEach(it => it.scrollIntoView())")
    wider = """[...document.querySelectorAll('table')].filter(it => {
        const box = it.getBoundingClientRect();
        return it.offsetWidth && Math.max(box.right, box.left + it.scrollWidth) > innerWidth;
    }).map(it => it.closest('section, details').textContent.trim().slice(0, 60))"""
    assert chromium.do(wider) == []
    cut = """[...document.querySelectorAll('.legend button')]
        .filter(it => it.scrollWidth > it.clientWidth + 1).map(it => it.textContent)"""
    assert chromium.do(cut) == []
    assert chromium.do("document.documentElement.scrollWidth <= innerWidth")
    chromium.tell("Emulation.setEmulatedMedia", media="")


def test_it_prints(page: Path, chromium: Browser) -> None:
    chromium.open(page, 1280)
    assert chromium.printed().startswith(b"%PDF")
    assert chromium.errors == []
