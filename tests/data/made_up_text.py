"""Small documents, files and configurations for data tests."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import DatasetConfig, RunConfig


def write_parquet(path: Path, texts: list[str | None], column: str = "text") -> Path:
    """A parquet file of documents, two row groups where there are enough."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({column: pa.array(texts, pa.string()), "id": list(range(len(texts)))})
    pq.write_table(table, path, row_group_size=max(1, len(texts) // 2))
    return path


def sentences(count: int, first: int = 0) -> list[str]:
    """Documents of 1 to 40 sentences, all different, with letters, digits and non-ASCII."""
    words = ["river", "naïve", "42", "stone", "don't", "Zürich", "1,234", "light", "☃", "under"]
    texts = []
    for index in range(first, first + count):
        lines = [
            f"Line {line} of {index}: {words[(index + line) % 10]} {words[(index * 3 + line) % 10]}."
            for line in range(1 + index * 7 % 40)
        ]
        texts.append("\n".join(lines))
    return texts


def folder_config(folder: Path, vocab_size: int = 300, sequence_len: int = 32) -> RunConfig:
    """A RunConfig over a parquet folder, with a small tokenizer."""
    config = RunConfig()
    config.dataset = DatasetConfig(name="folder", kind=DatasetKind.files, path=str(folder))
    config.tokenizer.vocab_size = vocab_size
    config.horizon.sequence_len = sequence_len
    return config
