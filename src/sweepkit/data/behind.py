"""What lies behind the part of a text that is scored: the documents of a holdout stream.

A holdout begins at the first document that the usual stream does not score. A later copy of a document that
it does score is left out too, so that the two share no document, by place or by content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sweepkit.config import holdout
from sweepkit.data.documents import Documents
from sweepkit.errors import DataError
from sweepkit.plan.text_file import TextFile


def behind(source: Documents, num_docs: int, stream: str, max_bytes: int) -> Documents:
    """The documents of ``source`` without the first ``num_docs`` (empty ones not counted) and their copies.

    Reading to the end raises DataError where they are much shorter than what is usually scored.

    Args:
        source: the whole text.
        num_docs: how many the usual stream scores.
        stream, max_bytes: name and ``evaluation.max_bytes``, for the error.
    """

    read: list[TextFile] = []  # the last is the one that the batch at hand is of

    def batches() -> Iterator[list[str]]:
        scored: set[bytes] = set()
        left, scored_bytes, kept_bytes = num_docs, 0, 0
        for file in source.files():
            read.append(file)
            for batch in file.batches():
                texts = [text for text in batch if text]
                scored.update(map(_digest, texts[:left]))
                kept = [text for text in texts[left:] if _digest(text) not in scored]
                scored_bytes += _num_bytes(texts[:left])
                kept_bytes += _num_bytes(kept)
                left = max(0, left - len(texts))
                yield kept
        if kept_bytes < holdout.MIN_FRAC * scored_bytes:
            raise _too_short(stream, max_bytes, kept_bytes, scored_bytes)

    recipe = source.recipe | {"behind_docs": num_docs}

    def source_of(text: str) -> str:
        return read[-1].source(text)

    return Documents(recipe, lambda: [TextFile(stream, batches, source_of=source_of)])


def _too_short(stream: str, max_bytes: int, kept_bytes: int, scored_bytes: int) -> DataError:
    enough = int((kept_bytes + scored_bytes) / (1.0 + holdout.MIN_FRAC))
    return DataError(
        f"evaluation.max_bytes is {max_bytes}, which leaves {kept_bytes} bytes of text for {stream} behind "
        f"the {scored_bytes} that are usually scored, but must leave at least a quarter as much; lower it to "
        f"{enough} or less, or raise dataset.validation_shards. Or let the last rung be decided by the usual "
        "text with decision: {last_metric: val_bpb}, under a new name of the sweep (finished runs of lower "
        "rungs are found again)"
    )


def _num_bytes(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
