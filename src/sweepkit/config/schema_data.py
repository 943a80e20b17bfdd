"""What a run reads: the dataset, its tokenizer, and how documents become rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional  # OmegaConf reads these at run time

from sweepkit.config.choices import (
    DatasetKind,
    PackingAlgorithm,
    TokenizerCorpus,
    TxtDocument,
)
from sweepkit.config.facts import Identity, either, fact, unless, when
from sweepkit.config.ranges import (
    Range,
    at_least,
    between,
    not_empty,
)

_RESOLVED, _NONE = Identity.resolved, Identity.none
_FOLDER, _HUB = when("dataset.kind", DatasetKind.files), when("dataset.kind", DatasetKind.hub)
_FILES = when("dataset.kind", DatasetKind.files, DatasetKind.hub)
_OWN_VALIDATION = unless("dataset.validation_path", None)


@dataclass
class DatasetConfig:
    name: str = fact(
        "embedded",
        "what tables call the dataset",
        not_empty(),
        example="my_text",
        identity=_NONE,
        why="a name",
        data=False,
    )
    kind: DatasetKind = fact(
        DatasetKind.embedded,
        "where the text is: in the package, in files of your own, or in a hub's repository",
        comes_out_as=("texts.dataset",),
        measured="own",
    )
    sources: list[str] = fact(
        [],
        "parts of the embedded corpus to train on; empty: all",
        identity=_RESOLVED,
        when=when("dataset.kind", DatasetKind.embedded),
    )
    path: Optional[str] = fact(
        None,
        "file or folder of parquet, Arrow, JSON lines, CSV or plain text (docs/data.md)",
        identity=_RESOLVED,
        comes_out_as=("texts.dataset",),
        when=_FOLDER,
        names_variables=True,
        measured="own",
    )
    text_column: str = fact(
        "text",
        "column, or key of JSON lines, that holds the text",
        not_empty(),
        identity=_RESOLVED,
        when=either(_FILES, _OWN_VALIDATION),
        measured="own",
    )
    txt_document: TxtDocument = fact(
        TxtDocument.auto,
        "what a document is in plain text: a file, or a paragraph between blank lines; auto: a paragraph "
        "where there is one file, else a file",
        identity=_RESOLVED,
        when=either(_FOLDER, _OWN_VALIDATION),
        measured="own",
    )
    validation_path: Optional[str] = fact(
        None,
        "file or folder of validation text, instead of a part of the dataset: what datasets are compared on",
        example="validation.txt",
        identity=_RESOLVED,
        comes_out_as=("texts.validation",),
        names_variables=True,
        measured="validation",
    )
    repo: Optional[str] = fact(None, "the hub's repository, owner/name", when=_HUB, measured="own")
    revision: Optional[str] = fact(
        None,
        "commit or branch of the repository; null: main, as it was when first asked for",
        identity=_RESOLVED,
        when=_HUB,
        measured="own",
    )
    shard_pattern: Optional[str] = fact(
        None, "files of the repository: a name with {index}, or a glob", when=_HUB, measured="own"
    )
    num_train_shards: Optional[int] = fact(
        None, "files to train on; null: all but those held out", at_least(1), example="8", when=_HUB
    )
    validation_shards: int = fact(
        1, "last files, held out for validation", at_least(1), identity=_RESOLVED, when=_FILES, measured="own"
    )


@dataclass
class TokenizerConfig:
    name: str = fact(
        "bpe", "what tables call the tokenizer", not_empty(), identity=_NONE, why="a name", data=False
    )
    vocab_size: int = fact(
        32_768,
        "size of the vocabulary, the begin-of-text token included",
        Range(
            lambda value: 257 <= value <= 2**20,
            "lie between 257 (256 bytes and the begin-of-text token) and 1048576",
        ),
        traced=True,
    )
    corpus: TokenizerCorpus = fact(
        TokenizerCorpus.dataset,
        "text it is trained on: the run's own dataset, or the embedded corpus",
        identity=_RESOLVED,
        comes_out_as=("texts.tokenizer",),
    )
    max_train_bytes: int = fact(
        2_000_000_000,
        "most text that it is trained on",
        at_least(1),
        unit="bytes",
        identity=_RESOLVED,
        same_training=True,  # above the text's size it reads all; below is on the safe side
    )
    max_digits: int = fact(2, "longest run of digits in one token (docs/methodology.md §4)", between(1, 100))


@dataclass
class PackingConfig:
    algorithm: PackingAlgorithm = fact(
        PackingAlgorithm.best_fit, "how documents are put into rows of sequence_len tokens"
    )
    buffer_docs: int = fact(
        100_000,
        "documents that best_fit chooses from",
        at_least(1),
        when=when("packing.algorithm", PackingAlgorithm.best_fit),
    )
