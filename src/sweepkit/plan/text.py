"""Which text a run is about, by content: what stands for the name and place of a dataset in its identity.

A folder is the digest of its files, the embedded corpus that of its manifest. A hub dataset is a commit: the
one that ``dataset.revision`` names, or that its branch was when this machine's cache first asked. One that
nobody has asked for yet is not known; it can be planned, and neither frozen nor run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

import sweepkit
from sweepkit import fsio
from sweepkit.config import holdout, paths, typed
from sweepkit.config.choices import DatasetKind, TokenizerCorpus
from sweepkit.config.cross_checks import EMBEDDED_SOURCES
from sweepkit.config.facts import Identity, declared, default
from sweepkit.config.schema import DatasetConfig, RunConfig
from sweepkit.errors import DamagedError, DataError, StorageError
from sweepkit.plan import core_bundle, folder_text
from sweepkit.plan.run_plan import RunPlan

#: What the tokens of a run are read from: its dataset, the text of its tokenizer and of its probe stream; and
#: the tasks that it is asked.
DATASET, TOKENIZER, PROBE, VALIDATION, CORE = "dataset", "tokenizer", "probe", "validation", "core"
_MANIFEST = Path(sweepkit.__file__).resolve().parent / "data" / "corpus" / "manifest.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: ``dataset.name`` of a parquet folder that nobody named (``conf/dataset/files.yaml``).
_UNNAMED = "files"


#: Blocks of the RunConfig that text is prepared by: those that are marked as data, or as evaluation.
_BLOCKS = tuple(
    item.name
    for item in dataclasses.fields(RunConfig)
    if (declared(item).data or declared(item).identity is Identity.evaluation)
    and dataclasses.is_dataclass(default(item))
)


class UnknownTextError(DataError):
    """A hub dataset's commit is not known here.

    Attributes:
        dataset: the dataset.
    """

    def __init__(self, dataset: DatasetConfig) -> None:
        super().__init__(
            f"dataset.revision of {dataset.repo} is {dataset.revision!r}, but must be a commit, or one that "
            "this machine's cache has looked up, for a branch may be another text tomorrow; set "
            "dataset.revision=COMMIT, or run sweepkit data prepare where the hub can be reached"
        )
        self.dataset = dataset


def pinned(config: RunConfig) -> RunConfig:
    """``config`` with the commit of its hub dataset as ``dataset.revision``, where it is known."""
    if config.dataset.kind is not DatasetKind.hub:
        return config
    commit = known_commit(config.dataset, paths.cache_dir() / "data" / "downloads")
    if commit is None:
        return config
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, revision=commit))


def texts(config: RunConfig) -> dict[str, str | None]:
    """Digest, or commit, of every text that a run reads; None for a hub dataset whose commit is not known.

    Args:
        config: as ``pinned`` gives it.

    Raises:
        DataError: a folder is missing or cannot be read.
    """
    found: dict[str, str | None] = {DATASET: _of_dataset(config.dataset)}
    if config.tokenizer.corpus is TokenizerCorpus.embedded:
        found[TOKENIZER] = embedded_digest()
    if (path := config.dataset.validation_path) is not None:
        found[VALIDATION] = folder_text.digest(path, "dataset.validation_path")
    if any(holdout.usual(stream) == PROBE for stream in config.evaluation.streams):
        found[PROBE] = embedded_digest()
    if config.evaluation.core.bundle is not None:
        found[CORE] = core_bundle.digest(config.evaluation.core)
    return found


def recipe(plan: RunPlan) -> str:
    """Equal for plans that one preparation of data (``data/prepare.py``) serves."""
    blocks = [getattr(plan.config, name) for name in _BLOCKS]
    return fsio.digest([typed.dump(blocks), plan.sequence_len, plan.texts])


def known(plan: RunPlan) -> RunPlan:
    """The plan. Raises UnknownTextError where its text has no content yet."""
    if None in plan.texts.values():
        raise UnknownTextError(plan.config.dataset)
    return plan


def check(plan: RunPlan) -> None:
    """Refuse to train on another text than the one that the plan is named by.

    Raises:
        DataError: files changed since the run was planned, or are missing.
        UnknownTextError: it was never known.
    """
    known(plan)
    config = plan.config
    for name, now in texts(config).items():
        if (planned := plan.texts.get(name)) != now:
            own = {
                DATASET: config.dataset.path,
                VALIDATION: config.dataset.validation_path,
                CORE: config.evaluation.core.bundle,
            }
            place = own.get(name) or "the embedded corpus"
            raise DataError(
                f"the {name} text of {plan.run_id} is {place} with the digest {str(now)[:12]}, but must be "
                f"the one it was planned with ({str(planned)[:12]}): files were edited, added or removed "
                "since; restore them, or plan the run again (a sweep: under a new name), which makes it "
                "another run"
            )


def known_commit(dataset: DatasetConfig, downloads: Path) -> str | None:
    """The commit that a hub dataset's revision is; None where this cache has not asked."""
    if dataset.revision and _COMMIT.fullmatch(dataset.revision):
        return dataset.revision
    with contextlib.suppress(OSError, DamagedError, StorageError):
        commit = str(fsio.read_json(listing_path(dataset, downloads))["commit"])
        return commit if _COMMIT.fullmatch(commit) else None
    return None


def listing_path(dataset: DatasetConfig, downloads: Path) -> Path:
    """Where the commit and the files of a hub dataset's revision are kept."""
    name = f"listing-{quote(dataset.revision or 'main', safe='')}.json"
    return downloads / str(dataset.repo).replace("/", "--") / name


def label(plan: RunPlan) -> str:
    """What tables call a plan's dataset: its name; a folder also by the first digits of what is in it."""
    dataset, digest = plan.config.dataset, plan.texts.get(DATASET)
    name = dataset.name
    if dataset.kind is not DatasetKind.files:
        return name
    if name == _UNNAMED and dataset.path:
        name = PurePath(dataset.path).name
    return f"{name}@{digest[:8]}" if digest else name


@functools.cache
def embedded_digest() -> str:
    """SHA-256 of the manifest of the corpus inside the package, which has the digests of its files."""
    return hashlib.sha256(_MANIFEST.read_bytes()).hexdigest()


def tokenizer_bytes(config: RunConfig) -> int | None:
    """At most so many bytes of text are there to train the tokenizer on; None where only reading tells."""
    if config.tokenizer.corpus is TokenizerCorpus.embedded:
        return embedded_bytes()
    if config.dataset.kind is DatasetKind.embedded:
        return embedded_bytes(config.dataset.sources)
    return None


def embedded_bytes(sources: Sequence[str] = ()) -> int:
    """Of parts of the embedded corpus, held-out documents included; of all where none is named."""
    return sum(_embedded_bytes()[name] for name in set(sources or EMBEDDED_SOURCES))


@functools.cache
def _embedded_bytes() -> dict[str, int]:
    files = fsio.read_open_json(_MANIFEST)
    return {name: files[f"{name}.parquet"]["num_bytes"] for name in EMBEDDED_SOURCES}


def _of_dataset(dataset: DatasetConfig) -> str | None:
    if dataset.kind is DatasetKind.embedded:
        return embedded_digest()
    if dataset.kind is DatasetKind.files:
        folder_text.check(dataset)
        return folder_text.digest(str(dataset.path))
    return dataset.revision if dataset.revision and _COMMIT.fullmatch(dataset.revision) else None
