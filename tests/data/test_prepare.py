"""prepare: cheap when everything is there, shared where recipes agree."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_up_text import folder_config

from sweepkit import fsio
from sweepkit.config.choices import PackingAlgorithm, TokenizerCorpus
from sweepkit.data import cache
from sweepkit.data import prepare as prepare_module
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.errors import ConfigError, StorageError


def test_of_a_prepared_dataset_nothing_is_built_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(entry: Path) -> None:
        raise AssertionError(f"{entry} is built")

    prepare(folder_config(folder))
    monkeypatch.setattr(cache, "lock", never)
    prepare(folder_config(folder))


def test_it_imports_neither_torch_nor_pandas(folder: Path) -> None:
    prepare(folder_config(folder))
    code = (
        "import sys; from made_up_text import *; from sweepkit.data.prepare import prepare; "
        f"prepare(folder_config(Path({str(folder)!r}))).train(1, 64).batch(0); "
        "print(sorted({'torch', 'pandas', 'rich', 'huggingface_hub', 'rustbpe'} & set(sys.modules)))"
    )
    # made_up_text itself imports pyarrow, which imports pandas only when it is used.
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_configurations_share_what_they_have_in_common(folder: Path, own_cache_dir: Path) -> None:
    first = prepare(folder_config(folder))
    other = folder_config(folder, sequence_len=16)
    other.packing.algorithm = PackingAlgorithm.stream
    second = prepare(other)
    assert first.tokens.folder == second.tokens.folder
    count = {kind: len([p for p in (own_cache_dir / "data" / kind).iterdir() if p.is_dir()]) for kind in
             ("tokenizers", "tokens", "packing")}  # fmt: skip
    assert count == {"tokenizers": 1, "tokens": 3, "packing": 2}


@pytest.mark.slow
def test_one_tokenizer_can_serve_all_datasets(folder: Path, embedded: PreparedData) -> None:
    config = folder_config(folder, vocab_size=2048)
    config.tokenizer.corpus = TokenizerCorpus.embedded
    prepared = prepare(config)
    assert prepared.tokenizer.digest == embedded.tokenizer.digest
    probe, other = prepared.streams[1], embedded.streams[1]
    assert probe.name == other.name == "probe"
    assert probe.tokens.text_digest == other.tokens.text_digest


def test_packing_stats_tell_the_algorithms_apart(folder: Path) -> None:
    prepared = prepare(folder_config(folder))
    cropped = {kind: prepared.packed(32, kind)[1]["cropped_frac"] for kind in PackingAlgorithm}
    assert cropped[PackingAlgorithm.stream] < cropped[PackingAlgorithm.best_fit]
    assert cropped[PackingAlgorithm.best_fit] <= cropped[PackingAlgorithm.greedy_crop]


def test_the_embedded_corpus_has_enough_text(embedded: PreparedData) -> None:
    assert embedded.tokens.num_tokens > 2_000_000
    assert embedded.tokens.num_tokens / embedded.tokens.num_bytes < 0.4, "fewer than 2.5 bytes a token"
    assert [stream.name for stream in embedded.streams] == ["validation", "probe"]


def test_an_unknown_stream_is_refused(folder: Path) -> None:
    config = folder_config(folder)
    config.evaluation.streams = ["valdation"]
    with pytest.raises(ConfigError, match=r"evaluation\.streams is 'valdation'.*did you mean 'validation'"):
        prepare(config)


@pytest.mark.parametrize("name", ["tokenizer.json", "doc_lengths.bin", "segment_start.npy", "meta.json"])
def test_any_damaged_file_of_the_cache_is_replaced(folder: Path, own_cache_dir: Path, name: str) -> None:
    before = prepare(folder_config(folder))
    batch = before.train(1, 8 * 32).batch(3)
    paths = list(own_cache_dir.rglob(name))
    assert paths
    for path in paths:
        path.write_bytes(path.read_bytes()[:-3] + b"???")
    after = prepare(folder_config(folder))
    assert (after.train(1, 8 * 32).batch(3) == batch).all()
    assert after.streams[0].fingerprint == before.streams[0].fingerprint


def test_a_disk_that_fills_up_while_packing_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on file sizes cuts an array in the middle, as a disk does that fills up."""
    config = folder_config(folder, sequence_len=4)
    config.packing.algorithm = PackingAlgorithm.stream  # the most rows, so arrays of some size
    real, limits = prepare_module.pack, resource.getrlimit(resource.RLIMIT_FSIZE)

    def with_little_space_left(*args: Any) -> Any:
        packed = real(*args)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        return packed

    monkeypatch.setattr(prepare_module, "pack", with_little_space_left)
    monkeypatch.setattr(fsio, "DISK_FULL", (errno.EFBIG,))
    try:
        with pytest.raises(StorageError, match="the disk is full; free some space and run the same command"):
            prepare(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(prepare_module, "pack", real)
    assert prepare(config).packing_stats["num_rows"] > 2_000
