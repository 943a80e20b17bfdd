"""A folder of parquet files as a dataset.

All ``*.parquet`` files in the order of their names; the last ``dataset.validation_shards`` are validation
text, or, where there is only one file, the last 5% of its documents.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from sweepkit.config import variables
from sweepkit.config.schema import DatasetConfig
from sweepkit.data.manifest import folder_manifest, parquet_files
from sweepkit.data.text_file import TextFile, open_text
from sweepkit.errors import DataError, invalid

VALIDATION_FRAC = 0.05  # of a single file's documents

Part = tuple[Path, tuple[float, float]]


def recipe(dataset: DatasetConfig, split: str) -> dict[str, Any]:
    """Names the text by the content of the files, not by where they are.

    Raises:
        DataError: the folder is missing, has no parquet file, is not what ``manifest_digest`` pins, or would
            be evaluated on a copy of what it is trained on.
    """
    parts = _parts(dataset, split)
    manifest = folder_manifest(_folder(dataset))
    if dataset.manifest_digest not in (None, manifest["digest"]):
        raise DataError(
            f"dataset.manifest_digest is {dataset.manifest_digest!r}, but must be {manifest['digest']!r}, "
            f"the digest of the files in {dataset.path}; they changed since it was pinned: restore them, or "
            "drop the pin and count what follows as another dataset"
        )
    digests = manifest["files"]
    _refuse_copies(dataset, digests)
    return {
        "kind": "parquet_folder",
        "text_column": dataset.text_column,
        "parts": [[digests[path.name]["sha256"], list(rows)] for path, rows in parts],
    }


def _refuse_copies(dataset: DatasetConfig, digests: dict[str, Any]) -> None:
    """Raise DataError where a validation file is trained on too, under another name."""
    trained = {digests[path.name]["sha256"]: path.name for path, _ in _parts(dataset, "train")}
    for path, _ in _parts(dataset, "validation"):
        twin = trained.get(digests[path.name]["sha256"], path.name)
        if twin != path.name:
            raise DataError(
                f"{path} is validation text, but must not be trained on too ({twin} has the same content); "
                "move one away"
            )


def files(dataset: DatasetConfig, split: str) -> list[TextFile]:
    """The files of a split, in order."""
    return [
        TextFile(path.name, partial(open_text, path, dataset.text_column, rows))
        for path, rows in _parts(dataset, split)
    ]


def _folder(dataset: DatasetConfig) -> Path:
    if dataset.path is None:
        raise invalid(
            "dataset.path", None, "name a folder of parquet files", "add dataset.path=FOLDER to the command"
        )
    folder = Path(variables.filled(dataset.path)).expanduser()
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(
            f"dataset.path is {dataset.path!r}, which {state}, but must be a folder of *.parquet files; "
            "check the spelling, or use an absolute path"
        )
    return folder


def _parts(dataset: DatasetConfig, split: str) -> list[Part]:
    folder = _folder(dataset)
    paths = parquet_files(folder)
    if not paths:
        raise DataError(
            f"dataset.path is {dataset.path!r}, which holds no *.parquet file, but must hold at least one; "
            f"put files with a column {dataset.text_column!r} there"
        )
    held_out = dataset.validation_shards
    if len(paths) == 1:
        rows = (0.0, 1 - VALIDATION_FRAC) if split == "train" else (1 - VALIDATION_FRAC, 1.0)
        return [(paths[0], rows)]
    if not 1 <= held_out < len(paths):
        raise invalid(
            "dataset.validation_shards", held_out,
            f"be at least 1 and leave one of the {len(paths)} files to train on", "lower it or add files",
        )  # fmt: skip
    chosen = paths[:-held_out] if split == "train" else paths[-held_out:]
    return [(path, (0.0, 1.0)) for path in chosen]
