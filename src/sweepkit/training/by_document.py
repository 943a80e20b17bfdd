"""Adds up nats by document, by position in the row and by kind of token, beside an evaluation's own sum.

Nothing here changes what is computed: the nats of every token are there anyway. Every rank adds up its own
batches; at the end the sums of all are added.

Shapes: B rows, T time, N documents, G blocks, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from sweepkit.data import token_kinds
from sweepkit.data.streams import EvalStream
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.distributed.ranks import Ranks
from sweepkit.results.document_losses import Classes, DocumentLosses, ScoredText, blocks

Array = npt.NDArray[np.float64]


class ByDocument:
    """The sums of one stream."""

    def __init__(self, stream: EvalStream, tokenizer: Tokenizer, rows: int) -> None:
        """Args: ``rows``: B."""
        self._stream, self._rows, self._digest = stream, rows, tokenizer.digest
        self._token_bytes = tokenizer.token_bytes
        lengths = stream.tokens.doc_lengths
        self._ends_N = np.cumsum(lengths)
        self._kinds = token_kinds.kinds(stream.tokens, tokenizer)
        self._block_N = blocks(len(lengths))
        self._names = {"position": positions(stream.sequence_len), "kind": list(token_kinds.KINDS)}
        num_blocks = int(self._block_N[-1]) + 1
        self._position_T = position_classes(stream.sequence_len)
        # [2, ...]: nats and bytes
        self._docs: Array = np.zeros((2, len(lengths)))
        self._classes: dict[str, Array] = {
            how: np.zeros((2, num_blocks, len(names))) for how, names in self._names.items()
        }

    def places(self) -> Iterator[npt.NDArray[np.int64]]:
        """Where the targets of every batch stand in the stream's tokens."""
        return self._stream.places(self._rows)

    def add(
        self,
        place_BT: npt.NDArray[np.int64],
        nats_BT: npt.NDArray[np.float32],
        bytes_BT: npt.NDArray[np.int64],
    ) -> None:
        """Add a batch; targets without bytes count nothing."""
        is_scored = bytes_BT > 0
        place = place_BT[is_scored]
        doc = np.searchsorted(self._ends_N, place, side="right")
        block = self._block_N[doc]
        position: npt.NDArray[np.int64] = np.broadcast_to(self._position_T, place_BT.shape)[is_scored]
        class_of = {"position": position, "kind": self._kinds[place].astype(np.int64)}
        nats, num_bytes = nats_BT[is_scored].astype(np.float64), bytes_BT[is_scored].astype(np.float64)
        for row, weights in enumerate((nats, num_bytes)):
            self._docs[row] += np.bincount(doc, weights, minlength=self._docs.shape[1])
            for how, sums in self._classes.items():
                index, (num_blocks, num_classes) = class_of[how], sums.shape[1:]
                added = np.bincount(block * num_classes + index, weights, minlength=num_blocks * num_classes)
                sums[row] += added.reshape(num_blocks, num_classes)

    def finish(self, ranks: Ranks) -> DocumentLosses:
        """The sums of all ranks; every rank must ask."""
        parts = [self._docs, *self._classes.values()]
        whole = ranks.sum(torch.from_numpy(np.concatenate([part.ravel() for part in parts]))).numpy()
        ends = np.cumsum([part.size for part in parts])[:-1]
        docs, *classes = (
            found.reshape(part.shape) for found, part in zip(np.split(whole, ends), parts, strict=True)
        )
        sums = dict(zip(self._classes, classes, strict=True))
        tokens = self._stream.tokens
        text = ScoredText(
            self._stream.fingerprint,
            self._digest,
            list(tokens.sources),
            tokens.doc_sources,
            self._lengths(),
            docs[1].astype(np.int64),
            {how: Classes(self._names[how], sums[how][1].astype(np.int64)) for how in sums},
        )
        return DocumentLosses(text, docs[0], {how: found[0] for how, found in sums.items()})

    def _lengths(self) -> npt.NDArray[np.int64]:
        """Bytes of every document, int64 [N]."""
        tokens, found = self._stream.tokens, np.zeros(len(self._ends_N), dtype=np.int64)
        for docs, span in tokens.spans():
            sizes = self._token_bytes[np.asarray(tokens.tokens[span])]
            starts = self._ends_N[docs] - tokens.doc_lengths[docs] - span.start
            found[docs] = np.add.reduceat(sizes, starts, dtype=np.int64)
        return found


def positions(sequence_len: int) -> list[str]:
    """Classes of positions in a row, each ending at four times the one before: ``0–15``, ``16–63``, ..."""
    ends = _ends(sequence_len)
    return [f"{first}–{end - 1}" for first, end in zip([0, *ends], ends, strict=False)]


def position_classes(sequence_len: int) -> npt.NDArray[np.int64]:
    """int64 [T]: the class of each position."""
    return np.searchsorted(np.array(_ends(sequence_len)), np.arange(sequence_len), side="right")


def _ends(sequence_len: int) -> list[int]:
    ends = [16]
    while ends[-1] < sequence_len:
        ends.append(4 * ends[-1])
    return [*ends[:-1], sequence_len]
