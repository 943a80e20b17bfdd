"""From a RunConfig to data a run can read: tokenizer, tokens, packing index, evaluation streams.

Each is a cache entry named by the digests of its recipe and of the code in this room, and is built by the
first process that needs it; with everything in place ``prepare`` reads a few small files. Recipes chain:
dataset → tokenizer → tokens → packing index, so two runs share exactly what they have in common.

    <cache>/data/tokenizers/<key>/tokenizer.json
    <cache>/data/tokens/<key>/tokens.bin, doc_lengths.bin
    <cache>/data/packing/<key>/row_first.npy, segment_start.npy, segment_len.npy
    <cache>/data/downloads/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache as cache_once
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sweepkit import fsio
from sweepkit.config import holdout, paths, sources
from sweepkit.config.choices import DatasetKind, PackingAlgorithm, TokenizerCorpus
from sweepkit.config.measured import TextRead
from sweepkit.config.schema import DatasetConfig, RunConfig
from sweepkit.data import cache, core_items, hub, progress_bar, token_cache
from sweepkit.data.behind import behind
from sweepkit.data.core_items import Core
from sweepkit.data.documents import Documents, documents
from sweepkit.data.loader import TrainLoader
from sweepkit.data.packing import PackingIndex, Stats, pack
from sweepkit.data.streams import EvalStream
from sweepkit.data.token_cache import TokenCache
from sweepkit.data.tokenizer import FORMAT, Tokenizer, train
from sweepkit.plan import epochs, text

_PACKING_ARRAYS = ("row_first", "segment_start", "segment_len")


@dataclass
class PreparedData:
    """What ``prepare`` returns; arrays are memory-mapped and shared by all processes of a machine.

    Attributes:
        config: what it was made from.
        tokens: the training split's tokens.
        streams: one per ``evaluation.streams``, in that order.
        core: the tasks that a finished model is asked, if any.
        packing_stats: of the run's sequence length; see ``packing.pack``.
    """

    config: RunConfig
    root: Path
    recipe: dict[str, Any]
    tokenizer: Tokenizer
    tokens: TokenCache
    streams: list[EvalStream]
    core: Core | None = None
    _packed: dict[tuple[int, PackingAlgorithm], tuple[PackingIndex, Stats]] = field(default_factory=dict)

    def train(self, seed: int, total_batch_size: int, sequence_len: int | None = None) -> TrainLoader:
        """The loader of one run; ``sequence_len`` defaults to the configuration's."""
        length = sequence_len or self.config.horizon.sequence_len
        index, name = self.packing(length), self.config.dataset.name
        return TrainLoader(self.tokens.tokens, index, seed, total_batch_size, length, name)

    @property
    def texts(self) -> dict[str, TextRead]:
        """Of every split: the digest of its text, and the commit where it came from a hub."""
        splits = {"train": self.tokens} | {stream.name: stream.tokens for stream in self.streams}
        found = {name: TextRead(part.text_digest, part.commit) for name, part in splits.items()}
        return found if self.core is None else found | {text.CORE: TextRead(self.core.digest)}

    def packing(self, sequence_len: int) -> PackingIndex:
        """The packing index for rows of ``sequence_len + 1`` tokens; packs if it is not in the cache."""
        return self.packed(sequence_len, self.config.packing.algorithm)[0]

    @cached_property
    def packing_stats(self) -> Stats:
        return self.packed(self.config.horizon.sequence_len, self.config.packing.algorithm)[1]

    def packed(self, sequence_len: int, algorithm: PackingAlgorithm) -> tuple[PackingIndex, Stats]:
        """Index and statistics for any algorithm."""
        known = self._packed.get((sequence_len, algorithm))
        if known is None:
            known = self._packed[sequence_len, algorithm] = self._load_packing(sequence_len, algorithm)
        return known

    def _load_packing(self, sequence_len: int, algorithm: PackingAlgorithm) -> tuple[PackingIndex, Stats]:
        buffer_docs = self.config.packing.buffer_docs if algorithm is PackingAlgorithm.best_fit else 0
        recipe = {
            "tokens": self.recipe,
            "algorithm": algorithm.name,
            "buffer_docs": buffer_docs,
            "sequence_len": sequence_len,
        }
        entry = _entry(self.root, "packing", recipe)

        def build(working: Path) -> dict[str, Any]:
            index, stats = pack(self.tokens.doc_lengths, sequence_len, algorithm, buffer_docs)
            for name in _PACKING_ARRAYS:
                _write_npy(working / f"{name}.npy", getattr(index, name))
            return {"recipe": recipe, "stats": stats}

        meta = cache.ensure(entry, build)
        arrays = [
            np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _PACKING_ARRAYS
        ]
        return PackingIndex(*arrays), meta["stats"]


def prepare(config: RunConfig, thorough: bool = False) -> PreparedData:
    """Build or find everything ``config`` needs.

    Args:
        config: dataset, tokenizer, packing, evaluation and the sequence length are read.
        thorough: checksum token caches of any size, and rebuild what fails.

    Raises:
        ConfigError: a field does not fit the dataset.
        DataError: text is missing, unreadable or too little.
        StorageError: the cache cannot be written.
    """
    root = paths.cache_dir() / "data"
    core = core_items.load(config.evaluation.core)  # first: it takes no more than a look
    config = _pinned(config, root)
    source = documents(config.dataset, "train", root / "downloads")
    tokenizer, tokenizer_recipe = _tokenizer(config, source, root)
    recipe = {"text": source.recipe, "tokenizer": tokenizer_recipe}
    with progress_bar.task("tokens of the training text") as report:
        tokens = token_cache.ensure(
            _entry(root, "tokens", recipe), source, lambda: tokenizer, report, None, thorough
        )
    streams: list[EvalStream] = []
    for name in config.evaluation.streams:
        source, first_byte = _text(config, name, streams, root)
        stream_recipe = {
            "text": source.recipe,
            "tokenizer": tokenizer_recipe,
            "max_bytes": config.evaluation.max_bytes,
        }
        with progress_bar.task(f"tokens of the {name} text") as report:
            stream_tokens = token_cache.ensure(
                _entry(root, "tokens", stream_recipe),
                source,
                lambda: tokenizer,
                report,
                config.evaluation.max_bytes,
                thorough,
            )
        length, bos_id = config.horizon.sequence_len, tokenizer.bos_id
        rows = config.evaluation.rows
        streams.append(EvalStream(name, length, bos_id, stream_tokens, first_byte, rows))
    prepared = PreparedData(config, root, recipe, tokenizer, tokens, streams, core)
    length = config.horizon.sequence_len
    epochs.remember(config, prepared.packing(length).num_rows * length)
    return prepared


def _pinned(config: RunConfig, root: Path) -> RunConfig:
    """A hub dataset at one commit: looked up where this cache has not asked before."""
    pinned = text.pinned(config)
    if pinned.dataset.kind is not DatasetKind.hub or text.known_commit(pinned.dataset, root / "downloads"):
        return pinned
    hub.look_up(pinned.dataset, root / "downloads")
    return text.pinned(pinned)


def _text(config: RunConfig, name: str, before: list[EvalStream], root: Path) -> tuple[Documents, int]:
    """A stream's documents, and where they begin: those of a holdout lie behind its stream's."""
    usual = next((stream for stream in before if stream.name == holdout.base(name)), None)
    if usual is None:
        return documents(config.dataset, name, root / "downloads"), 0
    whole = documents(config.dataset, usual.name, root / "downloads")
    return behind(whole, usual.tokens.num_docs, name, config.evaluation.max_bytes), usual.num_bytes


def _tokenizer(config: RunConfig, source: Documents, root: Path) -> tuple[Tokenizer, dict[str, Any]]:
    if config.tokenizer.corpus is TokenizerCorpus.embedded:
        source = documents(DatasetConfig(), "train", root / "downloads")
    recipe = {
        "text": source.recipe,
        "vocab_size": config.tokenizer.vocab_size,
        "max_digits": config.tokenizer.max_digits,
        "max_train_bytes": config.tokenizer.max_train_bytes,
        "format": FORMAT,
    }
    entry = _entry(root, "tokenizers", recipe)

    def build(working: Path) -> dict[str, Any]:
        with progress_bar.task("reading text for the tokenizer") as report:
            tokenizer = train(
                _counted(source.texts(), report),
                config.tokenizer.vocab_size,
                config.tokenizer.max_digits,
                config.tokenizer.max_train_bytes,
            )
            tokenizer.save(working / "tokenizer.json")
        return {"recipe": recipe}

    cache.ensure(entry, build)
    return Tokenizer.load(entry / "tokenizer.json"), recipe


def _entry(root: Path, kind: str, recipe: dict[str, Any]) -> Path:
    return root / kind / fsio.digest({"sources": _sources(), "recipe": recipe})[:20]


@cache_once
def _sources() -> str:
    """The code that makes entries: what it made before an edit is not what it makes now."""
    return sources.digest_of(Path(__file__).resolve().parents[1], ("data",))


def _write_npy(path: Path, array: npt.NDArray[Any]) -> None:
    """A .npy file. ``np.save`` hides why a write failed, so a full disk could not be told from a bug."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).data)


def _counted(texts: Iterator[str], report: progress_bar.Report) -> Iterator[str]:
    for number, document in enumerate(texts):
        yield document
        if number % 1_000 == 0:
            report(None, number, 0)


__all__ = ["PreparedData", "TrainLoader", "prepare"]
