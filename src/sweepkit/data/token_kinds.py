"""What kind of token each token of a text is: digits, code, names, rare ones, and all others.

Kinds follow from the tokenizer and the text alone. A token is of the first kind that fits:

- ``digits``: a digit is in it.
- ``code``: no letter and no digit is in it, and it has a sign that programs and markup are written with
  (``SIGNS``) or is white space that indents: a tab, or two blanks in a row.
- ``names``: it is of a word that begins with a capital letter and does not begin a sentence, as words do
  behind the document's begin, a line break, a quotation mark or one of ``. ! ? : ;``, blanks apart. The
  word "I" is none.
- ``rare``: it is one of the tokens that this text has least often, as many as make up a tenth of the text.
- ``others``: what is left, most words and most punctuation.

A word goes on where a token that begins with a letter follows one that ends in a letter; part of a character
counts as a letter.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sweepkit.data.token_cache import TokenCache
from sweepkit.data.tokenizer import Tokenizer

KINDS = ("digits", "code", "names", "rare", "others")
SIGNS = frozenset("{}[]()<>=_/\\|&^~@#$%*+`")
RARE_FRAC = 0.1
_ENDS = frozenset('.!?:;\n\r"“”«»„')

_PART = "\N{REPLACEMENT CHARACTER}"  # of a character, alone in a token
_DIGITS, _CODE, _NAMES, _RARE, _OTHERS = range(len(KINDS))
Flags = npt.NDArray[np.bool_]


def kinds(text: TokenCache, tokenizer: Tokenizer) -> npt.NDArray[np.int8]:
    """The place in ``KINDS`` of every token of a text, int8 [num_tokens]; -1 for BOS."""
    vocabulary = _Vocabulary(tokenizer)
    is_rare = _rare(text, tokenizer)
    found = np.empty(text.num_tokens, dtype=np.int8)
    for _, span in text.spans():
        ids = np.asarray(text.tokens[span]).astype(np.int64)
        found[span] = np.select(
            [vocabulary.has_digit[ids], vocabulary.is_code[ids], vocabulary.names(ids), is_rare[ids]],
            [_DIGITS, _CODE, _NAMES, _RARE],
            _OTHERS,
        )
        found[span][ids == tokenizer.bos_id] = -1
    return found


def _rare(text: TokenCache, tokenizer: Tokenizer) -> Flags:
    """Which ids are rare in this text: all that it has so many times or fewer, until a tenth is reached."""
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for _, span in text.spans():
        counts += np.bincount(np.asarray(text.tokens[span]), minlength=tokenizer.vocab_size)
    counts[tokenizer.bos_id] = 0
    times, ids_of = np.unique(counts[counts > 0], return_counts=True)
    if not len(times):
        return np.zeros(tokenizer.vocab_size, dtype=np.bool_)
    share = np.cumsum(times * ids_of) / counts.sum()
    is_rare: Flags = counts <= times[np.searchsorted(share, RARE_FRAC)]
    return is_rare


def _is_letter(sign: str) -> bool:
    return sign.isalpha() or sign == _PART


class _Vocabulary:
    """What each id says of itself, bool [vocab_size] each."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        texts = [token.decode(errors="replace") for token in tokenizer.tokens] + [""]
        letters = ["".join(filter(_is_letter, text)) for text in texts]

        def flags(values: Iterator[bool]) -> Flags:
            return np.fromiter(values, dtype=np.bool_, count=len(texts))

        self.has_digit = flags(any(map(str.isnumeric, text)) for text in texts)
        self.has_letter = flags(bool(found) for found in letters)
        has_sign = flags(any(sign in SIGNS for sign in text) for text in texts)
        indents = flags(text.isspace() and ("\t" in text or "  " in text) for text in texts)
        self.is_code = (has_sign | indents) & ~self.has_digit & ~self.has_letter
        self.begins_inside = flags(_is_letter(text[:1]) for text in texts)
        self.ends_inside = flags(_is_letter(text[-1:]) for text in texts)
        self.is_capital = flags(found[:1].isupper() and found != "I" for found in letters)
        self.ends_sentence = flags(any(sign in _ENDS for sign in text) for text in texts)
        self.ends_sentence[tokenizer.bos_id] = True
        self.is_blank = flags(text.isspace() for text in texts) & ~self.ends_sentence

    def names(self, ids: npt.NDArray[np.int64]) -> Flags:
        """Which tokens of whole documents are of names."""
        before = np.concatenate(([ids[0]], ids[:-1]))  # the first is BOS
        goes_on = self.begins_inside[ids] & self.ends_inside[before]
        begins = self.has_letter[ids] & ~goes_on
        places = np.arange(len(ids))
        seen = np.maximum.accumulate(np.where(self.is_blank[ids], 0, places))  # the last that is not blank
        behind = ids[np.concatenate(([0], seen[:-1]))]
        begins_name = begins & self.is_capital[ids] & ~self.ends_sentence[behind]
        first = np.maximum.accumulate(np.where(begins, places, 0))
        return (begins | goes_on) & begins_name[first]
