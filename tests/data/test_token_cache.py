"""Caches are built once, survive kills and damage, and hold exactly the text."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_text import folder_config, sentences, write_parquet

from sweepkit import fsio
from sweepkit.data import block_check, cache, token_cache
from sweepkit.data.documents import Documents
from sweepkit.data.prepare import prepare
from sweepkit.data.token_cache import TokenCache
from sweepkit.data.tokenizer import Tokenizer, train
from sweepkit.errors import DataError, StorageError
from sweepkit.plan.text_file import TextFile

TEXTS = sentences(90)
TOKENIZER = train(TEXTS, 300, 2, 10**9)


def source(
    texts: list[str] = TEXTS, stop_at: tuple[int, int] | None = None, commit: str | None = None
) -> Documents:
    """Three files of ten batches; optionally one batch raises, as a kill would."""

    def batches(number: int) -> Iterator[list[str]]:
        for batch in range(10):
            if (number, batch) == stop_at:
                raise KeyboardInterrupt
            yield texts[number * 30 + batch * 3 : number * 30 + batch * 3 + 3]

    files = [TextFile(str(number), partial(batches, number), commit) for number in range(3)]
    return Documents({"made": "up"}, lambda: files)


def build(entry: Path, documents: Documents, **options: Any) -> TokenCache:
    return token_cache.ensure(entry, documents, lambda: TOKENIZER, **options)


def test_it_holds_every_document_with_bos_in_front(tmp_path: Path) -> None:
    tokens = build(tmp_path / "entry", source())
    assert tokens.num_docs == 90 and tokens.num_bytes == sum(len(text.encode()) for text in TEXTS)
    assert tokens.tokens.dtype == np.uint16 and len(tokens.tokens) == tokens.num_tokens
    cuts = np.cumsum(tokens.doc_lengths)
    for document, text in zip(np.split(tokens.tokens, cuts[:-1]), TEXTS, strict=True):
        assert document[0] == TOKENIZER.bos_id and TOKENIZER.decode(document[1:]) == text
    assert not tokens.tokens.flags.writeable


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    large = Tokenizer([bytes([index]) for index in range(256)], TOKENIZER.pattern)
    large.vocab_size = 2**16 + 1
    assert token_cache.ensure(tmp_path / "entry", source(), lambda: large).dtype == np.uint32


def test_a_finished_cache_needs_neither_text_nor_tokenizer(tmp_path: Path) -> None:
    def never() -> Any:
        raise AssertionError("the text was asked for")

    first = build(tmp_path / "entry", source())
    again = token_cache.ensure(tmp_path / "entry", Documents({}, never), never)
    assert np.array_equal(first.tokens, again.tokens)


@pytest.mark.parametrize("stop_at", [(0, 0), (0, 7), (1, 0), (2, 9)])
def test_an_interrupted_build_goes_on_and_ends_the_same(
    tmp_path: Path, stop_at: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(tmp_path / "whole", source())
    monkeypatch.setattr(token_cache, "COMMIT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cut", source(stop_at=stop_at))
    assert not (tmp_path / "cut").exists(), "a half-built cache stands where a whole one should"
    seen: list[int] = []
    cut = build(tmp_path / "cut", source(), report=lambda _, documents, __: seen.append(documents))
    assert seen[0] == 3 * (10 * stop_at[0] + stop_at[1]) + 3, "it began again"
    assert np.array_equal(cut.tokens, whole.tokens) and np.array_equal(cut.doc_lengths, whole.doc_lengths)
    assert cut.text_digest == whole.text_digest


def test_a_commit_that_does_not_fit_its_files_begins_again(tmp_path: Path) -> None:
    whole = build(tmp_path / "whole", source())
    working = tmp_path / "cut.building"
    working.mkdir()
    state = {"file": 2, "batch": 0, "num_docs": 60, "num_tokens": 10**6, "num_bytes": 1, "text_digest": ""}
    written_for = {"tokenizer_digest": TOKENIZER.digest, "commit": None}
    fsio.write_json(working / "progress.json", state | written_for)
    assert np.array_equal(build(tmp_path / "cut", source()).tokens, whole.tokens)
    (tmp_path / "bad.building").mkdir()
    (tmp_path / "bad.building" / "progress.json").write_text("[]")
    assert np.array_equal(build(tmp_path / "bad", source()).tokens, whole.tokens)


def test_text_of_another_commit_is_not_added_to_an_interrupted_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_cache, "COMMIT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cut", source(stop_at=(1, 5), commit="before"))
    others = sentences(90, first=500)
    assert others != TEXTS
    cut = build(tmp_path / "cut", source(others, commit="after"))
    assert cut.text_digest == build(tmp_path / "whole", source(others)).text_digest
    assert cut.commit == "after"


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "meta"])
def test_a_damaged_cache_is_built_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "entry"
    whole = np.array(build(entry, source()).tokens)
    path = entry / "tokens.bin"
    data = path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif damage == "cut":
        path.write_bytes(data[:-2])
    elif damage == "missing":
        path.unlink()
    else:
        (entry / "meta.json").write_text('{"files": ')
    assert cache.read(entry) is None
    assert np.array_equal(build(entry, source()).tokens, whole)
    assert "is corrupt and is built again" in capsys.readouterr().err


def test_large_files_are_checksummed_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = tmp_path / "entry"
    build(entry, source())
    monkeypatch.setattr(cache, "CHECK_BYTES", 10)
    path = entry / "tokens.bin"
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    later = ["tokens.bin"]
    assert cache.read(entry, by_block=later) is not None
    assert cache.read(entry, thorough=True, by_block=later) is None
    assert build(entry, source(), thorough=True).tokens[0:1][0] == TOKENIZER.bos_id


def test_a_full_disk_says_so_and_the_next_build_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tmp_path / "entry"
    real = os.fsync

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(token_cache, "COMMIT_EVERY_S", 0.0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match="the disk is full; free some space and run the same command again"
    ):
        build(entry, source())
    assert not entry.exists()
    monkeypatch.setattr(os, "fsync", real)
    assert build(entry, source()).num_docs == 90


def test_a_device_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    working = tmp_path / "entry.building"
    working.mkdir()
    (working / "tokens.bin").symlink_to("/dev/full")  # every write to it fails with "no space left"
    monkeypatch.setattr(os, "truncate", lambda *_: None)
    with pytest.raises(StorageError, match="the disk is full"):
        build(tmp_path / "entry", source())


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT])  # the second is what /proc answers with
def test_an_unwritable_cache_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def denied(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(StorageError, match=r"SWEEPKIT_CACHE_DIR is .*, but must .* be written to .*; set it"):
        build(tmp_path / "no" / "entry", source())


_PREPARE = """
import json, sys, time
from sweepkit.data import packing, token_cache
from sweepkit.data.prepare import prepare
from made_up_text import folder_config
token_cache.COMMIT_EVERY_S = 0.0
real = token_cache._Writer._append
def slow(*args):
    time.sleep(float(sys.argv[2]))
    print("batch", flush=True)
    return real(*args)
token_cache._Writer._append = slow
prepared = prepare(folder_config(sys.argv[1]))
print("done", prepared.tokens.text_digest, prepared.tokens.num_tokens, flush=True)
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", _PREPARE, str(folder), str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_need_the_same_cache_build_it_once(folder: Path) -> None:
    processes = [start(folder, 0.05) for _ in range(3)]
    outputs = [process.communicate(timeout=600)[0].splitlines() for process in processes]
    assert len({output[-1] for output in outputs}) == 1 and outputs[0][-1].startswith("done")
    # Two files of two batches to train on, one file of two for validation, one batch of probe.
    assert sum(output.count("batch") for output in outputs) == 7


def test_a_killed_builder_holds_nobody_up(folder: Path, tmp_path: Path) -> None:
    first = start(folder, 30.0)
    lock = tmp_path / "cache" / "data" / "tokens"
    for _ in range(12_000):
        if list(lock.glob("*.lock")):
            break
        time.sleep(0.05)
    second = start(folder, 0.0)
    time.sleep(0.3)
    os.kill(first.pid, signal.SIGKILL)
    output = second.communicate(timeout=600)[0]
    first.wait()
    assert "done" in output
    assert not list((tmp_path / "cache").rglob("*.building"))
    assert prepare(folder_config(folder)).tokens.text_digest in output


def test_meta_is_plain_json(folder: Path, own_cache_dir: Path) -> None:
    prepare(folder_config(folder))
    suffixes = {path.suffix for path in own_cache_dir.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".bin", ".npy", ".lock"}
    assert all(json.loads(path.read_text()) for path in own_cache_dir.rglob("meta.json"))


def test_more_text_in_one_file_is_another_cache(tmp_path: Path) -> None:
    write_parquet(tmp_path / "text" / "a.parquet", TEXTS[:60])
    before = prepare(folder_config(tmp_path / "text")).tokens
    write_parquet(tmp_path / "text" / "a.parquet", TEXTS)
    after = prepare(folder_config(tmp_path / "text")).tokens
    assert before.folder != after.folder and after.num_docs > before.num_docs


def test_a_large_cache_is_checked_where_it_is_read_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHECK_BYTES", 1_000)
    monkeypatch.setattr(block_check, "BLOCK_BYTES", 512)
    whole = np.array(build(tmp_path / "whole", source()).tokens[:])
    entry = tmp_path / "entry"
    build(entry, source())
    path = entry / "tokens.bin"
    content = bytearray(path.read_bytes())
    content[2_000] ^= 1
    path.write_bytes(content)
    tokens = build(entry, source()).tokens
    assert isinstance(tokens, block_check.CheckedArray) and len(tokens) == len(whole)
    assert np.array_equal(tokens[10:700], whole[10:700]), "the blocks before it are as they were"
    assert np.array_equal(tokens[1_024:], whole[1_024:])
    with pytest.raises(DataError, match=r"tokens\.bin is damaged between bytes 1536 and 2048, but must"):
        tokens[900:1_100]
    assert np.array_equal(build(entry, source()).tokens[:], whole), "made again"


def test_a_document_that_cannot_be_tokenized_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweepkit.data.tokenizer.pieces_of", lambda text: [text])
    texts = [*TEXTS[:40], " " * 1_100_000, *TEXTS[41:]]
    with pytest.raises(DataError, match=r"^1, row 2 of batch 4: .* cannot be tokenized"):
        build(tmp_path / "entry", source(texts))
