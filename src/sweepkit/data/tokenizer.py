"""Byte-level BPE: rustbpe learns the merges, tiktoken applies them, JSON keeps them.

Text is first split by GPT-4's pattern, with digit runs of at most ``max_digits`` (methodology §4: 2 is
best at d12). Every byte is a token, so any text round-trips. One special token, ``<|bos|>``, is the last
id; text that spells it is encoded as ordinary characters. ``vocab_size`` counts it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sweepkit import fsio
from sweepkit.errors import DamagedError, DataError, ImpossibleError, invalid

if TYPE_CHECKING:
    import tiktoken

BOS = "<|bos|>"
#: Of white space that the pattern's engine takes at once; its stack ends at a million.
_MAX_BLANKS = 400_000
_LONG_BLANKS = re.compile(rf"\s{{{_MAX_BLANKS}}}(?=\s)")
FORMAT = 1


def split_pattern(max_digits: int) -> str:
    """GPT-4's pattern (tiktoken's cl100k_base) with ``max_digits`` where it has 3."""
    return (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1," + str(max_digits) + r"}"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    )


class Tokenizer:
    """A trained tokenizer.

    Attributes:
        vocab_size: ids, ``<|bos|>`` included.
        bos_id: the last id.
        tokens: the bytes of every id but that one.
        token_bytes: int32 [vocab_size], bytes of text each id stands for; 0 for ``<|bos|>``.
    """

    def __init__(self, tokens: Sequence[bytes], pattern: str) -> None:
        """Args: ``tokens`` in the order of their ids, which is the order of the merges."""
        self.tokens = list(tokens)
        self.pattern = pattern
        self.bos_id = len(self.tokens)
        self.vocab_size = self.bos_id + 1
        self.token_bytes: npt.NDArray[np.int32] = np.array(
            [len(token) for token in self.tokens] + [0], dtype=np.int32
        )

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        import tiktoken

        ranks = {token: index for index, token in enumerate(self.tokens)}
        return tiktoken.Encoding(
            "sweepkit", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens={BOS: self.bos_id}
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of merges and pattern: equal digests encode alike."""
        state = hashlib.sha256(self.pattern.encode())
        for token in self.tokens:
            state.update(len(token).to_bytes(4, "big") + token)
        return state.hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without BOS."""
        return self.encode_batch([text], num_threads=1)[0]

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[list[int]]:
        """Ids of each text, without BOS.

        Raises:
            DataError: the library gives up on one of them.
        """
        pieces = [pieces_of(text) for text in texts]
        flat = [piece for of_text in pieces for piece in of_text]
        with _explained(f"{texts[0]!r:.60}" if len(texts) == 1 else "a document"):
            encoded = iter(self._encoding.encode_ordinary_batch(flat, num_threads=num_threads))
        return [[index for _ in of_text for index in next(encoded)] for of_text in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; bytes that are no UTF-8 become U+FFFD, BOS shows as ``<|bos|>``."""
        return self._encoding.decode([int(index) for index in ids])

    def save(self, path: Path) -> None:
        """Write JSON, atomically."""
        tokens = [base64.b64encode(token).decode() for token in self.tokens]
        fsio.write_json(
            path, {"format": FORMAT, "pattern": self.pattern, "digest": self.digest, "tokens": tokens}
        )

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is not a tokenizer, or its digest does not match its content.
        """
        try:
            value: Any = fsio.read_json(path)
            tokenizer = cls([base64.b64decode(token) for token in value["tokens"]], value["pattern"])
            intact = value["format"] == FORMAT and value["digest"] == tokenizer.digest
        except (ValueError, KeyError, TypeError) as error:
            raise _corrupt(path, error.why if isinstance(error, DamagedError) else repr(error)) from error
        if not intact:
            raise _corrupt(path, "digest or format mismatch")
        return tokenizer


def pieces_of(text: str) -> list[str]:
    """``text`` in one piece, or cut in runs of white space that the pattern's engine could not hold."""
    if len(text) <= _MAX_BLANKS:
        return [text]
    cuts = [0, *(match.end() for match in _LONG_BLANKS.finditer(text)), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(cuts)]


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn a panic of the libraries, which are in Rust, into a DataError: to Python it is no Exception."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DataError(
            f"{what} cannot be tokenized ({str(error).splitlines()[0]:.200}), but must be text; leave out or "
            "shorten the document"
        ) from None


def _corrupt(path: Path, what: str) -> DataError:
    return DataError(
        f"tokenizer file {path} is corrupt ({what}), but must be JSON as it was saved; "
        "delete it and run `sweepkit data prepare` again"
    )


def train(texts: Iterable[str], vocab_size: int, max_digits: int, max_bytes: int) -> Tokenizer:
    """Learn ``vocab_size - 257`` merges from the first ``max_bytes`` of ``texts``; deterministic.

    Raises:
        ConfigError: ``vocab_size`` leaves no room for the 256 bytes and ``<|bos|>``.
        ImpossibleError: the text has too few distinct pairs for that many merges.
    """
    if vocab_size < 257:
        raise invalid(
            "tokenizer.vocab_size", vocab_size, "be at least 257 (256 bytes and <|bos|>)", "use 512 or more"
        )
    if max_digits < 1:
        raise invalid("tokenizer.max_digits", max_digits, "be at least 1", "the default is 2")
    import rustbpe

    pattern = split_pattern(max_digits)
    trainer = rustbpe.Tokenizer()
    with _explained("the text that the tokenizer is trained on (tokenizer.corpus)"):
        trainer.train_from_iterator(_first_bytes(texts, max_bytes), vocab_size - 1, pattern=pattern)
    ranks = sorted((rank, bytes(token)) for token, rank in trainer.get_mergeable_ranks())
    if len(ranks) < vocab_size - 1:
        raise ImpossibleError(
            f"tokenizer.vocab_size is {vocab_size}, but must be at most {len(ranks) + 1}, which is all that "
            "the text it is trained on yields; lower it, train on more text (tokenizer.max_train_bytes) "
            "or set tokenizer.corpus=embedded"
        )
    return Tokenizer([token for _, token in ranks], pattern)


def _first_bytes(texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    seen = 0
    for text in texts:
        yield from pieces_of(text)
        seen += len(text.encode())
        if seen >= max_bytes:
            return
