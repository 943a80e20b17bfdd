"""What goes on inside runs, on the page of a sweep and on one of their own."""

from __future__ import annotations

from pathlib import Path

import made_up_runs as made_up
import pytest
from page_checker import check

from sweepkit import fsio
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.plan import part_weights, parts
from sweepkit.plan.run_plan import RunPlan
from sweepkit.report import html, inside
from sweepkit.report.content import gather
from sweepkit.results import diagnosed
from sweepkit.results.diagnosed import Diagnosed, Histogram, Moved
from sweepkit.results.record import RunDir


def write_rows(run_dir: RunDir, plan: RunPlan, dead: float) -> None:
    """Rows of a run whose layer 0 has lost this share of its units at the end."""
    names = part_weights.by_parameter(parts.describe(plan.config))
    for step in (20, 40, 60):
        row = Diagnosed(
            step=step,
            lr=1.0,
            parameters=dict.fromkeys(names, Moved(0.1, 1e-3, 1e-3, 0.5)),
            groups={"matrix": Histogram([1.0] * diagnosed.NUM_BINS)},
            layers={"mlp_dead": [dead] + [0.0] * (plan.depth - 1), "residual_rms": [2.0] * plan.depth},
            whole={"softcap_pinned": 0.0, "sample_tokens": 128.0},
        )
        fsio.append_line(run_dir.path / diagnosed.FILE, typed.dump(row))


@pytest.mark.slow
def test_a_sweeps_page_names_the_runs_in_which_something_looks_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = made_up.sweep(tmp_path, depths=(2,), seeds=1)
    assert inside.of_sweep(gather("demo", tmp_path)) == [], "nothing was measured"
    sick, *others = frozen.cells
    for cell in frozen.cells:
        run_dir = RunDir.of(tmp_path, cell.plan.run_id)
        write_rows(run_dir, cell.plan, dead=0.31 if cell is sick else 0.01)
    text = check(html.write("demo", tmp_path).read_text()).text
    said = "31% of the MLP units of layer 0 are dead over 128 tokens"
    assert text.count(said) == 2 and f"Nothing looks wrong in {len(others)} runs." in text
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    assert main(["diagnose", "demo"]) == 0
    out = capsys.readouterr().out
    assert (
        out.count(said) == 1 and f"nothing looks wrong in {len(others)} runs: {others[0].plan.run_id}" in out
    )
    assert main(["diagnose", "demo", "--output", str(tmp_path / "page.html")]) == 2
    assert "must be asked for one run" in capsys.readouterr().err
    assert main(["diagnose", sick.plan.run_id, "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert said in check(page).text and page.count("<svg") == 2 and page.count('data-of="ratios-') == 1
