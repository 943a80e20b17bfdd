"""Evaluation streams: every byte of the text scored once, whatever the tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_up_text import folder_config, sentences, write_parquet

from sweepkit.config.choices import PackingAlgorithm
from sweepkit.config.cross_checks import EMBEDDED_SOURCES
from sweepkit.config.schema import RunConfig
from sweepkit.data import embedded as embedded_corpus
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.data.streams import EvalStream
from sweepkit.errors import ImpossibleError


def scored_bytes(prepared: PreparedData, stream: EvalStream, rows: int) -> int:
    token_bytes = prepared.tokenizer.token_bytes
    return sum(int(token_bytes[targets[targets >= 0]].sum()) for _, targets in stream.batches(rows))


def small(folder: Path, **changes: int) -> RunConfig:
    config = folder_config(folder)
    config.evaluation.streams = ["validation"]
    config.evaluation.max_bytes = changes.get("max_bytes", 10**9)
    config.tokenizer.vocab_size = changes.get("vocab_size", 300)
    config.horizon.sequence_len = changes.get("sequence_len", 32)
    return config


@pytest.mark.parametrize("rows", [1, 8, 1_000])
def test_scored_bytes_are_the_bytes_of_the_embedded_texts(embedded: PreparedData, rows: int) -> None:
    for stream in embedded.streams:
        names = [embedded_corpus.PROBE_SOURCE] if stream.name == "probe" else EMBEDDED_SOURCES
        expected = 0
        for name in names:
            table = pq.read_table(embedded_corpus.CORPUS / f"{name}.parquet").to_pylist()
            expected += sum(len(row["text"].encode()) for row in table if row["split"] == stream.name)
        assert scored_bytes(embedded, stream, rows) == stream.num_bytes == expected


def test_inputs_and_targets_are_one_stream_shifted_by_one(folder: Path) -> None:
    prepared = prepare(small(folder))
    (stream,) = prepared.streams
    batches = list(stream.batches(3))
    inputs = np.concatenate([inputs.ravel() for inputs, _ in batches])
    targets = np.concatenate([targets.ravel() for _, targets in batches])
    tokens = np.array(stream.tokens.tokens, dtype=np.int32)
    bos = prepared.tokenizer.bos_id
    assert all(part.shape == (3, 32) and part.dtype == np.int32 for pair in batches for part in pair)
    assert np.array_equal(inputs[: len(tokens) - 1], tokens[:-1]) and (inputs[len(tokens) - 1 :] == bos).all()
    expected = np.where(tokens[1:] == bos, -1, tokens[1:])
    assert np.array_equal(targets[: len(expected)], expected) and (targets[len(expected) :] == -1).all()
    assert stream.num_rows == -(-len(expected) // 32) and len(batches) == -(-stream.num_rows // 3)


def test_the_byte_range_ends_at_a_document_and_does_not_depend_on_the_tokenizer(folder: Path) -> None:
    wide = prepare(small(folder, vocab_size=340, max_bytes=3_000)).streams[0]
    narrow = prepare(small(folder, vocab_size=300, max_bytes=3_000)).streams[0]
    sizes = np.cumsum([len(text.encode()) for text in sentences(30, 60)])  # the last file is validation
    assert narrow.num_bytes == wide.num_bytes == sizes[sizes <= 3_000][-1]
    assert narrow.tokens.num_tokens > wide.tokens.num_tokens
    assert narrow.fingerprint == wide.fingerprint


def test_one_document_is_scored_even_if_it_exceeds_the_range(folder: Path) -> None:
    stream = prepare(small(folder, max_bytes=1)).streams[0]
    assert stream.tokens.num_docs == 1 and stream.num_bytes > 1


def test_the_fingerprint_follows_text_range_and_length(folder: Path) -> None:
    base = prepare(small(folder)).streams[0].fingerprint
    assert prepare(small(folder, max_bytes=2_000)).streams[0].fingerprint != base
    assert prepare(small(folder, sequence_len=16)).streams[0].fingerprint != base
    write_parquet(folder / "part2.parquet", [*sentences(29, 60), "another ending"])
    assert prepare(small(folder)).streams[0].fingerprint != base


def test_every_embedded_dataset_has_the_same_streams(embedded: PreparedData) -> None:
    config = RunConfig()
    config.dataset.sources = ["factbook"]
    config.tokenizer.vocab_size = 400
    config.horizon.sequence_len = 256
    single = prepare(config)
    assert [stream.fingerprint for stream in single.streams] == [
        stream.fingerprint for stream in embedded.streams
    ]
    assert single.tokens.num_bytes < embedded.tokens.num_bytes / 3


@pytest.mark.parametrize("algorithm", [PackingAlgorithm.best_fit, PackingAlgorithm.greedy_crop])
def test_rows_may_begin_with_a_document_and_then_score_what_they_do_not_crop(
    folder: Path, algorithm: PackingAlgorithm
) -> None:
    config = small(folder)
    plain = prepare(config).streams[0]
    config.evaluation.rows = algorithm
    prepared = prepare(config)
    (stream,) = prepared.streams
    tokens, bos = np.array(stream.tokens.tokens, dtype=np.int32), prepared.tokenizer.bos_id
    starts = np.flatnonzero(tokens == bos)
    documents = {tuple(part.tolist()) for part in np.split(tokens, starts[1:])}
    batches = list(stream.batches(3))
    inputs = np.concatenate([inputs for inputs, _ in batches])
    targets = np.concatenate([targets for _, targets in batches])
    assert len(inputs) == 3 * len(batches) and stream.num_rows <= len(inputs) < stream.num_rows + 3
    assert (targets[stream.num_rows :] == -1).all()
    for row, scored in zip(inputs[: stream.num_rows], targets, strict=False):
        whole = np.append(row, bos if scored[-1] < 0 else scored[-1])
        assert row[0] == bos and np.array_equal(scored, np.where(whole[1:] == bos, -1, whole[1:]))
        for piece in np.split(whole, np.flatnonzero(whole == bos)[1:]):
            assert any(document[: len(piece)] == tuple(piece.tolist()) for document in documents)
    assert 0 < scored_bytes(prepared, stream, 3) <= plain.num_bytes
    assert stream.fingerprint != plain.fingerprint
    config.tokenizer.vocab_size = 340  # crops other bytes
    assert prepare(config).streams[0].fingerprint != stream.fingerprint


def test_a_text_that_fills_no_aligned_row_is_refused(folder: Path) -> None:
    config = small(folder, max_bytes=1, sequence_len=4_096)
    config.evaluation.rows = PackingAlgorithm.best_fit
    with pytest.raises(ImpossibleError, match=r"evaluation\.rows=best_fit makes no row of 4097 tokens"):
        prepare(config).streams[0].num_rows  # noqa: B018
