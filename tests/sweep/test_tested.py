"""What a sweep tests: every field that differs from the reference's, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.cli.main import main
from sweepkit.config import facts, yaml_words
from sweepkit.sweep import expand, tested
from sweepkit.sweep.file import SweepFile

BASE = ["experiment=mini", "model=d2", "horizon.num_steps=8"]
VALUES = {
    "optimizer.matrix.lr": [0.01, 0.03, 0.2],
    "optimizer.x0.beta1": [0.5, 0.7],
    "model.smear": [False],
    "horizon.num_steps": [4, 16],
    "model.window_pattern": ["L"],
}


def reference_of(field: str) -> str:
    sweep = SweepFile.from_json({"name": "x", "base": BASE, "axes": {field: VALUES[field][:1]}})
    value = expand.expand_all(sweep)[0].plan.config
    for part in field.split("."):
        value = getattr(value, part)
    return facts.spelled(value)


@settings(max_examples=8, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 2), min_size=1, max_size=3))
def test_a_level_that_sets_fields_changes_those_alone(chosen: dict[str, int]) -> None:
    level = {field: VALUES[field][place % len(VALUES[field])] for field, place in chosen.items()}
    written = [f"{field}={facts.spelled(value)}" for field, value in level.items()]
    sweep = SweepFile.from_json({"name": "x", "base": BASE, "axes": {"a": {"b": written}}, "seeds": [1, 2]})
    found = tested.changes(expand.expand_all(sweep))
    assert {(item.field, item.old, item.new) for item in found} == {
        (field, reference_of(field), facts.spelled(value)) for field, value in level.items()
    }
    assert {(item.variant, item.rungs) for item in found} == {("a=b", "")}


def test_a_choice_of_a_group_shows_the_fields_that_it_changes() -> None:
    sweep = SweepFile.from_json({"name": "x", "base": BASE, "axes": {"optimizer": ["adamw"]}})
    found = {item.field: (item.old, item.new) for item in tested.changes(expand.expand_all(sweep))}
    assert len(found) > 1 and all(field.startswith("optimizer.") for field in found)
    assert all(old != new for old, new in found.values())


def test_what_is_searched_stands_beside_the_reference() -> None:
    space = {
        "optimizer.matrix.lr": {"low": 0.005, "high": 0.08, "log": True},
        "model.window_pattern": ["L"],
    }
    sweep = SweepFile.from_json({"name": "x", "base": BASE, "search": {"space": space}})
    found = tested.changes(expand.expand_all(sweep), sweep.search)
    assert [(item.variant, item.field, item.old) for item in found] == [
        (tested.SEARCH, field, reference_of(field)) for field in space
    ]
    assert [item.new for item in found] == ["0.005 to 0.08, log", "L"]
    written = "{" + ", ".join(f"{key}: {item}" for key, item in sweep.search.space.items()) + "}"
    assert yaml_words.read(written)["optimizer.matrix.lr"] == space["optimizer.matrix.lr"], "in errors"


def test_a_plan_of_a_search_fits_a_terminal_and_repeats_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ranges = ["optimizer.value_embedding.lr=tag(log,interval(0.005,0.08))", "model.window_pattern=L,SL"]
    assert main(["plan", "-m", *BASE, *ranges, "search.n_trials=4"]) == 0
    shown = capsys.readouterr().out
    base, *lines = shown.splitlines()
    assert base == f"base: {' '.join(BASE)}", "what is searched is no base"
    assert [line for line in lines if "0.15 → 0.005 to 0.08, log" in line], "in one line"


def test_a_field_that_changes_on_one_rung_alone_names_it() -> None:
    sweep = SweepFile.from_json(
        {"name": "x", "base": BASE[2:], "axes": {"optimizer.matrix.lr": [0.01]}, "ladder": "demo"}
    )
    cells = [cell for cell in expand.expand_all(sweep) if cell.rung in ("d2", "d3")]
    moved = [cell for cell in cells if cell.rung == "d3" and cell.role == "variant"]
    for cell in moved:
        cell.plan.config.optimizer.x0.beta1 = 0.123
    found = {item.field: item.rungs for item in tested.changes(cells)}
    assert found == {"optimizer.matrix.lr": "", "optimizer.x0.beta1": "d3"}


@pytest.mark.slow
def test_plan_shows_it_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path))
    assert main(["plan", "sweep=demo"]) == 0
    shown = capsys.readouterr().out
    first, _, rest = shown.partition("GPU-h")
    assert "base: experiment=mini" in first and "0.008 → 0.032" in first and "optimizer.resid.lr" in first
    assert "→" not in rest
