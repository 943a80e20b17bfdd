"""Kinds of tokens of a text in which every word's is known; where targets stand; sources of documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_text import folder_config, sentences, write_parquet

from sweepkit.config.choices import PackingAlgorithm
from sweepkit.data import token_kinds
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.data.token_kinds import KINDS

TEXT = (
    "The boat of Ada Lovelace (1815) sank.\nShe said I swam: Yes, to Zürich and NASA.\n\tif x_1 == y[2] {\n"
)
#: Every word or sign of TEXT that is not of the kind ``others`` → its kind.
EXPECTED = {
    "Ada": "names", "Lovelace": "names", "(": "code", "1815": "digits", ")": "code", "Zürich": "names",
    "NASA": "names", "\t": "code", "_": "code", "1": "digits", "==": "code", "[": "code", "2": "digits",
    "]": "code", "{": "code",
}  # fmt: skip


def prepared(folder: Path, texts: list[str], **changes: int) -> PreparedData:
    for number in range(3):  # the last file is validation
        write_parquet(folder / f"part{number}.parquet", texts if number == 2 else sentences(30, 30 * number))
    config = folder_config(folder, **changes)
    config.evaluation.streams = ["validation"]
    return prepare(config)


def test_kinds_are_what_the_words_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(token_kinds, "RARE_FRAC", 0.0)
    data = prepared(tmp_path / "text", [TEXT, "Ada again"])
    monkeypatch.setattr(token_kinds, "_rare", lambda text, tokenizer: np.zeros(tokenizer.vocab_size, bool))
    text, tokenizer = data.streams[0].tokens, data.tokenizer
    found = token_kinds.kinds(text, tokenizer)
    ids = np.asarray(text.tokens[:])
    assert (found[ids == tokenizer.bos_id] == -1).all() and (ids == tokenizer.bos_id).sum() == 2
    of_byte: list[str] = []
    for token, kind in zip(ids[1 : int(text.doc_lengths[0])], found[1:], strict=False):
        of_byte += [KINDS[kind]] * len(tokenizer.tokens[token])
    data_bytes, expected = TEXT.encode(), ["others"] * len(TEXT.encode())
    at = 0
    for word, kind in EXPECTED.items():
        at = data_bytes.index(word.encode(), at)
        expected[at : at + len(word.encode())] = [kind] * len(word.encode())
    for at, byte in enumerate(data_bytes):
        if not chr(byte).isspace() and byte != ord("."):  # a blank is its word's; "A." may be a token
            assert of_byte[at] == expected[at], (at, data_bytes[max(0, at - 5) : at + 5], of_byte[at])
    second = ids[int(text.doc_lengths[0]) :]
    assert KINDS[found[int(text.doc_lengths[0]) + 1]] == "others", "Ada begins the document"
    assert len(second) == text.doc_lengths[1]


def test_rare_ones_make_up_a_tenth_and_are_the_rarest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    data = prepared(tmp_path / "text", sentences(40, 60))
    text, tokenizer = data.streams[0].tokens, data.tokenizer
    ids = np.asarray(text.tokens[:])
    ids = ids[ids != tokenizer.bos_id]
    is_rare = token_kinds._rare(text, tokenizer)
    counts = {int(token): int((ids == token).sum()) for token in np.unique(ids)}
    rare, common = (
        [n for token, n in counts.items() if is_rare[token] is np.bool_(want)] for want in (True, False)
    )
    assert max(rare) < min(common) and sum(rare) >= 0.1 * len(ids)
    assert sum(n for n in rare if n < max(rare)) < 0.1 * len(ids)


@pytest.mark.parametrize("rows", ["stream", "best_fit", "greedy_crop"])
def test_places_are_where_the_targets_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    data = prepared(tmp_path / "text", sentences(40, 60))
    stream = data.streams[0].__class__(**{**vars(data.streams[0]), "packing": PackingAlgorithm[rows]})
    tokens = np.asarray(stream.tokens.tokens[:]).astype(np.int64)
    seen = 0
    for (_, targets), place in zip(stream.batches(7), stream.places(7), strict=True):
        is_scored = targets >= 0
        assert (tokens[place[is_scored]] == targets[is_scored]).all()
        assert place.shape == targets.shape
        seen += int(is_scored.sum())
    assert rows != "stream" or seen == len(tokens) - stream.tokens.num_docs


def test_documents_know_their_source(
    embedded: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = embedded.streams[0].tokens
    assert sorted(stream.sources) == ["books", "encyclopedia", "factbook", "speeches"]
    counts = {name: int((stream.doc_sources == number).sum()) for number, name in enumerate(stream.sources)}
    assert counts == {"books": 44, "encyclopedia": 45, "factbook": 26, "speeches": 22}
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    data = prepared(tmp_path / "text", sentences(5, 60))
    assert data.tokens.sources == ("part0.parquet", "part1.parquet")
    assert data.tokens.doc_sources.tolist() == [0] * 30 + [1] * 30
