"""The corpus inside the package: sizes, licences, and no leak from validation into training."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sweepkit.config.cross_checks import EMBEDDED_SOURCES
from sweepkit.config.schema import DatasetConfig
from sweepkit.data import embedded
from sweepkit.data.documents import documents
from sweepkit.errors import ConfigError, DataError

ROWS = {
    name: pq.read_table(embedded.CORPUS / f"{name}.parquet").to_pylist()
    for name in (*EMBEDDED_SOURCES, embedded.PROBE_SOURCE)
}


def test_it_is_large_enough_and_its_documents_are_of_one_to_six_kilobytes() -> None:
    sizes = np.array([len(row["text"].encode()) for rows in ROWS.values() for row in rows])
    assert 4e6 < sizes.sum() < 9e6
    assert sizes.min() >= 1_000 and sizes.max() <= 6_000
    assert np.percentile(sizes, 10) < 1_500 and np.percentile(sizes, 90) > 5_000, "no spread of lengths"
    assert sum((embedded.CORPUS / f"{name}.parquet").stat().st_size for name in ROWS) < 3e6


def test_files_are_what_the_manifest_says() -> None:
    for name, entry in embedded.manifest().items():
        data = (embedded.CORPUS / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert entry["num_docs"] == len(ROWS[Path(name).stem])


def test_no_document_is_in_two_splits() -> None:
    for name, rows in ROWS.items():
        by_document: dict[int, set[str]] = {}
        for row in rows:
            by_document.setdefault(row["document"], set()).add(row["split"])
            assert row["source"] == name
        assert all(len(splits) == 1 for splits in by_document.values())
    train = {row["text"] for rows in ROWS.values() for row in rows if row["split"] == "train"}
    held_out = {row["text"] for rows in ROWS.values() for row in rows if row["split"] != "train"}
    assert not train & held_out


def test_about_a_twentieth_is_validation_and_every_source_is_in_it() -> None:
    for name in EMBEDDED_SOURCES:
        sizes = {"train": 0, "validation": 0}
        for row in ROWS[name]:
            sizes[row["split"]] += len(row["text"])
        assert 0.03 < sizes["validation"] / sum(sizes.values()) < 0.07
    assert {row["split"] for row in ROWS[embedded.PROBE_SOURCE]} == {"probe"}


def test_the_notice_names_every_source_and_its_licence() -> None:
    notice = (embedded.CORPUS / "NOTICE").read_text()
    assert all(name in notice for name in ROWS)
    assert "CC-BY-SA" in notice and "public domain" in notice and "CC0" in notice
    assert "Wikipedia" in notice


def test_sources_mix_in_any_prefix_of_the_validation_text(tmp_path: Path) -> None:
    texts = list(documents(DatasetConfig(), "validation", tmp_path).texts())
    source_of = {row["text"]: name for name, rows in ROWS.items() for row in rows}
    assert {source_of[text] for text in texts[: len(texts) // 4]} == set(EMBEDDED_SOURCES)


def test_an_unknown_source_or_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.sources is 'book', .*did you mean 'books'"):
        documents(DatasetConfig(sources=["book"]), "train", tmp_path)
    with pytest.raises(ConfigError, match=r"evaluation\.streams is 'valid', .*did you mean 'validation'"):
        documents(DatasetConfig(), "valid", tmp_path)


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in embedded.CORPUS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damaged = tmp_path / "books.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    monkeypatch.setattr(embedded, "CORPUS", tmp_path)
    with pytest.raises(DataError, match=r"books\.parquet is missing or changed, but must .*; install"):
        list(documents(DatasetConfig(), "train", tmp_path).texts())
