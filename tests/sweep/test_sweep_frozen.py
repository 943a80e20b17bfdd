"""Frozen sweeps: what may change, what may not, and that every edit of a file is noticed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sweepkit import fsio
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import RungConfig
from sweepkit.errors import ConfigError, FrozenPlanError, SweepkitError
from sweepkit.sweep import frozen
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

LR = "optimizer.matrix.lr"


def sweep(**given: Any) -> SweepFile:
    return SweepFile.from_json({"name": "s", "axes": {LR: [0.01, 0.03]}, "ladder": "mini"} | given)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def one(results: Path) -> Frozen:
    return frozen.freeze(sweep(), results)


def test_what_is_written_is_what_is_read(results: Path, one: Frozen) -> None:
    assert frozen.load_frozen(results, "s") == one
    assert sorted(path.name for path in one.sweep_dir.iterdir()) == ["frozen.json", "plan.jsonl"]
    assert [rung.name for rung in one.rungs] == ["d2", "d4", "d6"]
    assert all(isinstance(rung, RungConfig) for rung in one.rungs)
    lines = (one.sweep_dir / "plan.jsonl").read_text().splitlines()
    assert len(lines) == len(one.cells) == 9
    assert json.loads(lines[0])["role"] == "reference"
    assert [path.name for path in results.iterdir()] == ["s"], "no temporary folder is left"


def test_freezing_again_changes_nothing(results: Path, one: Frozen) -> None:
    before = {path: path.read_bytes() for path in one.sweep_dir.iterdir()}
    assert frozen.freeze(sweep(), results) == one
    assert {path: path.read_bytes() for path in one.sweep_dir.iterdir()} == before


def test_execution_settings_may_change_and_take_effect(results: Path, one: Frozen) -> None:
    extra = ["launcher=local", "launcher.num_workers=2", "trainer.keep_checkpoints=true", "logging=offline"]
    again = frozen.freeze(sweep(), results, extra)
    assert again.sha256 == one.sha256
    assert again.cells[0].plan.config.launcher.kind is LauncherKind.local
    assert frozen.load_frozen(results, "s").cells == one.cells


def test_the_question_may_be_reworded(results: Path, one: Frozen) -> None:
    assert frozen.freeze(sweep(question="Other words?"), results).sha256 == one.sha256


@pytest.mark.parametrize(
    ("given", "extra", "named"),
    [
        ({"axes": {LR: [0.01]}}, [], "axes"),
        ({"axes": {LR: [0.01, 0.03, 0.05]}}, [], "axes"),
        ({"seeds": [1, 2]}, [], "seeds"),
        ({"decision": {"alpha": 0.1}}, [], "decision"),
        ({"base": ["schedule.warmdown_ratio=0.5"]}, [], "base"),
        ({"axes": {"renamed": {"low": [f"{LR}=0.01"], "high": [f"{LR}=0.03"]}}}, [], "axes"),
        ({}, ["schedule.warmdown_ratio=0.5"], "the configuration, an override, or what"),
        ({}, ["trainer.max_loss_ratio=1e9"], "the configuration, an override, or what"),
        ({}, ["ladder=none", "model=d2", "experiment=mini"], "rungs"),
    ],
)
def test_anything_else_needs_a_new_name(
    results: Path, one: Frozen, given: dict[str, Any], extra: list[str], named: str
) -> None:
    with pytest.raises(FrozenPlanError, match=rf"sweep s is changed \(.*{named}.*new name"):
        frozen.freeze(sweep(**given), results, extra)
    assert frozen.load_frozen(results, "s") == one


def test_what_nobody_has_run_or_asked_for_is_frozen_anew(results: Path, one: Frozen) -> None:
    again = frozen.freeze(sweep(seeds=[1, 2]), results, (), False, lambda: False)
    assert len(again.cells) == 18 and frozen.load_frozen(results, "s") == again
    assert [path.name for path in results.iterdir()] == ["s"], "nothing of the first is left"
    with pytest.raises(FrozenPlanError, match="new name"):
        frozen.freeze(sweep(), results, (), False, lambda: True)
    begun = results / "runs" / again.cells[-1].plan.run_id
    note = again.sweep_dir / "limits.jsonl"
    for path in (begun, note):
        path.mkdir(parents=True)
        with pytest.raises(FrozenPlanError, match="new name"):
            frozen.freeze(sweep(), results, (), False, lambda: False)
        path.rmdir()
    edit(again.sweep_dir / "plan.jsonl", '"lr":0.01', '"lr":0.011')
    with pytest.raises(FrozenPlanError, match="edited"):
        frozen.freeze(sweep(), results, (), False, lambda: False)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("plan.jsonl", '"lr":0.01', '"lr":0.011'),
        ("plan.jsonl", '"role":"variant"', '"role":"reference"'),
        ("plan.jsonl", "\n", "\n\n"),
        ("frozen.json", '"alpha": 0.05', '"alpha": 0.4'),
        ("frozen.json", '"min_effect": 0.0003', '"min_effect": 0.0'),
        ("frozen.json", '"plan_sha256": "', '"plan_sha256": "0'),
        ("frozen.json", '"sha256": "', '"sha256": "0'),
        ("frozen.json", "{", ""),
        ("frozen.json", '"sha256"', '"sha"'),
    ],
)
def test_every_edit_is_noticed(results: Path, one: Frozen, name: str, old: str, new: str) -> None:
    edit(one.sweep_dir / name, old, new)
    for attempt in (lambda: frozen.load_frozen(results, "s"), lambda: frozen.freeze(sweep(), results)):
        with pytest.raises(FrozenPlanError, match=rf"{name}.*restore it, or delete"):
            attempt()


def test_an_edit_with_a_matching_hash_is_noticed_by_the_next_freeze(results: Path, one: Frozen) -> None:
    """Whoever recomputes the hashes still has to make the sweep file expand to the same."""
    path = one.sweep_dir / "frozen.json"
    content = fsio.read_json(path)
    content["sweep"]["decision"]["alpha"] = 0.4
    fsio.write_json(path, content)
    with pytest.raises(FrozenPlanError, match="decision"):
        frozen.freeze(sweep(), results)


@pytest.mark.parametrize("name", ["plan.jsonl", "frozen.json"])
def test_a_missing_file_is_refused(results: Path, one: Frozen, name: str) -> None:
    (one.sweep_dir / name).unlink()
    with pytest.raises(FrozenPlanError, match=f"{name} is missing"):
        frozen.freeze(sweep(), results)
    with pytest.raises(FrozenPlanError, match=f"{name} is missing"):
        frozen.load_frozen(results, "s")


def test_a_folder_with_something_else_in_it_can_be_frozen_into(results: Path) -> None:
    (results / "s").mkdir(parents=True)
    (results / "s" / "notes.txt").write_text("mine")
    frozen.freeze(sweep(), results)
    assert len(frozen.load_frozen(results, "s").cells) == 9


def test_drivers_that_start_together_agree(results: Path) -> None:
    """Each with other execution settings, so that the bytes they would write differ."""
    found: list[Frozen] = []
    go = threading.Barrier(4)

    def drive(number: int) -> None:
        go.wait()
        found.append(frozen.freeze(sweep(), results, [f"launcher.num_workers={number + 1}"]))

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {item.sha256 for item in found} == {frozen.load_frozen(results, "s").sha256}
    assert [path.name for path in results.iterdir()] == ["s"]


def test_unknown_names_list_what_there_is(results: Path, one: Frozen) -> None:
    with pytest.raises(ConfigError, match="known: s"):
        frozen.load_frozen(results, "other")
    assert frozen.frozen_names(results) == ["s"]


def test_a_plan_of_a_newer_version_is_not_called_edited(results: Path, one: Frozen) -> None:
    path = one.sweep_dir / "frozen.json"
    fsio.write_json(path, fsio.read_json(path) | {"schema_version": 2})
    with pytest.raises(SweepkitError, match="schema_version 2, but must have 1 or less"):
        frozen.load_frozen(results, one.name)
