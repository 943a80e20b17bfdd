"""The corpus inside the package: four named sources to train on, one validation split, one probe.

``corpus/*.parquet`` and ``corpus/manifest.json`` are made by ``scripts/make_embedded_corpus.py``;
``corpus/NOTICE`` has origins and licences. Documents are read in the order of the SHA-256 of their
text: the sources mix evenly, and any prefix of the validation split is a fair sample of it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config.cross_checks import EMBEDDED_SOURCES
from sweepkit.errors import DataError, did_you_mean, invalid
from sweepkit.plan.text_file import TextFile

CORPUS = Path(__file__).resolve().parent / "corpus"
PROBE_SOURCE = "sqlite_text"


@functools.cache
def manifest() -> dict[str, Any]:
    """File name to sha256, num_docs and num_bytes."""
    value: dict[str, Any] = fsio.read_open_json(CORPUS / "manifest.json")
    return value


def recipe(split: str, sources: tuple[str, ...]) -> dict[str, Any]:
    """Names the text of a split by the digests of the files it is in."""
    return {
        "kind": "embedded",
        "split": split,
        "files": {name: manifest()[f"{name}.parquet"]["sha256"] for name in _names(split, sources)},
    }


def files(split: str, sources: tuple[str, ...]) -> list[TextFile]:
    """All documents of a split as one file."""
    source_of: dict[str, str] = {}

    def batches() -> Iterator[list[str]]:
        names = _names(split, sources)
        source_of.update((text, name) for name in names for text in _read(name, split))
        yield sorted(source_of, key=lambda text: hashlib.sha256(text.encode()).digest())

    return [TextFile(f"embedded/{split}", batches, source_of=source_of.__getitem__)]


def _names(split: str, sources: tuple[str, ...]) -> list[str]:
    if split == "probe":
        return [PROBE_SOURCE]
    for source in sources:
        if source not in EMBEDDED_SOURCES:
            known = f"be one of {list(EMBEDDED_SOURCES)}"
            raise invalid("dataset.sources", source, known, did_you_mean(source, EMBEDDED_SOURCES))
    return sorted(set(sources or EMBEDDED_SOURCES))


def _read(name: str, split: str) -> list[str]:
    import pyarrow.parquet as pq

    path = CORPUS / f"{name}.parquet"
    expected = manifest()[path.name]["sha256"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise DataError(
            f"{path} is missing or changed, but must have the SHA-256 {expected[:12]}… of manifest.json; "
            "install sweepkit again"
        )
    table = pq.read_table(path, columns=["text", "split"], filters=[("split", "=", split)])
    texts: list[str] = table.column("text").to_pylist()
    return texts
