"""A search compares losses on one text: what would change it is refused before anything is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_fakes import BASE, LR, FormulaSession, freeze

from sweepkit.config import measured
from sweepkit.config.compose import compose
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import LauncherConfig, RunConfig
from sweepkit.data import prepare as preparing
from sweepkit.errors import ConfigError, SweepkitError
from sweepkit.results.record import RunDir
from sweepkit.search import drive, importances
from sweepkit.sweep import frozen, trials
from sweepkit.sweep.file import SweepFile

#: Marked field → a base that reads it, and two values.
CASES: dict[str, tuple[list[str], list[Any]]] = {
    "dataset.kind": ([], ["embedded", "files"]),
    "dataset.path": (["dataset=files", "dataset.path=a"], ["a", "b"]),
    "dataset.text_column": (["dataset=files", "dataset.path=a"], ["text", "content"]),
    "dataset.txt_document": (["dataset=files", "dataset.path=a"], ["file", "paragraph"]),
    "dataset.validation_path": (["dataset=files", "dataset.path=a", "dataset.validation_path=b"], ["a", "b"]),
    "dataset.validation_shards": (["dataset=files", "dataset.path=a"], [1, 2]),
    "dataset.repo": (["dataset=climbmix"], ["owner/one", "owner/two"]),
    "dataset.revision": (["dataset=climbmix"], ["1" * 40, "2" * 40]),
    "dataset.shard_pattern": (["dataset=climbmix"], ["a_{index:05d}.parquet", "b_{index:05d}.parquet"]),
    "evaluation.max_bytes": ([], [65536, 131072]),
    "evaluation.rows": ([], ["stream", "best_fit"]),
    "horizon.sequence_len": ([], [128, 256]),
}
OWN = {name for name in CASES if name.startswith("dataset.")}


MARKED = {key for key, field in fields_of(RunConfig).items() if field.facts.measured}


def sweep_of(space: dict[str, Any], base: list[str], metric: str = "val_bpb") -> SweepFile:
    given = {
        "base": [*BASE, *base],
        "search": {"space": space, "n_trials": 3},
        "decision": {"metric": metric},
    }
    return SweepFile.from_json({"name": "s"} | given)


def test_every_marked_field_is_tried_here() -> None:
    assert set() != MARKED <= CASES.keys()


@pytest.mark.parametrize("field", [name for name in CASES if name in MARKED])
def test_a_field_that_changes_what_is_measured_is_not_searched(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):  # texts of their own: a plan looks at what is in them
        (tmp_path / name).mkdir()
        for part in range(3):
            (tmp_path / name / f"{part}.parquet").write_bytes(f"{name} {part}".encode())
    base, values = CASES[field]
    with pytest.raises(ConfigError, match=rf"search\.space\.{field}"):
        frozen.freeze(sweep_of({field: values}, base), tmp_path)
    assert not (tmp_path / "s").exists()


def test_an_interval_over_the_bytes_scored_is_refused_and_a_group_that_changes_the_text_is(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"max_bytes would be 1000 instead of 262144.*do not compare"):
        frozen.freeze(sweep_of({"evaluation.max_bytes": {"low": 1000, "high": 9000}}, []), tmp_path)
    with pytest.raises(ConfigError, match=r"dataset.*decide by a text that all share"):
        frozen.freeze(sweep_of({"dataset": ["embedded", "climbmix"]}, []), tmp_path)
    frozen.freeze(
        sweep_of({"dataset": ["embedded", "climbmix"]}, ["tokenizer=shared"], "bpb_probe"), tmp_path
    )


def test_datasets_are_searched_on_the_shared_text(tmp_path: Path) -> None:
    """Sources of the embedded corpus are validated on one text: they may be searched by either metric."""
    for number, metric in enumerate(("bpb_probe", "val_bpb")):
        space = {"dataset": ["embedded_books", "embedded_speeches"]}
        frozen.freeze(sweep_of(space, ["dataset=embedded_books"], metric), tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    ["evaluation.max_bytes=70000", "horizon.sequence_len=128", "dataset=embedded_books", f"{LR}=0.3"],
)
def test_what_the_plan_says_is_what_the_runs_digest_says(override: str, shared_cache: Path) -> None:
    """The reference: fingerprints of the text itself, prepared for both configurations."""
    small = ["experiment=mini", "model=d2", "tokenizer=shared", "tokenizer.vocab_size=512"]
    one, two = compose(small), compose([*small, override])
    first, second = preparing.prepare(one), preparing.prepare(two)
    for stream in ("validation", "probe"):
        prints = [
            next(item.fingerprint for item in data.streams if item.name == stream) for data in (first, second)
        ]
        said = measured.measured_on(one, stream) == measured.measured_on(two, stream)
        assert said == (prints[0] == prints[1])


def test_importances_refuse_trials_that_were_measured_on_different_text(tmp_path: Path) -> None:
    sweep = freeze(tmp_path, n_trials=7, sampler="random")
    drive.search(
        sweep,
        LauncherConfig(),
        results_dir=tmp_path,
        session_factory=FormulaSession,
        prepare=lambda config: None,
    )
    assert len(importances.table(tmp_path, "s")) == 1
    for index, trial in enumerate(trials.load(sweep.sweep_dir)):
        run_dir = RunDir.of(tmp_path, trial.cells[0].plan.run_id)
        record = run_dir.read_record()
        assert record is not None
        record.evaluation_fingerprints = {"validation": "a" if index % 2 else "b"}
        run_dir.write_record(record)
    with pytest.raises(SweepkitError, match=r"--importances: .*must be one for all runs compared"):
        importances.table(tmp_path, "s")
