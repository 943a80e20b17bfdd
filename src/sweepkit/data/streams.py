"""Evaluation streams: one fixed text, every byte of it scored once, whatever the tokenizer.

Documents are joined with BOS and cut into rows of T that do not overlap; the targets are the same
tokens shifted by one. BOS as a target and the padding of the last row are -1: they count neither nats
nor bytes. The text is the documents up to ``evaluation.max_bytes``, cut at a document's end, so the
bytes of the scored targets sum to the bytes of the text exactly, with any tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweepkit import fsio
from sweepkit.config import holdout, typed
from sweepkit.config.measured import MeasuredOn
from sweepkit.data.token_cache import TokenCache

#: What is scored and how; part of the fingerprint. Change the text when the meaning changes.
LAYOUT = "documents joined with BOS; rows of T, not overlapping; last row padded"
BYTE_RULE = "UTF-8 bytes of each target token; special tokens and padding count nothing"


@dataclass(frozen=True)
class EvalStream:
    """One text to evaluate on.

    Attributes:
        name: validation, probe, or the holdout of one of them.
        sequence_len: T.
        first_byte: where it begins in its text; above 0 for a holdout.
        num_bytes: bytes of text scored; the denominator of bits per byte.
    """

    name: str
    sequence_len: int
    bos_id: int
    tokens: TokenCache
    first_byte: int = 0

    @property
    def is_holdout(self) -> bool:
        """Whether it is scored at the end of a run alone."""
        return holdout.base(self.name) is not None

    @property
    def num_bytes(self) -> int:
        return self.tokens.num_bytes

    @property
    def num_rows(self) -> int:
        """Rows of T, the padded last one included."""
        return -(-(self.tokens.num_tokens - 1) // self.sequence_len)

    @property
    def measured_on(self) -> MeasuredOn:
        """Text, byte range, row layout, T and byte rule: what a loss on this stream is a loss on."""
        ends = [self.first_byte, self.first_byte + self.num_bytes]
        return MeasuredOn(self.tokens.text_digest, ends, LAYOUT, self.sequence_len, BYTE_RULE)

    @property
    def fingerprint(self) -> str:
        """Digest (hex) of ``measured_on``; only equal ones compare."""
        return fsio.digest(typed.dump(self.measured_on))

    def batches(self, rows: int) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """Inputs and targets, int32 [rows, T] each; targets are -1 where nothing is scored.

        Every batch has ``rows`` rows, so that compiled code sees one shape: the last is filled up with rows
        of BOS that score nothing.
        """
        size = rows * self.sequence_len
        for start in range(0, self.tokens.num_tokens - 1, size):
            part = self.tokens.tokens[start : start + size + 1].astype(np.int32)
            inputs = np.full(size, self.bos_id, dtype=np.int32)
            targets = np.full(size, -1, dtype=np.int32)
            inputs[: len(part) - 1] = part[:-1]
            targets[: len(part) - 1] = np.where(part[1:] == self.bos_id, -1, part[1:])
            shape = (rows, self.sequence_len)
            yield inputs.reshape(shape), targets.reshape(shape)
