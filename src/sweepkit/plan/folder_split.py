"""What of one's own text is trained on and what is a document, as far as the names of its files tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sweepkit.config.choices import DatasetKind, TxtDocument
from sweepkit.config.schema import DatasetConfig
from sweepkit.plan import folder_text
from sweepkit.plan.text_file import Format, format_of

#: Part of a single file, or of many files of a document each, that is held out.
VALIDATION_FRAC = 0.05


def by_blank_lines(dataset: DatasetConfig, paths: Sequence[Path]) -> bool:
    """Whether a document of plain text is what lies between blank lines."""
    if format_of(paths[0]) is not Format.txt:
        return False
    if dataset.txt_document is TxtDocument.auto:
        return len(paths) == 1
    return dataset.txt_document is TxtDocument.paragraph


def num_held_out(dataset: DatasetConfig, paths: Sequence[Path]) -> int:
    """How many of the last files are validation text; none where that is elsewhere, or part of a single file.

    Raises:
        ConfigError: they leave none to train on.
    """
    if dataset.validation_path is not None or len(paths) == 1:
        return 0
    held_out = dataset.validation_shards
    folder_text.check_split(len(paths), held_out)
    if format_of(paths[0]) is Format.txt and not by_blank_lines(dataset, paths):
        return max(held_out, math.ceil(VALIDATION_FRAC * len(paths)))
    return held_out


def resolved(dataset: DatasetConfig) -> dict[str, object]:
    """Dotted name → what a field about files of text comes out as, where something reads it.

    Raises:
        ConfigError, DataError: as ``num_held_out`` and ``folder_text.text_files``.
    """
    is_own, is_hub = dataset.kind is DatasetKind.files, dataset.kind is DatasetKind.hub
    sources = [(dataset.path, "dataset.path")] if is_own else []
    sources += [(dataset.validation_path, "dataset.validation_path")]
    splits = [folder_text.text_files(path, field) for path, field in sources if path is not None]
    has_columns = is_hub or any(format_of(paths[0]) is not Format.txt for paths in splits)
    held_out = num_held_out(dataset, splits[0]) if is_own else dataset.validation_shards
    return {
        "dataset.text_column": dataset.text_column if has_columns else None,
        "dataset.txt_document": [by_blank_lines(dataset, paths) for paths in splits],
        "dataset.validation_shards": held_out,
    }
