"""Batches as a pure function of the step; rows a stratified sample; ranks compose the batch."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_text import folder_config, sentences, write_parquet
from scipy import stats

from sweepkit.config.choices import PackingAlgorithm
from sweepkit.data.loader import NUM_STRATA, TrainLoader
from sweepkit.data.packing import PackingIndex
from sweepkit.data.permutation import key_of, permute
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.errors import ConfigError, ImpossibleError


@given(size=st.integers(1, 300), key=st.integers(0, 2**64 - 1))
def test_permute_is_a_permutation(size: int, key: int) -> None:
    images = permute(np.arange(size), size, key)
    assert sorted(images.tolist()) == list(range(size))
    some = np.array([0, size - 1])
    assert permute(some, size, key).tolist() == images[some].tolist(), (
        "an image depends on what else was asked"
    )


def test_permutations_of_large_ranges_mix_well() -> None:
    size = 10**9 + 7
    positions = np.arange(20_000)
    images = permute(positions, size, key_of(3, 0))
    assert len(set(images.tolist())) == len(positions)
    assert abs(images.mean() / size - 0.5) < 0.01
    assert abs(np.corrcoef(positions, images)[0, 1]) < 0.03
    assert abs(np.corrcoef(images[:-1], images[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("size", range(2, 7))
def test_every_permutation_of_few_rows_is_as_likely_as_any_other(size: int) -> None:
    cells = list(itertools.permutations(range(size)))
    num_draws = max(1_000, 10 * len(cells))
    keys = np.repeat(key_of(np.arange(num_draws), 0), size)
    images = permute(np.tile(np.arange(size), num_draws), size, keys).reshape(num_draws, size)
    assert images[7].tolist() == permute(np.arange(size), size, key_of(7, 0)).tolist()
    counts = Counter(tuple(image) for image in images.tolist())
    assert stats.chisquare([counts[cell] for cell in cells]).pvalue > 0.01


def test_permutations_are_the_same_on_every_machine() -> None:
    """Golden values: runs of one seed on two machines must see the same rows."""
    assert permute(np.arange(8), 8, 1).tolist() == [7, 0, 4, 2, 3, 5, 1, 6]
    assert permute(np.array([0, 1, 10**12]), 10**12 + 39, 2**64 - 1).tolist() == [
        982631789596,
        580841865245,
        980603958970,
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    root = tmp_path_factory.mktemp("loader")
    for number in range(2):
        write_parquet(root / "text" / f"{number}.parquet", list(sentences(60, 60 * number)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPKIT_CACHE_DIR", str(root / "cache"))
        return prepare(folder_config(root / "text"))


def loader_of(num_rows: int, seed: int, rows_per_batch: int) -> TrainLoader:
    """A loader over rows of four tokens; its rows alone are asked for."""
    index = PackingIndex(
        np.arange(num_rows + 1), np.arange(num_rows) * 4, np.full(num_rows, 5, dtype=np.int32)
    )
    return TrainLoader(np.zeros(0, np.uint16), index, seed, rows_per_batch * 4, 4)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(
    num_rows=st.integers(1, 400), seed=st.integers(0, 2**40), share=st.floats(0.01, 1), laps=st.integers(1, 3)
)
def test_rows_are_a_stratified_sample(num_rows: int, seed: int, share: float, laps: int) -> None:
    """By counting: each block takes one row of every stretch, and each stretch is read once a lap."""
    rows_per_batch = max(1, int(share * num_rows))
    num_strata = min(NUM_STRATA, num_rows)
    edges = [stratum * num_rows // num_strata for stratum in range(num_strata + 1)]
    sizes = np.diff(edges)
    num_blocks = laps * int(sizes.max())
    loader = loader_of(num_rows, seed, rows_per_batch)
    steps = -(-num_blocks * num_strata // rows_per_batch)
    order = np.concatenate([loader.rows(step) for step in range(steps)])[: num_blocks * num_strata]
    blocks = order.reshape(num_blocks, num_strata)
    strata = np.searchsorted(edges, blocks, side="right") - 1
    assert (np.sort(strata, axis=1) == np.arange(num_strata)).all()
    for stratum, size in enumerate(sizes.tolist()):
        read = blocks[strata == stratum]
        for lap in range(num_blocks // size):
            first = edges[stratum]
            assert sorted(read[lap * size : (lap + 1) * size].tolist()) == list(range(first, first + size))


def test_shares_of_sources_are_alike_for_every_seed() -> None:
    """A third of 1,000 rows is of one source, and of 96 rows a third, with less spread than at random."""
    held = [int((loader_of(1000, seed, 96).rows(0) < 333).sum()) for seed in range(200)]
    plain = np.random.default_rng(0).hypergeometric(333, 667, 96, 200)
    assert abs(np.mean(held) - 32) < 0.5 and np.std(held) < 0.6 * np.std(plain)


def test_a_batch_depends_on_the_step_and_not_on_what_came_before(prepared: PreparedData) -> None:
    walked = prepared.train(7, 4 * 32)
    batches = [walked.batch(step) for step in range(30)]
    for step in (29, 3, 17):
        assert np.array_equal(prepared.train(7, 4 * 32).batch(step), batches[step])
    assert batches[0].dtype == np.int32 and batches[0].shape == (4, 33)


def test_seeds_and_epochs_have_their_own_order(prepared: PreparedData) -> None:
    first, second = prepared.train(1, 4 * 32), prepared.train(2, 4 * 32)
    assert not np.array_equal(first.rows(0), second.rows(0))
    whole = prepared.train(1, prepared.packing(32).num_rows * 32)
    assert not np.array_equal(whole.rows(0), whole.rows(1))
    assert sorted(whole.rows(0)) == sorted(whole.rows(1))


def test_rows_are_the_same_sequence_whatever_the_batch(prepared: PreparedData) -> None:
    wide, narrow = prepared.train(5, 6 * 32), prepared.train(5, 2 * 32)
    thirds = np.concatenate([narrow.batch(step) for step in range(3)])
    assert np.array_equal(wide.batch(0), thirds)
    # What ranks and micro-steps do: contiguous slices put together are the batch.
    assert np.array_equal(np.concatenate(np.split(wide.batch(4), 3)), wide.batch(4))


def test_rows_hold_the_tokens_of_their_documents(prepared: PreparedData) -> None:
    bos = prepared.tokenizer.bos_id
    texts = set(sentences(120))
    batch = prepared.train(1, prepared.packing(32).num_rows * 32).batch(0)
    assert (batch[:, 0] == bos).all()
    for row in batch:
        cuts = [*np.flatnonzero(row == bos).tolist(), len(row)]
        pieces = [prepared.tokenizer.decode(row[a + 1 : b]) for a, b in itertools.pairwise(cuts)]
        for piece in pieces:
            assert any(text.startswith(piece.rstrip("�")) for text in texts)


def test_stream_rows_continue_each_other(prepared: PreparedData) -> None:
    index, _ = prepared.packed(32, PackingAlgorithm.stream)
    tokens = prepared.tokens.tokens
    assert index.num_rows == (len(tokens) - 1) // 32
    order = index.segment_start.tolist()
    assert order == list(range(0, 32 * index.num_rows, 32)) and (index.segment_len == 33).all()


def test_a_batch_that_is_no_whole_number_of_rows_is_refused(prepared: PreparedData) -> None:
    with pytest.raises(
        ConfigError, match=r"horizon\.total_batch_size is 100, but must .*\(32\); nearest: 96"
    ):
        prepared.train(1, 100)


def test_a_dataset_smaller_than_a_batch_is_refused(prepared: PreparedData) -> None:
    with pytest.raises(
        ImpossibleError, match=r"'folder' packs into \d+ rows of 32 tokens, but must fill one batch"
    ):
        prepared.train(1, 32 * 10_000)


def test_another_sequence_length_packs_anew(prepared: PreparedData, own_cache_dir: Path) -> None:
    assert prepared.train(1, 2 * 16, 16).batch(0).shape == (2, 17)
