"""The page in a real browser: columns sort, rows filter, plots answer, nothing is fetched, nothing is cut."""

from __future__ import annotations

import html as markup
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import made_up_runs as made_up
import pytest

from sweepkit.report import html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: What a person does, and what they see; runs in the page, behind its own script.
ACTIONS = """
const found = {errors: window.errors};
const seen = document.documentElement;
const runs = [...document.querySelectorAll("table")].find(t => t.tBodies[0].rows.length > 8);
runs.closest("details").open = true;
const header = [...runs.tHead.rows[0].cells].find(cell => cell.textContent === "val_bpb");
const column = () => [...runs.tBodies[0].rows].map(row => row.cells[header.cellIndex].textContent);
found.before = column();
header.click();
found.ascending = column();
header.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
found.descending = column();
header.click();
found.again = column();
const box = runs.closest("details").querySelector("input[type=search]");
box.value = "diverged";
box.dispatchEvent(new Event("input"));
found.filtered = [...runs.tBodies[0].rows].filter(row => row.offsetHeight).map(row => row.textContent);
const svg = document.querySelector("#curves svg");
const line = [...svg.querySelectorAll("g[id^='l|0|']")].find(group => !group.id.endsWith("mean"));
const path = line.querySelector("path"), half = path.getTotalLength() / 2;
svg.scrollIntoView();
const at = path.getPointAtLength(half).matrixTransform(path.getScreenCTM());
svg.dispatchEvent(new PointerEvent("pointermove", {clientX: at.x, clientY: at.y, bubbles: true}));
const tip = document.querySelector(".tip");
found.tip = tip.hidden ? null : tip.textContent;
found.line = line.id;
const button = document.querySelector("#curves .filter button");
button.click();
found.hidden = [...svg.querySelectorAll("g[id^='l|']")]
  .filter(group => group.style.display === "none").map(group => group.id.split("|")[2]);
found.button = button.textContent;
found.requests = performance.getEntriesByType("resource").length;
found.width = [seen.scrollWidth, innerWidth];
seen.setAttribute("data-found", JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    made_up.sweep(folder, depths=(2,), seeds=3)
    text = html.write("demo", folder).read_text()
    assert len(text) < 5e6
    watch = (
        "<script>window.errors = []; onerror = (message, _, line) => { errors.push(`${message} (${line})`);"
        'document.documentElement.setAttribute("data-found", JSON.stringify({errors})); };</script>'
    )
    acted = text.replace("<body>", f"<body>{watch}", 1)
    return acted.replace("</body>", f"<script>{{{ACTIONS}}}</script></body>", 1)


@pytest.mark.skipif(BROWSER is None, reason="no chromium here: the page is not looked at in a browser")
@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 390])
def test_a_person_sorts_filters_and_points(page: str, width: int, tmp_path: Path) -> None:
    """In a frame, since a window without a head is never narrower than 500 pixels."""
    path = tmp_path / "page.html"
    path.write_text(
        f'<iframe style="width: {width}px; height: 900px" srcdoc="{markup.escape(page)}"></iframe>'
        "<script>onload = () => document.documentElement.setAttribute('data-found', document"
        ".querySelector('iframe').contentDocument.documentElement.getAttribute('data-found'))</script>"
    )
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,1000", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    said = re.search(r'data-found="([^"]*)"', done.stdout)
    assert said, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(markup.unescape(said[1]))
    assert found["errors"] == [] and found["requests"] == 0
    values = [float(text) for text in found["before"] if re.match(r"[\d.]+$", text)]
    missing = len(found["before"]) - len(values)
    up = [float(text) for text in found["ascending"][: len(values)]]
    assert up == sorted(values) and up != values and missing, "the made-up runs have one that diverged"
    assert [float(text) for text in found["descending"][: len(values)]] == sorted(values, reverse=True)
    assert found["again"] == found["before"]
    assert found["filtered"] and all("diverged" in text for text in found["filtered"])
    _, _, variant, seed = found["line"].split("|")
    assert found["tip"] and re.match(r".+ · (seed \d+|mean): [\d.]+ at [\d.]+$", found["tip"]), found["tip"]
    assert variant and seed.startswith("seed ")
    assert set(found["hidden"]) == {found["button"]}
    assert width - 10 <= found["width"][1] <= width
    assert found["width"][0] <= found["width"][1], "the page is wider than its window"
