"""A folder of parquet files as a dataset.

All ``*.parquet`` files in the order of their names; the last ``dataset.validation_shards`` are validation
text, or, where there is only one file, the last 5% of its documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sweepkit.config.schema import DatasetConfig
from sweepkit.data.text_file import TextFile, open_text
from sweepkit.errors import ConfigError, DataError
from sweepkit.plan import folder_text

VALIDATION_FRAC = 0.05  # of a single file's documents

Part = tuple[Path, tuple[float, float]]


def recipe(dataset: DatasetConfig, split: str) -> dict[str, Any]:
    """Names the text by the content of the files, not by where they are.

    Raises:
        DataError: the folder is missing, has no parquet file, or would be evaluated on a copy of what it is
            trained on.
    """
    digests = folder_text.file_digests(_path(dataset))
    _refuse_copies(dataset, digests)
    return {
        "kind": "parquet_folder",
        "text_column": dataset.text_column,
        "parts": [[digests[path.name], list(rows)] for path, rows in _parts(dataset, split)],
    }


def files(dataset: DatasetConfig, split: str, digests: Sequence[str]) -> list[TextFile]:
    """The files of a split, in order.

    Args:
        digests: of the files, as ``recipe`` had them; text that is not of these is refused when it is read.
    """
    return [
        TextFile(path.name, partial(_read, dataset, path, rows, digest))
        for (path, rows), digest in zip(_parts(dataset, split), digests, strict=True)
    ]


def _read(dataset: DatasetConfig, path: Path, rows: tuple[float, float], digest: str) -> Iterator[list[str]]:
    _check_unchanged(dataset, path, digest)
    yield from open_text(path, dataset.text_column, rows)
    _check_unchanged(dataset, path, digest)


def _check_unchanged(dataset: DatasetConfig, path: Path, digest: str) -> None:
    if folder_text.file_digests(_path(dataset)).get(path.name) != digest:
        raise DataError(
            f"{path} was changed while it was read, but must stay as it is while runs are prepared; run the "
            "same command again once it is whole"
        )


def _refuse_copies(dataset: DatasetConfig, digests: dict[str, str]) -> None:
    """Raise DataError where a validation file is trained on too, under another name."""
    trained = {digests[path.name]: path.name for path, _ in _parts(dataset, "train")}
    for path, _ in _parts(dataset, "validation"):
        twin = trained.get(digests[path.name], path.name)
        if twin != path.name:
            raise DataError(
                f"{path} is validation text, but must not be trained on too ({twin} has the same content); "
                "move one away"
            )


def _path(dataset: DatasetConfig) -> str:
    if dataset.path is None:
        raise ConfigError(
            "dataset.path is not set, but must name a folder of parquet files; add dataset.path=FOLDER"
        )
    return dataset.path


def _parts(dataset: DatasetConfig, split: str) -> list[Part]:
    paths = folder_text.parquet_files(_path(dataset))
    held_out = dataset.validation_shards
    if len(paths) == 1:
        rows = (0.0, 1 - VALIDATION_FRAC) if split == "train" else (1 - VALIDATION_FRAC, 1.0)
        return [(paths[0], rows)]
    folder_text.check_split(len(paths), held_out)
    chosen = paths[:-held_out] if split == "train" else paths[-held_out:]
    return [(path, (0.0, 1.0)) for path in chosen]
