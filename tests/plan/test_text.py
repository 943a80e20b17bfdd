"""Which text a run is about: what is in it, not what it is called or where it lies."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepkit import fsio
from sweepkit.config import facts
from sweepkit.config.compose import compose
from sweepkit.config.schema import RunConfig
from sweepkit.errors import DataError
from sweepkit.plan import folder_text, text
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan

SHARED = ("tokenizer=shared", "evaluation.streams=[validation]")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(cache))
    return cache


def folder(path: Path, **files: str) -> Path:
    """A folder with these files; a plan never looks inside them."""
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / f"{name}.parquet").write_text(content)
    return path


def plan(path: Path, *overrides: str) -> RunPlan:
    return build(compose(["dataset=files", f"dataset.path={path}", *overrides]))


def test_two_texts_in_folders_of_one_name_are_two_runs(tmp_path: Path) -> None:
    wiki = plan(folder(tmp_path / "wiki" / "train", a="one", b="two"))
    code = plan(folder(tmp_path / "code" / "train", a="one", b="three"))
    assert wiki.variant_id != code.variant_id
    assert wiki.pair_key != code.pair_key


def test_the_same_files_elsewhere_or_under_another_name_are_the_same_run(tmp_path: Path) -> None:
    here = folder(tmp_path / "here", a="one", b="two")
    there = shutil.copytree(here, tmp_path / "there")
    assert plan(here).run_id == plan(there).run_id == plan(here, "dataset.name=mine").run_id


EDITS = {
    "a byte": lambda path: (path / "b.parquet").write_text("twO"),
    "a byte, its time put back": lambda path: _edit_keeping_time(path / "b.parquet"),
    "longer": lambda path: (path / "b.parquet").write_text("two and more"),
    "a file more": lambda path: (path / "c.parquet").write_text("three"),
    "a file less": lambda path: (path / "a.parquet").unlink(),
    "replaced": lambda path: ((path / "new").write_text("twO"), (path / "new").rename(path / "b.parquet")),
    "renamed past another": lambda path: (path / "a.parquet").rename(path / "z.parquet"),
    "names exchanged": lambda path: _exchange(path / "a.parquet", path / "b.parquet"),
}


def _edit_keeping_time(file: Path) -> None:
    status = file.stat()
    file.write_text("twO")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _exchange(one: Path, other: Path) -> None:
    kept = one.read_text()
    one.write_text(other.read_text())
    other.write_text(kept)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("is_settled", [True, False])
def test_an_edit_makes_another_run_and_is_found_before_training(
    edit: str, is_settled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not digests had been remembered (of files that had not changed for a while)."""
    monkeypatch.setattr(folder_text, "_SETTLED_NS", -1 if is_settled else 10**18)
    path = folder(tmp_path / "text", a="one", b="two")
    before = plan(path)
    text.check(before)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    EDITS[edit](path)
    assert plan(path).variant_id != before.variant_id
    with pytest.raises(DataError, match=r"dataset text of .* must be the one it was planned with"):
        text.check(before)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.dictionaries(st.sampled_from("abcd"), st.binary(min_size=1, max_size=3), min_size=1),
    second=st.dictionaries(st.sampled_from("abcd"), st.binary(min_size=1, max_size=3), min_size=1),
)
def test_digests_are_equal_exactly_where_names_and_bytes_are(
    first: dict[str, bytes], second: dict[str, bytes], tmp_path: Path
) -> None:
    digests = []
    for files in (first, second):
        path = tmp_path / "text"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        for name, content in files.items():
            (path / f"{name}.parquet").write_bytes(content)
        digests.append(folder_text.digest(str(path)))
    assert (digests[0] == digests[1]) == (first == second)


def test_files_that_nobody_touched_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "text", a="one", b="two")
    monkeypatch.setattr(folder_text, "_SETTLED_NS", -1)
    first = folder_text.digest(str(path))
    hashed: list[str] = []
    real = folder_text._sha256
    monkeypatch.setattr(folder_text, "_sha256", lambda file: (hashed.append(file.name), real(file))[1])
    assert folder_text.digest(str(path)) == first and not hashed
    os.utime(path / "b.parquet")
    assert folder_text.digest(str(path)) == first and hashed == ["b.parquet"]


def test_a_damaged_memory_of_digests_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_text, "_SETTLED_NS", -1)
    path = folder(tmp_path / "text", a="one")
    first = folder_text.digest(str(path))
    (memory,) = (tmp_path / "cache" / "data" / "manifests").iterdir()
    content = json.loads(memory.read_text())
    content["files"][str(path / "a.parquet")]["sha256"] = "0" * 64
    for damage in (json.dumps(content), "", "[]", "null", '{"files": 3}'):
        memory.write_text(damage)
        assert folder_text.digest(str(path)) == first


def test_a_folder_that_only_nodes_see_is_no_run_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist on this machine, .* plan on a machine that has"):
        plan(tmp_path / "on_the_nodes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no file of text, but must hold at least one of \*\.parquet"):
        plan(tmp_path / "empty")


def test_which_part_of_a_folder_is_read_is_part_of_the_run(tmp_path: Path) -> None:
    path = folder(tmp_path / "text", a="1", b="2", c="3")
    ids = {
        plan(path, item).variant_id
        for item in ("seed=1", "dataset.validation_shards=2", "dataset.text_column=t")
    }
    assert len(ids) == 3


def test_the_embedded_corpus_is_its_manifest_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["dataset=files", f"dataset.path={folder(tmp_path / 'text', a='1')}"]
    cases = {
        "trained on": [],
        "for the tokenizer": [*own, "tokenizer=shared", "evaluation.streams=[validation]"],
        "as probe": [*own, "evaluation.streams=[validation,probe]"],
        "as held-out probe": [
            *own,
            "evaluation.streams=[validation,probe,probe_holdout]",
            "evaluation.max_bytes=9999",
        ],
        "nowhere": [*own, "evaluation.streams=[validation]"],
    }
    before = {name: build(compose(overrides)) for name, overrides in cases.items()}
    monkeypatch.setattr(text, "embedded_digest", lambda: "0" * 64)
    after = {name: build(compose(overrides)) for name, overrides in cases.items()}
    other_run = {name for name in cases if before[name].variant_id != after[name].variant_id}
    assert other_run == {"trained on", "for the tokenizer"}
    changed = {
        name for name in cases if before[name].evaluation_key != after[name].evaluation_key
    } | other_run
    assert changed == set(cases) - {"nowhere"}
    other_order = {name for name in cases if before[name].pair_key != after[name].pair_key}
    assert other_order == {"trained on", "for the tokenizer"}
    for name in changed:
        with pytest.raises(DataError, match="embedded corpus"):
            text.check(before[name])


def test_a_hub_dataset_is_the_commit_that_this_cache_looked_up(tmp_path: Path) -> None:
    unknown = build(compose(["dataset=climbmix"]))
    assert unknown.texts[text.DATASET] is None
    for refuse in (text.known, text.check):
        with pytest.raises(text.UnknownTextError, match=r"dataset\.revision=COMMIT"):
            refuse(unknown)
    config = compose(["dataset=climbmix"])
    for commit in ("a" * 40, "b" * 40):
        kept = text.listing_path(config.dataset, tmp_path / "cache" / "data" / "downloads")
        kept.parent.mkdir(parents=True, exist_ok=True)
        fsio.write_json(kept, {"commit": commit, "shards": []})
        found = text.known(build(config))
        assert found.config.dataset.revision == commit
        assert found.run_id == build(compose(["dataset=climbmix", f"dataset.revision={commit}"])).run_id
        assert found.run_id != unknown.run_id
        text.check(found)


def test_a_plan_without_texts_is_not_trained() -> None:
    with pytest.raises(DataError, match="must be the one it was planned with"):
        text.check(replace(build(compose()), texts={}))


def test_tables_tell_two_folders_apart(tmp_path: Path) -> None:
    one, two = (plan(folder(tmp_path / name / "train", a=name)) for name in ("wiki", "code"))
    labels = [text.label(item) for item in (one, two)]
    assert labels[0] != labels[1] and all(label and label.startswith("train@") for label in labels)


def test_planning_own_text_imports_no_torch(tmp_path: Path) -> None:
    path = folder(tmp_path / "text", a="one")
    code = (
        "import sys; from sweepkit.config.compose import compose; from sweepkit.plan.build import build;"
        f"build(compose(['dataset=files', 'dataset.path={path}']));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_preparation_serves_plans_that_differ_in_nothing_marked_as_data_or_evaluation() -> None:
    """By generation: every field of another value, where its block says what it is to the data."""
    here = build(compose([]))
    blocks = {
        item.name
        for item in dataclasses.fields(RunConfig)
        if facts.declared(item).data or facts.declared(item).identity is facts.Identity.evaluation
    } - {"seed"}
    elsewhere = {
        "horizon.sequence_len",
        "horizon.total_batch_size",
    }  # of the packed rows; of the loader alone
    for key, field in facts.fields_of(RunConfig).items():
        block, dot, name = key.partition(".")
        is_of_data = field.facts.data or field.facts.identity is facts.Identity.evaluation
        assert not is_of_data or not dot or block in blocks or key in elsewhere, f"{key} is in no recipe"
        if not dot or "." in name:
            continue
        changed = dataclasses.replace(getattr(here.config, block), **{name: "another"})
        other = dataclasses.replace(here, config=dataclasses.replace(here.config, **{block: changed}))
        assert (text.recipe(other) == text.recipe(here)) is (block not in blocks), key
    assert text.recipe(dataclasses.replace(here, sequence_len=7)) != text.recipe(here)
