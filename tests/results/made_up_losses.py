"""Losses by document that sum to a loss that was made up."""

from __future__ import annotations

import math

import numpy as np

from sweepkit.results.document_losses import Classes, DocumentLosses, Kept, ScoredText

NUM_DOCS = 40


def by_document(loss: float, base: float, on: int | None = None) -> Kept:
    """Of a text of 40 documents with 100 bytes each; every document has ``base`` bits per byte at first.

    Args:
        loss: bits per byte of the whole text.
        on: the only document that differs from ``base``; None: all do, alike.
    """
    size = np.full(NUM_DOCS, 100)
    off = np.ones(NUM_DOCS) if on is None else NUM_DOCS * (np.arange(NUM_DOCS) == on)
    nats = (base + (loss - base) * off) * math.log(2) * size
    kinds = Classes(["digits", "others"], np.stack([0.25 * size, 0.75 * size], axis=1).astype(np.int64))
    source = (np.arange(NUM_DOCS) % 2).astype(np.uint8)
    text = ScoredText("f" * 12, "t", ["books", "speeches"], source, size, size, {"kind": kinds})
    by_kind = np.stack([0.5 * nats, 0.5 * nats], axis=1)
    return {"validation": DocumentLosses(text, nats, {"kind": by_kind})}
