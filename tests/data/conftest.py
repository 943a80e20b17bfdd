"""Every data test has its own cache folder; the embedded corpus is prepared once a session, small."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_text import sentences, write_parquet

from sweepkit.config.schema import RunConfig
from sweepkit.data.prepare import PreparedData, prepare


@pytest.fixture(autouse=True)
def own_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point sweepkit at a fresh cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three parquet files of documents."""
    for number in range(3):
        write_parquet(tmp_path / "text" / f"part{number}.parquet", list(sentences(30, 30 * number)))
    return tmp_path / "text"


@pytest.fixture(scope="session")
def embedded(shared_cache: Path) -> PreparedData:
    """The embedded corpus at vocabulary 2,048 and T = 256."""
    config = RunConfig()
    config.tokenizer.vocab_size = 2048
    config.horizon.sequence_len = 256
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPKIT_CACHE_DIR", str(shared_cache))
        return prepare(config)
