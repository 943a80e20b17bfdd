"""Packing against a brute-force reference, and against the floor on long-tailed lengths."""

from __future__ import annotations

import sys
from types import FrameType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.config.choices import PackingAlgorithm
from sweepkit.data.length_index import LengthIndex
from sweepkit.data.packing import PackingIndex, pack

LENGTHS = st.lists(st.integers(1, 40), min_size=0, max_size=60)
ALIGNED = [PackingAlgorithm.best_fit, PackingAlgorithm.greedy_crop]


def rows_of(index: PackingIndex) -> list[list[tuple[int, int]]]:
    return [
        [
            (int(index.segment_start[segment]), int(index.segment_len[segment]))
            for segment in range(index.row_first[row], index.row_first[row + 1])
        ]
        for row in range(index.num_rows)
    ]


def best_fit_by_scanning(lengths: list[int], row_len: int, buffer_docs: int) -> list[list[tuple[int, int]]]:
    """The same rule with a list that is scanned for every choice."""
    starts = np.cumsum([0, *lengths]).tolist()
    pending = list(range(len(lengths)))
    waiting: list[int] = []
    rows: list[list[tuple[int, int]]] = []
    row: list[tuple[int, int]] = []
    while True:
        refilling = not waiting
        while refilling and pending and len(waiting) < buffer_docs:
            document = pending.pop(0)
            if lengths[document] >= row_len:
                rows.append([(starts[document], row_len)])
            else:
                waiting.append(document)
        if not waiting:
            return rows
        remaining = row_len - sum(length for _, length in row)
        fitting = [document for document in waiting if lengths[document] <= remaining]
        if fitting:
            chosen = max(fitting, key=lambda document: (lengths[document], -document))
        else:
            chosen = min(waiting, key=lambda document: (lengths[document], document))
        waiting.remove(chosen)
        row.append((starts[chosen], min(lengths[chosen], remaining)))
        if sum(length for _, length in row) == row_len:
            rows.append(row)
            row = []


@given(lengths=LENGTHS, sequence_len=st.integers(1, 30), buffer_docs=st.integers(1, 70))
def test_best_fit_equals_the_scan(lengths: list[int], sequence_len: int, buffer_docs: int) -> None:
    index, _ = pack(np.array(lengths, np.int64), sequence_len, PackingAlgorithm.best_fit, buffer_docs)
    assert rows_of(index) == best_fit_by_scanning(lengths, sequence_len + 1, buffer_docs)


@pytest.mark.parametrize("algorithm", ALIGNED)
@given(lengths=LENGTHS, sequence_len=st.integers(1, 30))
def test_aligned_rows_are_full_begin_documents_and_overlap_nowhere(
    algorithm: PackingAlgorithm, lengths: list[int], sequence_len: int
) -> None:
    index, stats = pack(np.array(lengths, np.int64), sequence_len, algorithm, 1_000)
    starts = set((np.cumsum(lengths) - lengths).tolist()) if lengths else set()
    segments = [segment for row in rows_of(index) for segment in row]
    for row in rows_of(index):
        assert sum(length for _, length in row) == sequence_len + 1
    assert all(start in starts for start, _ in segments), "a segment does not begin with BOS"
    assert len({start for start, _ in segments}) == len(segments), "a document was used twice"
    held = sum(length for _, length in segments)
    assert stats["num_rows"] == index.num_rows
    if lengths:
        assert stats["cropped_frac"] == pytest.approx(1 - held / sum(lengths))
        floor = sum(max(0, length - sequence_len - 1) for length in lengths) / sum(lengths)
        assert stats["cropped_floor_frac"] == pytest.approx(floor)
        assert stats["cropped_frac"] >= floor - 1e-12


@given(lengths=LENGTHS, sequence_len=st.integers(1, 30))
def test_stream_rows_hold_every_target_once(lengths: list[int], sequence_len: int) -> None:
    index, stats = pack(np.array(lengths, np.int64), sequence_len, PackingAlgorithm.stream, 0)
    targets = [
        position
        for row in rows_of(index)
        for start, length in row
        for position in range(start + 1, start + length)
    ]
    assert targets == list(range(1, 1 + len(targets)))
    assert sum(lengths) - 1 - len(targets) < sequence_len or not lengths
    assert stats["utilisation"] == (1.0 if index.num_rows else 0.0)


def long_tailed(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Log-normal lengths whose tail beyond T = 2048 holds 22.5% of tokens, as web text's does (22.9%)."""
    return np.maximum(2, np.random.default_rng(seed).lognormal(6.3, 1.1, count)).astype(np.int64)


@pytest.mark.parametrize("buffer_docs", [5_000, 20_000, 100_000])
def test_best_fit_lands_within_two_points_of_the_floor(buffer_docs: int) -> None:
    lengths = long_tailed(60_000)
    _, greedy = pack(lengths, 2048, PackingAlgorithm.greedy_crop, 0)
    _, best = pack(lengths, 2048, PackingAlgorithm.best_fit, buffer_docs)
    assert greedy["cropped_frac"] - greedy["cropped_floor_frac"] > 0.10, "the lengths are no challenge"
    assert best["cropped_frac"] - best["cropped_floor_frac"] < 0.02
    assert best["utilisation"] == 1.0


def test_best_fit_does_no_more_with_a_larger_buffer() -> None:
    """Counted in lines of Python; a scan would execute hundreds of times as many."""
    lengths = long_tailed(3_000)
    lines = {100: 0, 3_000: 0}
    for buffer_docs in lines:

        def count(frame: FrameType, event: str, _: object, buffer_docs: int = buffer_docs) -> object:
            lines[buffer_docs] += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            pack(lengths, 2048, PackingAlgorithm.best_fit, buffer_docs)
        finally:
            sys.settrace(before)
    assert 3_000 < lines[3_000] < 2 * lines[100]


def test_documents_that_fill_no_row_give_no_rows() -> None:
    for algorithm in PackingAlgorithm:
        index, stats = pack(np.array([3, 2], np.int64), 16, algorithm, 10)
        assert index.num_rows == 0 and stats["cropped_frac"] == 1.0


@given(
    max_length=st.sampled_from([1, 63, 64, 65, 4_095, 4_096, 5_000]),
    steps=st.lists(st.tuples(st.sampled_from("aals"), st.floats(0, 1)), max_size=80),
)
def test_length_index_equals_a_sorted_list(max_length: int, steps: list[tuple[str, float]]) -> None:
    index = LengthIndex(max_length)
    reference: list[tuple[int, int]] = []  # (length, document)
    for number, (step, share) in enumerate(steps):
        length = round(share * max_length)
        if step == "a":
            index.add(length, number)
            reference.append((length, number))
        elif step == "l":
            fitting = [item for item in reference if item[0] <= length]
            expected = max(fitting, key=lambda item: (item[0], -item[1]), default=(0, -1))
            assert index.pop_longest(length) == expected[1]
            reference = [item for item in reference if item != expected]
        else:
            expected = min(reference, default=(0, -1))
            assert index.pop_shortest() == expected[1]
            reference = [item for item in reference if item != expected]
