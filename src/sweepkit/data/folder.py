"""One's own text as a dataset: a file, or the files of a folder, in the order of their names.

Validation text is ``dataset.validation_path`` where that is set. Else it is the last files, as many as
``dataset.validation_shards``; of a single file the last 5% of its documents, and of plain text with a file
for every document the last 5% of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import DatasetConfig
from sweepkit.errors import ConfigError, DataError
from sweepkit.plan import folder_text
from sweepkit.plan.folder_split import VALIDATION_FRAC, by_blank_lines, num_held_out
from sweepkit.plan.text_file import TextFile, open_text

Part = tuple[Path, tuple[float, float]]
_ALL = (0.0, 1.0)


def recipe(dataset: DatasetConfig, split: str) -> dict[str, Any]:
    """Names the text by the content of the files, not by where they are.

    Raises:
        DataError: there is none, or what is evaluated would be a copy of what is trained on.
    """
    digests = folder_text.file_digests(*_source(dataset, split))
    if dataset.kind is DatasetKind.files:
        _refuse_copies(dataset)
    return {
        "kind": "files",
        "text_column": dataset.text_column,
        "by_blank_lines": by_blank_lines(dataset, list(digests)),
        "parts": [[digests[path], list(rows)] for path, rows in _parts(dataset, split)],
    }


def files(dataset: DatasetConfig, split: str, digests: Sequence[str]) -> list[TextFile]:
    """The files of a split, in order.

    Args:
        digests: of the files, as ``recipe`` had them; text that is not of these is refused when it is read.
    """
    is_cut = by_blank_lines(dataset, folder_text.text_files(*_source(dataset, split)))
    return [
        TextFile(path.name, partial(_read, path, dataset.text_column, rows, is_cut, digest))
        for (path, rows), digest in zip(_parts(dataset, split), digests, strict=True)
    ]


def _read(
    path: Path, text_column: str, rows: tuple[float, float], is_cut: bool, digest: str
) -> Iterator[list[str]]:
    _check_unchanged(path, digest)
    yield from open_text(path, text_column, rows, is_cut)
    _check_unchanged(path, digest)


def _check_unchanged(path: Path, digest: str) -> None:
    if folder_text.file_digest(path) != digest:
        raise DataError(
            f"{path} was changed while it was read, but must stay as it is while runs are prepared; run the "
            "same command again once it is whole"
        )


def _refuse_copies(dataset: DatasetConfig) -> None:
    """Raise DataError where a validation file is trained on too, under another name or the same."""
    trained = {folder_text.file_digest(path): path for path, rows in _parts(dataset, "train") if rows == _ALL}
    for path, rows in _parts(dataset, "validation"):
        twin = trained.get(folder_text.file_digest(path))
        if twin is not None and rows == _ALL:
            raise DataError(
                f"{path} is validation text, but must not be trained on too ({twin} has the same content); "
                "move one away"
            )


def _source(dataset: DatasetConfig, split: str) -> tuple[str, str]:
    """Where the files of a split are, and the field that says so."""
    if split == "validation" and dataset.validation_path is not None:
        return dataset.validation_path, "dataset.validation_path"
    if dataset.path is None:
        raise ConfigError(
            "dataset.path is not set, but must name a file or a folder of text; add dataset.path=PATH"
        )
    return dataset.path, "dataset.path"


def _parts(dataset: DatasetConfig, split: str) -> list[Part]:
    """The files of a split, and which part of each."""
    paths = folder_text.text_files(*_source(dataset, split))
    if dataset.validation_path is not None:
        return [(path, _ALL) for path in paths]
    if len(paths) == 1:
        rows = (0.0, 1 - VALIDATION_FRAC) if split == "train" else (1 - VALIDATION_FRAC, 1.0)
        return [(paths[0], rows)]
    held_out = num_held_out(dataset, paths)
    chosen = paths[:-held_out] if split == "train" else paths[-held_out:]
    return [(path, _ALL) for path in chosen]
