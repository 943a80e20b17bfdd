"""What a tokenizer makes of text: bytes a token by kind of text, and rows of the vocabulary without a use.

Bytes a token of prose say little about code, numbers or other scripts, and a row that no training token is
has the weights that it began with. The samples are short and the same everywhere: tokenizers compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweepkit.data.prepare import PreparedData
from sweepkit.data.tokenizer import Tokenizer

_CHUNK = 1 << 24  # tokens counted at a time

#: Kind of text → a sample; prose is what the evaluation streams hold. Other scripts: article 1 of the
#: Universal Declaration of Human Rights.
SAMPLES = {
    "code": '''\
import math
from collections.abc import Iterable


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """The mean of some numbers, and their standard deviation."""
    found = list(values)
    if len(found) < 2:
        raise ValueError(f"two values are needed, not {len(found)}")
    mean = math.fsum(found) / len(found)
    squares = [(value - mean) ** 2 for value in found]
    return mean, math.sqrt(math.fsum(squares) / (len(found) - 1))


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.total = start

    def add(self, amount: int) -> None:
        for _ in range(amount):
            self.total += 1
''',
    "numbers": " ".join(
        f"{year} {year * 37 % 1_000_003:,} {year / 7:.4f} {year % 97}% 0x{year * 8191:x}"
        for year in range(1000, 2020, 17)
    ),
    "other scripts": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. "
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. "
        "人人生而自由，在尊严和权利上一律平等。 "
        "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。 "
        "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. "
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।"
    ),
}


@dataclass(frozen=True)
class TokenizerStats:
    """What a tokenizer makes of text.

    Attributes:
        bytes_per_token: name of a text → UTF-8 bytes of it over its tokens, BOS apart.
        vocab_size: rows, ``<|bos|>`` included.
        unused: rows that no token of the training text is.
    """

    bytes_per_token: dict[str, float]
    vocab_size: int
    unused: int


def stats(prepared: PreparedData) -> TokenizerStats:
    """Of the training text, every evaluation stream and every sample."""
    tokenizer = prepared.tokenizer
    caches = {"train": prepared.tokens} | {stream.name: stream.tokens for stream in prepared.streams}
    found = {
        name: cache.num_bytes / max(1, cache.num_tokens - cache.num_docs) for name, cache in caches.items()
    }
    found |= {name: _of(tokenizer, text) for name, text in SAMPLES.items()}
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for start in range(0, prepared.tokens.num_tokens, _CHUNK):
        part = np.asarray(prepared.tokens.tokens[start : start + _CHUNK])
        counts += np.bincount(part, minlength=tokenizer.vocab_size)
    return TokenizerStats(found, tokenizer.vocab_size, int((counts == 0).sum()))


def _of(tokenizer: Tokenizer, text: str) -> float:
    return len(text.encode()) / len(tokenizer.encode(text))
