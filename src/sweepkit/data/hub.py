"""Datasets in a public hub repository, downloaded shard by shard when they are read.

The repository's file list gives every shard's size and SHA-256. A shard is downloaded when tokenization
reaches it, resumed where an earlier download stopped, and hashed before it is read; one that does not
match is fetched once more from the start and then refused. HF_ENDPOINT names another server, HF_TOKEN an
account, as for every tool on huggingface_hub.

``dataset.shard_pattern`` is either a name with ``{index}`` (or ``{index:05d}``), shards in the order of the
index, or a glob (``*`` also matches ``/``), shards in the order of the SHA-256 of their names: file names
often group by source, and the first shards should be a fair sample. The last ``dataset.validation_shards``
are validation text, the first ``dataset.num_train_shards`` of the others are trained on.

Without ``dataset.revision``, the commit that main is when a cache first asks stays this dataset's in that
cache, so that shards fetched later go with the earlier ones; records say which it is, and setting it as the
revision gives any other cache the same text.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config.schema import DatasetConfig
from sweepkit.data import cache
from sweepkit.errors import DamagedError, DataError, ImpossibleError, invalid
from sweepkit.plan import text
from sweepkit.plan.text_file import TextFile, open_text

_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")  # of a URL


@dataclass(frozen=True)
class Shard:
    path: str  # in the repository
    size: int  # bytes
    sha256: str | None  # None: a small file kept in git itself, which has no such digest


def recipe(dataset: DatasetConfig, split: str) -> dict[str, Any]:
    """Names the text by repository, revision and shards; asks no server."""
    _check(dataset)
    return {
        "kind": "hub",
        "split": split,
        "repo": dataset.repo,
        "revision": dataset.revision,
        "shard_pattern": dataset.shard_pattern,
        "num_train_shards": dataset.num_train_shards if split == "train" else None,
        "validation_shards": dataset.validation_shards,
        "text_column": dataset.text_column,
    }


def files(dataset: DatasetConfig, split: str, downloads: Path) -> list[TextFile]:
    """The shards of a split; each is downloaded when its batches are asked for.

    Raises:
        DataError: the hub cannot be reached, or has no such repository, revision or shards.
    """
    commit, listed = _listing(dataset, downloads)
    folder = _repo_folder(dataset, downloads) / commit
    chosen = _choose(dataset, split, listed)
    return [TextFile(shard.path, partial(_read, dataset, commit, shard, folder), commit) for shard in chosen]


def look_up(dataset: DatasetConfig, downloads: Path) -> str:
    """The commit of a dataset's revision, which this cache keeps from now on. Raises what ``files`` does."""
    _check(dataset)
    return _listing(dataset, downloads)[0]


def _check(dataset: DatasetConfig) -> None:
    if not dataset.repo or dataset.repo.count("/") != 1:
        raise invalid(
            "dataset.repo", dataset.repo, "name a dataset repository as OWNER/NAME",
            "for example dataset.repo=karpathy/climbmix-400b-shuffle",
        )  # fmt: skip
    if not dataset.shard_pattern:
        raise invalid(
            "dataset.shard_pattern", dataset.shard_pattern, "name the shards",
            "for example 'shard_{index:05d}.parquet' or 'data/*.parquet'",
        )  # fmt: skip
    if dataset.validation_shards < 1:
        raise invalid(
            "dataset.validation_shards", dataset.validation_shards, "be at least 1", "the default is 1"
        )


def _choose(dataset: DatasetConfig, split: str, listed: list[Shard]) -> list[Shard]:
    shards = _matching(dataset.shard_pattern or "", listed)
    held_out = dataset.validation_shards
    if len(shards) <= held_out:
        raise ImpossibleError(
            f"dataset.shard_pattern is {dataset.shard_pattern!r}, which matches {len(shards)} files of "
            f"{dataset.repo}, but must match more than dataset.validation_shards ({held_out}); "
            f"the repository has, among others: {', '.join(shard.path for shard in listed[:5])}"
        )
    if split == "validation":
        return shards[-held_out:]
    wanted = dataset.num_train_shards or len(shards) - held_out
    if wanted > len(shards) - held_out:
        raise ImpossibleError(
            f"dataset.num_train_shards is {wanted}, but must be at most {len(shards) - held_out} "
            f"({len(shards)} shards, {held_out} held out); lower it"
        )
    return shards[:wanted]


def _matching(pattern: str, listed: list[Shard]) -> list[Shard]:
    if "{index" not in pattern:
        found = [shard for shard in listed if fnmatch.fnmatchcase(shard.path, pattern)]
        return sorted(found, key=lambda shard: hashlib.sha256(shard.path.encode()).digest())
    before, after = re.split(r"\{index[^}]*\}", pattern, maxsplit=1)
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    matches = [(expression.fullmatch(shard.path), shard) for shard in listed]
    numbered = [(int(match[1]), shard) for match, shard in matches if match]
    return [shard for _, shard in sorted(numbered, key=lambda item: item[0])]


def _listing(dataset: DatasetConfig, downloads: Path) -> tuple[str, list[Shard]]:
    """The commit that ``dataset.revision`` (or main) is, and its files, as they were when first asked for."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    kept = text.listing_path(dataset, downloads)
    for path in (kept, *sorted(kept.parent.glob("listing-*.json"))):  # a branch's may be of this commit
        with contextlib.suppress(FileNotFoundError, DamagedError):
            value = fsio.read_json(path)
            if path == kept or value["commit"] == dataset.revision:
                return value["commit"], [Shard(**item) for item in value["shards"]]
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="sweepkit")
    repo = str(dataset.repo)
    try:
        commit = api.dataset_info(repo, revision=dataset.revision).sha
        assert commit is not None
        tree = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
        shards = [
            Shard(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
            for entry in tree
            if isinstance(entry, RepoFile)
        ]
    except Exception as error:
        raise _explain(dataset, error) from None
    fsio.write_json(kept, {"commit": commit, "shards": [asdict(shard) for shard in shards]})
    return commit, shards


def _read(dataset: DatasetConfig, commit: str, shard: Shard, folder: Path) -> Iterator[list[str]]:
    path = _fetch(dataset, commit, shard, folder)
    yield from open_text(path, dataset.text_column)


def _fetch(dataset: DatasetConfig, commit: str, shard: Shard, folder: Path) -> Path:
    """Download what is missing of a shard and check it.

    huggingface_hub's own ``hf_hub_download`` forgets a partial file when its process ends, so the partial
    file is ours (``NAME.part``), and only the request and its retries are huggingface_hub's.
    """
    path = folder / shard.path
    if path.exists() and _intact(path, shard):
        return path  # without a lock: the folder may be somebody else's, for reading
    with cache.lock(path), fsio.explain_full_disk(path):
        if path.exists() and _intact(path, shard):
            return path
        part = path.with_name(path.name + ".part")
        for _ in range(2):
            _download(dataset, commit, shard, part)
            if _intact(part, shard):
                part.replace(path)
                return path
            part.unlink()
    path.unlink(missing_ok=True)
    raise DataError(
        f"shard {shard.path} of {dataset.repo} arrived corrupt twice, but must have the SHA-256 "
        f"{(shard.sha256 or '')[:12]}… that the repository states; try again later, or check HF_ENDPOINT "
        "and proxies"
    )


def _download(dataset: DatasetConfig, commit: str, shard: Shard, part: Path) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(
        str(dataset.repo),
        shard.path,
        repo_type="dataset",
        revision=commit,
        endpoint=os.environ.get("HF_ENDPOINT"),
    )
    part.touch()
    if part.stat().st_size > shard.size:
        os.truncate(part, 0)
    with part.open("r+b") as file:
        there = file.seek(0, os.SEEK_END)
        try:
            http_get(
                url,
                file,
                resume_size=there,
                headers=build_hf_headers(library_name="sweepkit"),
                expected_size=shard.size,
                displayed_filename=shard.path,
            )
        except Exception as error:
            if isinstance(error, OSError) and error.errno in fsio.DISK_FULL:
                raise
            raise _explain(dataset, error, shard.path) from None


def _intact(path: Path, shard: Shard) -> bool:
    if path.stat().st_size != shard.size:
        return False
    if shard.sha256 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256


def _explain(dataset: DatasetConfig, error: Exception, shard: str = "") -> Exception:
    """A DataError with what to do about a failed request.

    The request's own error is not to be shown with it: it may hold HF_ENDPOINT's password.
    """
    from huggingface_hub import errors as hub_errors

    what = f"dataset.repo is {dataset.repo!r}" + (f" (shard {shard})" if shard else "")
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    cause = _PASSWORD.sub("***@", cause)
    if isinstance(error, hub_errors.RepositoryNotFoundError | hub_errors.RevisionNotFoundError):
        return DataError(
            f"{what}, revision {dataset.revision or 'main'!r}, but must be a dataset on the hub that this "
            f"account can read ({cause}); check the spelling, or set HF_TOKEN"
        )
    return DataError(
        f"{what}, but must be reachable to download it ({type(error).__name__}: {cause}); check the network "
        "and HF_ENDPOINT and run the same command again, it goes on where it stopped; "
        "dataset=embedded needs no network"
    )


def _repo_folder(dataset: DatasetConfig, downloads: Path) -> Path:
    return downloads / str(dataset.repo).replace("/", "--")
