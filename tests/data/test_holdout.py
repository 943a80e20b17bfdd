"""Holdout streams: the text behind what is usually scored, and nothing of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_text import folder_config, sentences

from sweepkit.config import holdout
from sweepkit.config.schema import RunConfig
from sweepkit.data import embedded as embedded_corpus
from sweepkit.data.behind import behind
from sweepkit.data.documents import Documents
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.errors import DataError
from sweepkit.plan.text_file import TextFile


def texts_of(prepared: PreparedData, place: int) -> list[str]:
    """The documents of a stream, back from its tokens."""
    stream, tokenizer = prepared.streams[place], prepared.tokenizer
    tokens, first, found = list(map(int, stream.tokens.tokens)), 0, []
    for length in stream.tokens.doc_lengths:
        found.append(tokenizer.decode(tokens[first + 1 : first + int(length)]))
        first += int(length)
    return found


def asked(folder: Path, max_bytes: int) -> RunConfig:
    config = folder_config(folder)
    config.evaluation.streams = ["validation", "validation_holdout"]
    config.evaluation.max_bytes = max_bytes
    return config


def test_a_plan_knows_how_long_the_embedded_texts_are() -> None:
    for split, expected in holdout.EMBEDDED_BYTES.items():
        batches = (batch for file in embedded_corpus.files(split, ()) for batch in file.batches())
        assert sum(len(text.encode()) for batch in batches for text in batch) == expected


def test_the_two_parts_are_neighbours_and_share_nothing(folder: Path) -> None:
    prepared = prepare(asked(folder, 3_000))
    usual, held_back = texts_of(prepared, 0), texts_of(prepared, 1)
    whole = sentences(30, 60)  # the last of three files
    assert usual + held_back == whole[: len(usual) + len(held_back)]
    assert not set(usual) & set(held_back)
    first, second = (stream.measured_on.bytes for stream in prepared.streams)
    assert first == [0, len("".join(usual).encode())]
    assert second == [first[1], first[1] + len("".join(held_back).encode())]
    assert [stream.is_holdout for stream in prepared.streams] == [False, True]
    assert len({stream.fingerprint for stream in prepared.streams}) == 2


def test_the_usual_text_is_what_it_is_without_a_holdout(folder: Path) -> None:
    plain = asked(folder, 3_000)
    plain.evaluation.streams = ["validation"]
    assert prepare(plain).streams[0].fingerprint == prepare(asked(folder, 3_000)).streams[0].fingerprint


def test_a_text_that_leaves_too_little_is_refused_with_what_would_do(folder: Path) -> None:
    with pytest.raises(DataError, match=r"lower it to (\d+) or less.*last_metric: val_bpb") as error:
        prepare(asked(folder, 10**9))
    enough = int(str(error.value).split("lower it to ")[1].split()[0])
    assert prepare(asked(folder, enough)).streams[1].num_bytes > 0


documents = st.lists(st.sampled_from(["", "a", "bb", "ccc", "dddd", "eeeee", "ffffff"]), max_size=30)


@given(st.lists(documents, min_size=1, max_size=4), st.integers(0, 20))
@settings(deadline=None)
def test_no_document_is_on_both_sides_by_place_or_content(batches: list[list[str]], num_docs: int) -> None:
    files = [TextFile("a", lambda: iter(batches[:2])), TextFile("b", lambda: iter(batches[2:]))]
    source = Documents({}, lambda: files)
    everything = [text for batch in batches for text in batch if text]
    scored = everything[:num_docs]
    kept: list[Any] = []
    try:
        for batch in behind(source, num_docs, "validation_holdout", 10).files()[0].batches():
            kept += batch
    except DataError:
        assert sum(map(len, kept)) < holdout.MIN_FRAC * sum(map(len, scored))
    assert kept == [text for text in everything[num_docs:] if text not in scored]


def test_a_holdouts_documents_know_their_source() -> None:
    texts = {"a": ["one", "two"], "b": ["three", "four"]}
    files = [TextFile(name, lambda own=own: iter([own])) for name, own in texts.items()]  # type: ignore[misc]
    (file,) = behind(Documents({}, lambda: files), 1, "validation_holdout", 10).files()
    found = [(text, file.source(text)) for batch in file.batches() for text in batch]
    assert found == [("two", "a"), ("three", "b"), ("four", "b")]
