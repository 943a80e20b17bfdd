"""Evaluation bundles as they are passed on: a zip or folder with tasks, their items and what chance scores.

    core.yaml             icl_tasks: label, dataset_uri, icl_task_type, num_fewshot, continuation_delimiter
    eval_meta_data.csv    columns "Eval Task" and "Random baseline" (percent)
    eval_data/*.jsonl     an item a line, by dataset_uri

A bundle is what is in the files that its tasks name: a zip and the folder that it was made from are one, and
the digest of that stands in the identity of every evaluation.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]

import sweepkit
from sweepkit import fsio
from sweepkit.config import paths, variables
from sweepkit.config.schema_core import DOWNLOAD, EMBEDDED, CoreConfig
from sweepkit.errors import DataError, did_you_mean, invalid
from sweepkit.plan import folder_text

TASKS_FILE, CHANCE_FILE, ITEMS_FOLDER = "core.yaml", "eval_meta_data.csv", "eval_data"
_OWN = Path(sweepkit.__file__).resolve().parent / "data" / "core"
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class TaskKind(Enum):
    """How an item is asked."""

    multiple_choice = "multiple_choice"  # one query, several continuations
    schema = "schema"  # several contexts, one continuation
    language_modeling = "language_modeling"  # the continuation has to be what the model would write


_KINDS = tuple(TaskKind.__members__)
#: Labels whose columns would be those of the mean, or of standard errors (``results/core_outcomes.py``).
_TAKEN = re.compile("subset|se|se_.*", re.DOTALL)


@dataclass(frozen=True)
class Task:
    """One task of a bundle.

    Attributes:
        label: its name.
        items: its file, within the bundle.
        num_fewshot: solved items in front of the one that is asked.
        delimiter: between a context and its continuation.
        baseline: what chance scores, in percent.
    """

    label: str
    items: str
    kind: TaskKind
    num_fewshot: int
    delimiter: str
    baseline: float


@dataclass(frozen=True)
class Bundle:
    """Where a bundle is: its folder, or its zip and what names in it begin with."""

    place: Path
    start: str = ""

    @property
    def is_zip(self) -> bool:
        return not self.place.is_dir()

    def read(self, name: str, needed_by: str) -> bytes:
        """A file's content.

        Args:
            needed_by: what cannot be asked without it, for the error.

        Raises:
            DataError: it is missing or damaged.
        """
        try:
            if not self.is_zip:
                return (self.place / name).read_bytes()
            with zipfile.ZipFile(self.place) as archive:
                return archive.read(self.start + name)
        except (KeyError, FileNotFoundError, NotADirectoryError) as error:
            raise refused(self, needed_by, f"{name} is missing") from error
        except _BROKEN as error:
            raise refused(self, needed_by, f"{name} cannot be read ({error})") from error

    def tasks(self) -> list[Task]:
        """All of its tasks, in its order. Raises DataError: one is incomplete, or its description is."""
        content = self.read(TASKS_FILE, "the bundle")
        try:
            listed = yaml.safe_load(content.decode("utf-8-sig"))["icl_tasks"]
            entries = [dict(entry) for entry in listed]
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            why = f"{TASKS_FILE} has no list icl_tasks ({type(error).__name__})"
            raise refused(self, "the bundle", why) from error
        chance = self._chance()
        tasks = [self._task(entry, chance) for entry in entries]
        labels = [task.label for task in tasks]
        if not tasks or len(set(labels)) < len(labels):
            twice = next((label for label in labels if labels.count(label) > 1), "the bundle")
            raise refused(self, twice, f"{TASKS_FILE} names it twice" if tasks else "it has no task")
        return tasks

    def _chance(self) -> dict[str, str]:
        try:
            text = self.read(CHANCE_FILE, "the bundle").decode("utf-8-sig")
            return {row["Eval Task"]: row["Random baseline"] for row in csv.DictReader(io.StringIO(text))}
        except (KeyError, UnicodeDecodeError, csv.Error) as error:
            why = f"{CHANCE_FILE} lacks its columns Eval Task and Random baseline ({error})"
            raise refused(self, "the bundle", why) from error

    def _task(self, entry: dict[str, Any], chance: dict[str, str]) -> Task:
        label = str(entry.get("label") or "a task without a label")
        shots = entry.get("num_fewshot", 0)
        shots = shots[0] if isinstance(shots, list) and shots else shots
        uri, kind = entry.get("dataset_uri"), entry.get("icl_task_type")
        delimiter = entry.get("continuation_delimiter", " ")
        is_inside = isinstance(uri, str) and ".." not in PurePosixPath(uri).parts and uri[:1] != "/"
        is_count = isinstance(shots, int) and not isinstance(shots, bool) and shots >= 0
        wrong = [
            ("label", "label" in entry and not _TAKEN.fullmatch(label), "no name of its own"),
            ("dataset_uri", is_inside, f"no file below {ITEMS_FOLDER}"),
            ("icl_task_type", isinstance(kind, str) and kind in _KINDS, f"none of {', '.join(_KINDS)}"),
            ("num_fewshot", is_count, "no whole number of at least 0"),
            ("continuation_delimiter", isinstance(delimiter, str), "no text"),
        ]
        if bad := next(((name, why) for name, is_right, why in wrong if not is_right), None):
            raise refused(self, label, f"its {bad[0]} in {TASKS_FILE} is {entry.get(bad[0])!r}, {bad[1]}")
        try:
            baseline = float(chance[label])
        except (KeyError, TypeError, ValueError):
            raise refused(self, label, f"{CHANCE_FILE} has no number for it") from None
        if not 0 <= baseline < 100:
            raise refused(self, label, f"its random baseline is {baseline:g} percent")
        return Task(
            label,
            f"{ITEMS_FOLDER}/{PurePosixPath(str(uri))}",
            TaskKind[str(kind)],
            shots,
            delimiter,
            baseline,
        )


def refused(bundle: Bundle, task: str, why: str) -> DataError:
    """The error for a task, or the whole, that is not what it was when the bundle was made."""
    return DataError(
        f"{task} of the evaluation bundle {bundle.place} cannot be asked: {why}, but must be whole; copy the "
        "bundle again, or ask other tasks (evaluation.core.tasks)"
    )


def chosen(bundle: Bundle, core: CoreConfig) -> list[Task]:
    """The tasks that are asked, in the bundle's order.

    Raises:
        ConfigError: ``evaluation.core.tasks`` names one that is not there.
        DataError: see ``Bundle.tasks``.
    """
    tasks = bundle.tasks()
    known = [task.label for task in tasks]
    for label in core.tasks:
        if label not in known:
            raise invalid(
                "evaluation.core.tasks", label, "be a task of the bundle", did_you_mean(label, known)
            )
    return [task for task in tasks if not core.tasks or task.label in core.tasks]


def opened(core: CoreConfig) -> Bundle:
    """The bundle that a configuration names; ``bundle`` is not null.

    Raises:
        DataError: there is none, it is none, or it was never fetched here.
    """
    if core.bundle == EMBEDDED:
        return Bundle(_OWN)
    if core.bundle == DOWNLOAD:
        path = download_path(core)
        if not path.exists():
            raise DataError(
                f"evaluation.core.bundle is 'download', but {core.url} was never fetched here; run "
                "sweepkit data prepare with the same words where it can be reached, or name a zip or folder"
            )
        return _in_zip(path)
    path = Path(variables.filled(str(core.bundle))).expanduser()
    if not path.exists():
        raise DataError(
            f"evaluation.core.bundle is {core.bundle!r}, which does not exist on this machine, but must be a "
            f"zip, a folder, {EMBEDDED} or {DOWNLOAD}; check the spelling"
        )
    if not path.is_dir():
        return _in_zip(path)
    inner = [folder for folder in (path, *sorted(path.glob("*/"))) if (folder / TASKS_FILE).is_file()]
    if not inner:
        raise refused(Bundle(path), "the bundle", f"{TASKS_FILE} is missing")
    return Bundle(inner[0])


def _in_zip(path: Path) -> Bundle:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _BROKEN as error:
        raise refused(Bundle(path), "the bundle", f"it is no whole zip ({error})") from error
    paths = {name: PurePosixPath(name) for name in names}  # a name may begin with ./, which paths drop
    found = [
        name for name, inside in paths.items() if inside.name == TASKS_FILE and inside.parts[0] != "__MACOSX"
    ]
    if not found:
        raise refused(Bundle(path), "the bundle", f"{TASKS_FILE} is missing")
    return Bundle(path, min(found, key=lambda name: len(paths[name].parts)).removesuffix(TASKS_FILE))


def download_path(core: CoreConfig) -> Path:
    """Where what ``url`` gives is kept."""
    return paths.cache_dir() / "data" / "core" / fsio.digest(core.url)[:20] / "bundle.zip"


def digest(core: CoreConfig) -> str:
    """SHA-256 over names and contents of the files that the tasks asked are in.

    Raises:
        ConfigError, DataError: as ``opened`` and ``chosen``; or a file is missing or damaged.
    """
    bundle = opened(core)
    if core.bundle == EMBEDDED:
        return _own_digest(tuple(core.tasks))
    if bundle.is_zip:
        remembered_as = bundle.place / fsio.digest(sorted(core.tasks))
        found = folder_text.digests_of([bundle.place], remembered_as, lambda _: [_content(bundle, core)])
        return found[bundle.place]
    asked = _files(bundle, core)
    for name, needed_by in asked.items():
        if not (bundle.place / name).is_file():
            bundle.read(name, needed_by)
    found = folder_text.digests_of([bundle.place / name for name in asked], bundle.place)
    return fsio.digest({name: found[bundle.place / name] for name in asked})


def asked(core: CoreConfig) -> tuple[list[str], int | None]:
    """Labels of tasks and number of items, each only where it asks less than the bundle has.

    Raises:
        ConfigError, DataError: as ``digest``.
    """
    if core.bundle is None:
        return core.tasks, core.max_per_task
    is_all = len({*core.tasks}) == len(opened(core).tasks())
    longest = max(count for count, _ in _sizes(digest(core), core.bundle, core.url, tuple(core.tasks), None))
    is_whole = core.max_per_task is None or core.max_per_task >= longest
    return [] if is_all else sorted({*core.tasks}), None if is_whole else core.max_per_task


def sizes(core: CoreConfig) -> list[tuple[int, float]]:
    """How many items are asked of every task, and about how many bytes each has with the solved ones before.

    Nothing where the bundle is not there: who asks it says so.
    """
    try:
        return _sizes(digest(core), core.bundle, core.url, tuple(core.tasks), core.max_per_task)
    except DataError:
        return []


@functools.lru_cache(maxsize=64)
def _sizes(
    _digest: str, place: str, url: str | None, tasks: tuple[str, ...], most: int | None
) -> list[tuple[int, float]]:
    core = CoreConfig(bundle=place, url=url, tasks=list(tasks))
    bundle, found = opened(core), []
    for task in chosen(bundle, core):
        lines = [line for line in bundle.read(task.items, task.label).split(b"\n") if line.strip()]
        mean = sum(map(len, lines)) / max(1, len(lines))
        found.append((min(len(lines), most or len(lines)), mean * (task.num_fewshot + 1)))
    return found


@functools.lru_cache(maxsize=64)
def _own_digest(tasks: tuple[str, ...]) -> str:
    return _content(Bundle(_OWN), CoreConfig(tasks=list(tasks)))


def _content(bundle: Bundle, core: CoreConfig) -> str:
    asked = _files(bundle, core)
    return fsio.digest(
        {name: hashlib.sha256(bundle.read(name, needed_by)).hexdigest() for name, needed_by in asked.items()}
    )


def _files(bundle: Bundle, core: CoreConfig) -> dict[str, str]:
    """File → the tasks that need it."""
    found = {TASKS_FILE: "the bundle", CHANCE_FILE: "the bundle"}
    for task in chosen(bundle, core):
        found[task.items] = f"{found[task.items]}, {task.label}" if task.items in found else task.label
    return found
