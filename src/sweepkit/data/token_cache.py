"""A dataset's tokens on disk: tokenized once, memory-mapped by every run that needs them.

An entry (see ``cache.py``) holds ``tokens.bin``, all documents end to end with BOS in front of each,
uint16 where the vocabulary fits, else uint32, ``doc_lengths.bin``, int64 tokens of each document
with its BOS, and ``doc_sources.bin``, uint8 number of the source (a file, or what a file says) that each
document is of. A long build commits every few seconds: it syncs the files and notes in ``progress.json``
how long they are and which batch of which file comes next. A killed build is cut back to the last
commit and goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.data import cache
from sweepkit.data.block_check import CheckedArray
from sweepkit.data.documents import Documents, no_text
from sweepkit.data.progress_bar import Report
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.errors import ConfigError, DamagedError, DataError
from sweepkit.plan.text_file import TextFile

COMMIT_EVERY_S = 5.0
_PROGRESS = "progress.json"
_TOKENS = "tokens.bin"
#: Of more sources than a byte can number all others are one.
_MOST_SOURCES, OTHERS = 255, "others"


@dataclass(frozen=True)
class TokenCache:
    """Tokens of one split.

    Attributes:
        num_tokens, num_docs: BOS tokens included.
        text_digest: SHA-256 over the documents, independent of the tokenizer.
        commit: of the hub repository that they were read from; None for others, and where it was not kept.
        sources: names of what the documents are of, by number.
    """

    folder: Path
    dtype: np.dtype[Any]
    num_tokens: int
    num_docs: int
    num_bytes: int
    text_digest: str
    commit: str | None = None
    blocks: str = field(default="", repr=False)  # checksums of the blocks of the tokens
    sources: tuple[str, ...] = ()

    @cached_property
    def tokens(self) -> npt.NDArray[Any] | CheckedArray:
        """uint16 or uint32 [num_tokens], memory-mapped, read only; checked by block where it is large."""
        path = self.folder / _TOKENS
        array = np.memmap(path, dtype=self.dtype, mode="r", shape=(self.num_tokens,))
        if array.nbytes <= cache.CHECK_BYTES:
            return array
        return CheckedArray(path, array, self.blocks, lambda: cache.forget(self.folder))

    @cached_property
    def doc_lengths(self) -> npt.NDArray[np.int64]:
        """int64 [num_docs], tokens of each document, its BOS included."""
        return np.fromfile(self.folder / "doc_lengths.bin", dtype=np.int64)

    @cached_property
    def doc_sources(self) -> npt.NDArray[np.uint8]:
        """uint8 [num_docs], which of ``sources`` each document is of."""
        return np.fromfile(self.folder / "doc_sources.bin", dtype=np.uint8)

    def spans(self, num_tokens: int = 1 << 22) -> Iterator[tuple[slice, slice]]:
        """Documents, and where their tokens stand, as many at a time as have about ``num_tokens``."""
        ends, first, start = np.cumsum(self.doc_lengths), 0, 0
        while start < self.num_tokens:
            last = min(int(np.searchsorted(ends, start + num_tokens)), len(ends) - 1)
            yield slice(first, last + 1), slice(start, int(ends[last]))
            first, start = last + 1, int(ends[last])


def ensure(
    entry: Path,
    source: Documents,
    tokenizer: Callable[[], Tokenizer],
    report: Report = lambda _share, _documents, _tokens: None,
    max_bytes: int | None = None,
    thorough: bool = False,
) -> TokenCache:
    """The cache of ``source``; tokenizes it unless it is there.

    Args:
        entry: the folder, named by the digest of all that decides its content.
        source: the documents.
        tokenizer: called only if there is something to tokenize.
        report: takes the progress.
        max_bytes: stop before the document that would exceed this many bytes of text (but take the first).
        thorough: checksum the whole cache, however large.

    Raises:
        DataError: there is no text, or a file is corrupt.
        StorageError: the disk is full.
    """

    def build(working: Path) -> dict[str, Any]:
        return _Writer(working, tokenizer()).run(source, report, max_bytes)

    meta = cache.ensure(entry, build, thorough, by_block=[_TOKENS])
    return TokenCache(
        entry,
        np.dtype(meta["dtype"]),
        meta["num_tokens"],
        meta["num_docs"],
        meta["num_bytes"],
        meta["text_digest"],
        meta.get("commit"),
        meta["files"][_TOKENS]["blocks"],
        tuple(meta["sources"]),
    )


@dataclass
class _Progress:
    """How far a build has come, of which text and with which tokenizer."""

    tokenizer_digest: str
    commit: str | None
    file: int = 0  # the next one, and its next batch
    batch: int = 0
    num_docs: int = 0
    num_tokens: int = 0
    num_bytes: int = 0
    text_digest: str = ""
    sources: list[str] = field(default_factory=list)

    def source(self, name: str) -> int:
        """The number of a source."""
        name = name if len(self.sources) < _MOST_SOURCES or name in self.sources else OTHERS
        if name not in self.sources:
            self.sources.append(name)
        return self.sources.index(name)


class _Writer:
    def __init__(self, working: Path, tokenizer: Tokenizer) -> None:
        self._working = working
        self._tokenizer = tokenizer
        self._dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
        self._num_threads = max(1, os.cpu_count() or 1)

    def run(self, source: Documents, report: Report, max_bytes: int | None) -> dict[str, Any]:
        files = source.files()
        (commit,) = {file.commit for file in files} or {None}
        state = self._resume(commit)
        committed = time.monotonic()
        with (
            (self._working / "tokens.bin").open("ab") as tokens,
            (self._working / "doc_lengths.bin").open("ab") as lengths,
            (self._working / "doc_sources.bin").open("ab") as numbers,
        ):
            for file, batch, texts in _batches(files, state.file, state.batch):
                try:
                    kept, whole = self._append(texts, tokens, lengths, state, max_bytes)
                except DataError as error:
                    row = next((row for row, text in enumerate(texts) if not self._takes(text)), 0)
                    raise DataError(
                        f"{files[file].name}, row {row + 1} of batch {batch + 1}: {error}"
                    ) from None
                numbers.write(bytes(state.source(files[file].source(text)) for text in kept))
                state.file, state.batch = file, batch + 1
                share = file / len(files) if len(files) > 1 else None
                report(share, state.num_docs, state.num_tokens)
                if not whole:
                    break
                if time.monotonic() - committed > COMMIT_EVERY_S:
                    for handle in (tokens, lengths, numbers):
                        handle.flush()
                        os.fsync(handle.fileno())
                    fsio.write_json(self._working / _PROGRESS, typed.dump(state))
                    committed = time.monotonic()
        (self._working / _PROGRESS).unlink(missing_ok=True)
        if not state.num_docs:
            raise no_text()
        whole_text = {name: item for name, item in vars(state).items() if name not in ("file", "batch")}
        return {"dtype": self._dtype.name, **whole_text}

    def _resume(self, commit: str | None) -> _Progress:
        state = _Progress(self._tokenizer.digest, commit)
        with contextlib.suppress(FileNotFoundError, DamagedError, ConfigError):
            found = typed.load(_Progress, fsio.read_json(self._working / _PROGRESS))
            if (found.tokenizer_digest, found.commit) == (state.tokenizer_digest, commit):
                state = found
        for name, size in (
            ("tokens.bin", state.num_tokens * self._dtype.itemsize),
            ("doc_lengths.bin", state.num_docs * 8),
            ("doc_sources.bin", state.num_docs),
        ):
            path = self._working / name
            path.touch()
            if path.stat().st_size < size:  # not what progress.json says: begin again
                (self._working / _PROGRESS).unlink(missing_ok=True)
                return self._resume(commit)
            os.truncate(path, size)
        return state

    def _takes(self, text: str) -> bool:
        try:
            self._tokenizer.encode(text)
        except DataError:
            return False
        return True

    def _append(
        self, texts: list[str], tokens: Any, lengths: Any, state: _Progress, limit: int | None
    ) -> tuple[list[str], bool]:
        """Write one batch; returns what it took, and False once ``limit`` is reached."""
        kept: list[str] = []
        whole = True
        for text in texts:
            if not text:
                continue
            data = text.encode()
            if limit is not None and state.num_bytes and state.num_bytes + len(data) > limit:
                whole = False
                break
            kept.append(text)
            state.num_bytes += len(data)
            # A chain, so that the digest can be resumed from its last value.
            chained = bytes.fromhex(state.text_digest) + hashlib.sha256(data).digest()
            state.text_digest = hashlib.sha256(chained).hexdigest()
        encoded = self._tokenizer.encode_batch(kept, self._num_threads)
        doc_lengths = np.array([len(ids) + 1 for ids in encoded], dtype=np.int64)
        flat = np.empty(int(doc_lengths.sum()), dtype=self._dtype)
        position = 0
        for ids in encoded:
            flat[position] = self._tokenizer.bos_id
            flat[position + 1 : position + 1 + len(ids)] = ids
            position += len(ids) + 1
        tokens.write(flat.tobytes())
        lengths.write(doc_lengths.tobytes())
        state.num_docs += len(kept)
        state.num_tokens += len(flat)
        return kept, whole


def _batches(
    files: list[TextFile], first_file: int, first_batch: int
) -> Iterator[tuple[int, int, list[str]]]:
    for number, file in enumerate(files):
        if number < first_file:
            continue
        for position, texts in enumerate(file.batches()):
            if number > first_file or position >= first_batch:
                yield number, position, texts
