"""What charts are drawn of: the numbers of the runs, none invented; text never becomes part of the page."""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import made_up_runs as made_up
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_checker import check

import sample
from sweepkit import fsio, sealed
from sweepkit.config.schema import RunConfig
from sweepkit.report import chart_data, html, plots, search_tried
from sweepkit.results import store
from sweepkit.results.record import RunDir, RunState
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.search_space import Choices, Interval

NASTY = "</script><script>alert(1)</script>"


def embedded(page: str, name: str) -> dict[str, Any]:
    """The data of a chart as the page's script reads it."""
    text = re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page, re.DOTALL)
    assert text
    found: dict[str, Any] = json.loads(text[1], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return found


def curve(length: int, every: int) -> pd.DataFrame:
    """A run's rows as the curves table has them; some losses missing."""
    steps = range(1, length + 1)
    rows = {
        "run_id": "r", "variant": "a=b", "seed": 3, "state": "complete", "step": steps,
        "train_time_s": [0.5 * step for step in steps], "flops": [1e9 * step for step in steps],
        "loss": [None if step % 7 == 3 else 5 / step for step in steps],
        "val_bpb": [2 / step if step % every == 0 else None for step in steps],
    }  # fmt: skip
    kinds = dict.fromkeys(("train_time_s", "flops", "loss", "val_bpb"), "Float64")
    return pd.DataFrame(rows).astype({"step": "Int64", **kinds})


@settings(max_examples=200 if sample.is_full() else 15)
@given(st.integers(2, 900), st.integers(1, 40))
def test_a_line_has_the_numbers_of_its_run(length: int, every: int) -> None:
    rows = curve(length, every)
    data = chart_data.learning(rows, {}, {})
    assert ("val_bpb" in data["y"]) == (length // every > 1)
    (line,) = data["lines"]
    known = {step for step in range(1, length + 1) if step % 7 != 3 or step % every == 0}
    assert (
        line["step"][-1] == max(known)
        and set(line["step"]) <= known
        and line["step"] == sorted(set(line["step"]))
    )
    assert len(line["step"]) <= 4 * chart_data._POINTS
    by_step = rows.set_index("step")
    losses = {step: 5 / step for step in range(1, length + 1) if step % 7 != 3}
    window = max(1, len(losses) // 20)
    for place, step in enumerate(line["step"]):
        row = by_step.loc[step]
        before = [value for at, value in losses.items() if at <= step][-window:]
        said = {"train_time_s": row["train_time_s"], "flops": row["flops"]}
        said["loss"] = statistics.fmean(before) if step in losses else None
        said |= {"val_bpb": row["val_bpb"]} if "val_bpb" in data["y"] else {}
        for name, value in said.items():
            if value is None or pd.isna(value):
                assert line[name][place] is None, "missing, and not 0"
            else:
                assert line[name][place] == pytest.approx(value, rel=1e-5)
    if every * 2 <= length <= chart_data._POINTS:
        assert [value for value in line["val_bpb"] if value is not None] == pytest.approx(
            [2 / step for step in range(every, length + 1, every)], rel=1e-5
        )


def test_32_variants_have_a_look_of_their_own() -> None:
    names = ["reference", *map(str, range(33))]
    looks = plots.looks(names)
    assert len(set(looks.values())) == 33 and looks["32"] == looks["0"] != looks["8"]
    for kind in ("line", "point"):
        assert len({(it.colour, str(getattr(it, kind))) for it in looks.values()}) == 33


def test_many_runs_stay_small() -> None:
    one = curve(400, 10)
    runs = pd.concat([one] * 320, ignore_index=True)
    runs["run_id"] = [f"r{place // len(one)}" for place in range(len(runs))]
    data = chart_data.learning(runs, {}, {})
    assert len(data["lines"]) == 320 and len(json.dumps(data)) < 2.5e6


def test_a_panel_says_how_a_run_differs_and_what_it_printed(tmp_path: Path) -> None:
    """Whatever it printed: as text, with escape sequences spelled out."""
    config = RunConfig(seed=1)
    rate = dataclasses.replace(config.optimizer.matrix, lr=0.04)
    changed = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, matrix=rate))
    base, run = made_up.plan(config=config), made_up.plan(variant_id="b" * 12, config=changed)
    for plan in (base, run):
        made_up.finish(tmp_path, plan)
    folder = RunDir.of(tmp_path, run.run_id)
    fsio.write_text(folder.log_path, f"first\n{'x' * 5000}\n\x1b[2J{NASTY}\nlast line\n")
    record = folder.read_record()
    assert record
    folder.write_record(dataclasses.replace(record, sample=f"Once {NASTY}"))
    made_up.freeze(tmp_path, "x", [made_up.cell(base), made_up.cell(run, f"a={NASTY}")])
    page = html.write("x", tmp_path).read_text()
    text = check(page).text
    panel = page[page.index(f'id="run-{run.run_id}"') :]
    panel = panel[: panel.index("</details>")]
    assert "optimizer.matrix.lr" in panel and f"{config.optimizer.matrix.lr} → 0.04" in panel
    assert "\\x1b[2J&lt;/script&gt;" in panel and "last line" in panel and "first" not in panel
    assert "Once &lt;/script&gt;" in panel
    assert "\x1b" not in page and "<script>alert" not in page and "Configured as the reference." in text
    lines = embedded(page, "curves-d2")["lines"]
    assert {line["label"] for line in lines} == {"reference", f"a={NASTY}"}
    assert page.count("<script") == 2


def test_a_sweep_at_work_has_a_page(tmp_path: Path) -> None:
    frozen = made_up.freeze_demo(tmp_path, depths=(2,), seeds=1)
    at_work, done, *_ = (cell.plan for cell in frozen.cells)
    made_up.finish(tmp_path, done)
    folder = RunDir.of(tmp_path, at_work.run_id)
    folder.write_plan(at_work)
    rows = [{"step": step, "attempt": 1, "loss": 5.0 - step, "train_time_s": 1.0 * step} for step in (1, 2)]
    folder.metrics_path.write_bytes(b"".join(sealed.line(row, at_work.run_id) for row in rows))
    folder.write_record(made_up.record(at_work, RunState.running, step=2, ended_at=None))
    page = html.write("demo", tmp_path).read_text()
    assert "2 of 40" in check(page).text
    data = embedded(page, "curves-d2")
    line = next(line for line in data["lines"] if line["run"] == at_work.run_id)
    assert line["step"] == [1, 2] and line["loss"] == [4, 3] and not line["done"]
    assert line["val_bpb"] == [None, None] if "val_bpb" in data["y"] else "val_bpb" not in line
    assert page.count('<details class="run"') == 2, "a run that waits has nothing to say"


@pytest.mark.parametrize("logged", ["lr", "val_bpb"])
def test_a_chart_has_its_data_whatever_a_run_has_logged(tmp_path: Path, logged: str) -> None:
    """Nothing that is drawn, and a single loss at the end."""
    plan = made_up.freeze_demo(tmp_path, depths=(2,), seeds=1).cells[0].plan
    made_up.finish(tmp_path, plan)
    path = RunDir.of(tmp_path, plan.run_id).metrics_path
    path.write_bytes(sealed.line({"step": 40, "attempt": 1, logged: 1.0}, plan.run_id))
    page = html.write("demo", tmp_path).read_text()
    asked = set(re.findall(r'data-of="([^"]+)"', page))
    assert asked == ({"curves-d2"} if logged == "val_bpb" else set())
    for name in asked:
        data = embedded(page, name)
        assert list(data["y"]) == ["val_bpb"] and data["lines"][0]["val_bpb"] == [1]


def test_values_of_trials_are_what_was_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice of nothing is one, a field whose condition did not hold none, and whole numbers stay whole."""
    fields = {"a.clip": Choices((None, 1.0)), "a.size": Interval(2, 8, when={"a.clip": (1.0,)})}
    params = [{"a.clip": None}, {"a.clip": 1.0, "a.size": 4}]
    tried = [
        SimpleNamespace(number=place, params=item, cells=[SimpleNamespace(plan=SimpleNamespace(run_id=name))])
        for place, (name, item) in enumerate(zip("xy", params, strict=True))
    ]
    monkeypatch.setattr(search_tried.trials, "load", lambda _: tried)
    runs = pd.DataFrame({"run_id": ["x", "y"], "rung": "d2", "state": "complete", "val_bpb": [1.0, 2.0]})
    for rule in (DecisionRule(), DecisionRule(metric="mfu")):
        content: Any = SimpleNamespace(
            name="s", decision=rule, rungs=["d2"], sweep_dir=None, runs=runs.assign(mfu=runs["val_bpb"])
        )
        spec: Any = SimpleNamespace(space=fields)
        found = search_tried._trials(content, spec)
        best = dict(search_tried._best(content, spec, found)[1].value)
        slices = {block.kind: block.value for block in search_tried._slices(content, spec, found)}
        if rule.is_higher_better:
            assert (best["a.clip"].text, best["a.size"].text) == ("1.0", "4")
        else:
            assert best["a.clip"].text == "null" and "a.size" not in best
        assert [row[1] for row in slices["table"].rows] == ["null", "1.0"]
        assert slices["chart"].data["lines"][0]["a.size"] == [None, 4]


def effects(values: dict[str, float]) -> pd.DataFrame:
    rows = [
        {"variant": name, "effect": it, "low": it - 0.001, "high": it + 0.001} for name, it in values.items()
    ]
    return pd.DataFrame(rows)


def dots(svg: str) -> dict[str, float]:
    """Variant → where its dot is across, in the units of the drawing."""
    found = {}
    for group in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}g"):
        says, uses = group.get("data-says"), list(group.iter("{http://www.w3.org/2000/svg}use"))
        if says and uses and "beyond" not in says:
            found[says.split(":")[0]] = float(uses[0].get("x") or "nan")
    return found


def test_an_outlier_does_not_flatten_the_others() -> None:
    near = {"a": -0.002, "b": 0.001, "c": 0.003, "d": 0.004}
    alone = plots.forest(effects(near), DecisionRule(), {})
    beside = plots.forest(effects(near | {"wild": 2.5, "mad": -1.0}), DecisionRule(), {})
    spread = {svg: max(at.values()) - min(at.values()) for svg in (alone, beside) if (at := {
        name: x for name, x in dots(svg).items() if name in near})}  # fmt: skip
    assert spread[beside] > 0.5 * spread[alone]
    assert "beyond this axis" not in alone and beside.count("wild: +2.50000, beyond this axis") == 1
    for said in ("+2.50000", "−1.00000"):
        assert f">{said}<" in beside, "its value stands beside the arrow"
    assert "beyond" not in plots.forest(effects({"a": 0.001, "b": 0.007}), DecisionRule(), {})


def test_two_axes_are_a_map(tmp_path: Path) -> None:
    """Each pair at its place, the mean over its seeds; a pair without a number says what became of it."""
    cells, values = [], {}
    for a in ("1", "10", "2"):
        for b in ("x", "y"):
            for seed in (1, 2):
                run = made_up.plan(variant_id=fsio.digest([a, b])[:12], seed=seed)
                is_reference = (a, b) == ("1", "x")
                label = "reference" if is_reference else ",".join((f"a={a}", f"b={b}"))
                cells.append(made_up.cell(run, label, levels={"a": a, "b": b}))
                if (a, b) == ("2", "y"):
                    made_up.diverge(tmp_path, run)
                else:
                    values.setdefault((a, b), []).append(
                        made_up.finish(tmp_path, run, float(a)).results["val_bpb"]
                    )
    made_up.freeze(tmp_path, "x", cells)
    page = html.write("x", tmp_path).read_text()
    table = page[page.index('<table class="heat">') :]
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        for row in table[: table.index("</table>")].split("<tr>")[1:]
    ]
    assert rows[0] == ["a ↓ b →", "x", "y"]
    for a, *found in rows[1:]:
        for b, cell in zip(("x", "y"), found, strict=True):
            mean = statistics.fmean(values[a, b]) if (a, b) in values else None
            assert cell == ("2 diverged" if mean is None else f"{mean:.5f}")
    assert sorted(row[0] for row in rows[1:]) == ["1", "10", "2"]
    best = min(values, key=lambda pair: statistics.fmean(values[pair]))
    assert f'style="--rank: 100%">{statistics.fmean(values[best]):.5f}<' in table
    assert store.load("x", tmp_path)["level_a"].notna().all()
