"""Content digests of the parquet files in a folder: what pins a dataset that has only a path.

Hashing gigabytes at every start would be slow, so digests are remembered in the cache folder by path,
size and modification time, and a file is hashed again only when one of these changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config import paths, variables
from sweepkit.config.schema import DatasetConfig, DatasetKind
from sweepkit.errors import DamagedError, DataError, StorageError


def parquet_files(folder: Path) -> list[Path]:
    """All ``*.parquet`` files of a folder, in the order of their names.

    Raises:
        DataError: one of that name is no file.
    """
    found = sorted(folder.glob("*.parquet"))
    for path in found:
        if not path.is_file():
            state = "a folder" if path.is_dir() else "a link to a file that is missing"
            raise DataError(
                f"{path} is {state}, but must be a parquet file; name the folder that holds the files as "
                "dataset.path, or move it away"
            )
    return found


def folder_manifest(folder: str | Path) -> dict[str, Any]:
    """File names and SHA-256 digests of all ``*.parquet`` files in ``folder``.

    Returns:
        ``files``: name to ``{"size", "sha256"}``, and ``digest``, the SHA-256 of the names and digests.
    """
    root = Path(folder).expanduser().resolve()
    remembered_path = paths.cache_dir() / "data" / "manifests" / f"{fsio.digest(str(root))[:20]}.json"
    try:
        remembered = fsio.read_json(remembered_path)
    except (OSError, DamagedError):
        remembered = {}
    files: dict[str, dict[str, Any]] = {}
    for path in parquet_files(root):
        stat = path.stat()
        known = remembered.get(path.name, {})
        if (known.get("size"), known.get("mtime_ns")) != (stat.st_size, stat.st_mtime_ns):
            known = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": _sha256(path)}
        files[path.name] = known
    if files != remembered:
        with contextlib.suppress(OSError, StorageError):  # somebody else's cache: hash again the next time
            fsio.write_json(remembered_path, files)
    content = {name: {"size": known["size"], "sha256": known["sha256"]} for name, known in files.items()}
    return {"files": content, "digest": fsio.digest(content)}


def pin(dataset: DatasetConfig) -> DatasetConfig:
    """``dataset`` with ``manifest_digest`` filled in, so that its identity is its content; folders only."""
    if dataset.kind is not DatasetKind.parquet_folder or dataset.path is None or dataset.manifest_digest:
        return dataset
    return dataclasses.replace(
        dataset, manifest_digest=folder_manifest(variables.filled(dataset.path))["digest"]
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
