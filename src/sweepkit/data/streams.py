"""Evaluation streams: one fixed text, every byte of it scored once, whatever the tokenizer.

Documents are joined with BOS and cut into rows of T that do not overlap; the targets are the same
tokens shifted by one. BOS as a target and the padding of the last row are -1: they count neither nats
nor bytes. The text is the documents up to ``evaluation.max_bytes``, cut at a document's end, so the
bytes of the scored targets sum to the bytes of the text exactly, with any tokenizer.

``evaluation.rows`` may ask for rows that begin with a document instead, packed as training rows are. What is
cropped is then not scored, and which bytes those are depends on the tokenizer, so the layout names the index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sweepkit import fsio
from sweepkit.config import holdout, typed
from sweepkit.config.choices import PackingAlgorithm
from sweepkit.config.measured import MeasuredOn
from sweepkit.data.packing import PackingIndex, pack
from sweepkit.data.token_cache import TokenCache
from sweepkit.errors import ImpossibleError

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
        packing: what puts documents into rows; only ``stream`` scores every byte.
        num_bytes: bytes of its text.
    """

    name: str
    sequence_len: int
    bos_id: int
    tokens: TokenCache
    first_byte: int = 0
    packing: PackingAlgorithm = PackingAlgorithm.stream

    @property
    def is_holdout(self) -> bool:
        """Whether it is scored at the end of a run alone."""
        return holdout.base(self.name) is not None

    @property
    def num_bytes(self) -> int:
        return self.tokens.num_bytes

    @cached_property
    def _aligned(self) -> PackingIndex | None:
        """Rows that begin with a document.

        Raises:
            ImpossibleError: the text does not fill one.
        """
        if self.packing is PackingAlgorithm.stream:
            return None
        lengths = self.tokens.doc_lengths
        index, _ = pack(lengths, self.sequence_len, self.packing, buffer_docs=max(1, len(lengths)))
        if not index.num_rows:
            raise ImpossibleError(
                f"evaluation.rows={self.packing.name} makes no row of {self.sequence_len + 1} tokens of the "
                f"{self.tokens.num_tokens} of the {self.name} text; score more of it "
                "(evaluation.max_bytes), or evaluation.rows=stream"
            )
        return index

    @property
    def num_rows(self) -> int:
        """Rows of T, the padded last one included."""
        if self._aligned is not None:
            return self._aligned.num_rows
        return -(-(self.tokens.num_tokens - 1) // self.sequence_len)

    @property
    def measured_on(self) -> MeasuredOn:
        """Text, byte range, row layout, T and byte rule: what a loss on this stream is a loss on."""
        ends, layout = [self.first_byte, self.first_byte + self.num_bytes], LAYOUT
        if self._aligned is not None:
            held = hashlib.sha256(self._aligned.segment_start.tobytes() + self._aligned.segment_len.tobytes())
            layout = f"rows of T that begin with BOS ({self.packing.name} {held.hexdigest()[:16]})"
        return MeasuredOn(self.tokens.text_digest, ends, layout, self.sequence_len, BYTE_RULE)

    @property
    def fingerprint(self) -> str:
        """Digest (hex) of ``measured_on``; only equal ones compare."""
        return fsio.digest(typed.dump(self.measured_on))

    def batches(self, rows: int) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """Inputs and targets, int32 [rows, T] each; targets are -1 where nothing is scored.

        Every batch has ``rows`` rows, so that compiled code sees one shape: the last is filled up with rows
        of BOS that score nothing.
        """
        if self._aligned is not None:
            yield from self._aligned_batches(self._aligned, rows)
            return
        size = rows * self.sequence_len
        for start in range(0, self.tokens.num_tokens - 1, size):
            part = self.tokens.tokens[start : start + size + 1].astype(np.int32)
            inputs = np.full(size, self.bos_id, dtype=np.int32)
            targets = np.full(size, -1, dtype=np.int32)
            inputs[: len(part) - 1] = part[:-1]
            targets[: len(part) - 1] = np.where(part[1:] == self.bos_id, -1, part[1:])
            shape = (rows, self.sequence_len)
            yield inputs.reshape(shape), targets.reshape(shape)

    def places(self, rows: int) -> Iterator[npt.NDArray[np.int64]]:
        """Where in the token array each target of ``batches(rows)`` stands, int64 [rows, T].

        -1 where a batch is only filled up; a BOS has its place although it scores nothing.
        """
        size, index = rows * self.sequence_len, self._aligned
        if index is None:
            for start in range(1, self.tokens.num_tokens, size):
                place = np.arange(start, start + size, dtype=np.int64)
                place[place >= self.tokens.num_tokens] = -1
                yield place.reshape(rows, self.sequence_len)
            return
        for start in range(0, index.num_rows, rows):
            batch = np.full((rows, self.sequence_len + 1), -1, dtype=np.int64)
            for slot, row in enumerate(range(start, min(start + rows, index.num_rows))):
                segments = slice(index.row_first[row], index.row_first[row + 1])
                starts, lengths = index.segment_start[segments], index.segment_len[segments]
                batch[slot] = np.concatenate(
                    [np.arange(first, first + length) for first, length in zip(starts, lengths, strict=True)]
                )
            yield batch[:, 1:]

    def _aligned_batches(
        self, index: PackingIndex, rows: int
    ) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        for start in range(0, index.num_rows, rows):
            batch = np.full((rows, self.sequence_len + 1), self.bos_id, dtype=np.int32)
            for slot, row in enumerate(range(start, min(start + rows, index.num_rows))):
                index.gather(self.tokens.tokens, row, batch[slot])
            yield batch[:, :-1].copy(), np.where(batch[:, 1:] == self.bos_id, -1, batch[:, 1:])
