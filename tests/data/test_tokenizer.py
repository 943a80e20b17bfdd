"""The BPE: round trips, byte counts, digits, determinism, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_text import sentences

from sweepkit.data.tokenizer import BOS, Tokenizer, train
from sweepkit.errors import ConfigError, DataError, ImpossibleError

TEXTS = sentences(200)
TOKENIZER = train(TEXTS, 350, 2, 10**9)


@given(st.text())
def test_any_text_round_trips_and_its_bytes_are_counted(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.token_bytes[ids].sum() == len(text.encode())
    assert TOKENIZER.encode_batch([text, "x"])[0] == ids


def test_vocab_size_counts_the_special_token() -> None:
    assert TOKENIZER.vocab_size == 350 and TOKENIZER.bos_id == 349
    assert TOKENIZER.token_bytes.shape == (350,) and TOKENIZER.token_bytes.dtype == np.int32
    assert TOKENIZER.token_bytes[349] == 0 and (TOKENIZER.token_bytes[:349] > 0).all()
    assert TOKENIZER.decode([349]) == BOS


def test_text_that_spells_the_special_token_is_ordinary() -> None:
    ids = TOKENIZER.encode(f"a {BOS} b")
    assert TOKENIZER.bos_id not in ids
    assert TOKENIZER.decode(ids) == f"a {BOS} b"


@pytest.mark.parametrize("max_digits", [1, 2, 3])
def test_no_token_has_a_longer_run_of_digits(max_digits: int) -> None:
    texts = ["in 196912 and 207712"] * 100 + TEXTS[:3]
    tokenizer = train(texts, 268, max_digits, 10**9)
    runs = [tokenizer.decode([index]).strip() for index in tokenizer.encode("in 196912 and 207712")]
    digits = [len(run) for run in runs if run.isdigit()]
    assert max(digits) == max_digits


def test_training_is_deterministic_and_does_not_depend_on_batches() -> None:
    assert train(iter(TEXTS), 350, 2, 10**9).digest == TOKENIZER.digest
    assert train(TEXTS, 349, 2, 10**9).digest != TOKENIZER.digest


def test_only_the_first_bytes_are_read() -> None:
    def endless() -> object:
        while True:
            yield from TEXTS

    assert train(endless(), 300, 2, 20_000).vocab_size == 300  # type: ignore[arg-type]


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "t.json")
    loaded = Tokenizer.load(tmp_path / "t.json")
    assert loaded.digest == TOKENIZER.digest
    assert loaded.encode(TEXTS[7]) == TOKENIZER.encode(TEXTS[7])


@pytest.mark.parametrize("damage", ["cut", "swap", "empty"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.json"
    TOKENIZER.save(path)
    value = json.loads(path.read_text())
    if damage == "cut":
        path.write_text(path.read_text()[:-100])
    elif damage == "swap":
        value["tokens"][300], value["tokens"][301] = value["tokens"][301], value["tokens"][300]
        path.write_text(json.dumps(value))
    else:
        path.write_text("{}")
    with pytest.raises(DataError, match=r"t\.json is corrupt .* but must .*; delete it"):
        Tokenizer.load(path)


def test_too_little_text_says_how_many_tokens_there_are() -> None:
    with pytest.raises(ImpossibleError, match=r"tokenizer\.vocab_size is 5000, but must be at most \d+"):
        train(["to be or not to be"], 5_000, 2, 10**9)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size is 256, but must"):
        train(TEXTS, 256, 2, 10**9)
    with pytest.raises(ConfigError, match=r"tokenizer\.max_digits is 0, but must"):
        train(TEXTS, 300, 0, 10**9)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(sentences(200), 300, 2, 10**9)


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", " \n", "\n "])
@pytest.mark.parametrize("end", ["", "word"])
def test_a_million_blanks_are_text_like_any_other(tokenizer: Tokenizer, blank: str, end: str) -> None:
    text = "some text." + blank * (1_200_000 // len(blank)) + end
    assert tokenizer.decode(tokenizer.encode(text)) == text
    short = "some text." + blank * 1_000 + end
    assert tokenizer.encode(short) == tokenizer._encoding.encode_ordinary(short)


def test_what_the_library_gives_up_on_is_bad_data(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweepkit.data.tokenizer.pieces_of", lambda text: [text])
    with pytest.raises(DataError, match=r"' {10,}.* cannot be tokenized \(.*StackOverflow"):
        tokenizer.encode(" " * 1_200_000)
    with pytest.raises(DataError, match="the text that the tokenizer is trained on"):
        train([" " * 1_200_000], 300, 2, 10**9)
