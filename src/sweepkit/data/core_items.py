"""The items of an evaluation bundle's tasks: read, checked, shuffled and cut; a bundle fetched once.

All items of all tasks that are asked are read and checked before anything is computed, and what is wrong is
said by task and line. Items are shuffled by ``random.Random(1337)``, a task for itself, before the first
``max_per_task`` are taken: index i of a task is from here on its i-th item in that order.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config.measured import MeasuredOn
from sweepkit.config.schema_core import DOWNLOAD, CoreConfig
from sweepkit.data import cache
from sweepkit.errors import DamagedError, DataError, invalid
from sweepkit.plan import core_bundle
from sweepkit.plan.core_bundle import Bundle, Task, TaskKind

Item = Mapping[str, Any]

SHUFFLE_SEED = 1337
#: The 22 tasks of CORE (arXiv 2406.11794); any other set of tasks has another name.
CORE_TASKS = frozenset(
    {
        "agi_eval_lsat_ar", "arc_challenge", "arc_easy", "bigbench_cs_algorithms", "bigbench_dyck_languages",
        "bigbench_language_identification", "bigbench_operators", "bigbench_qa_wikidata",
        "bigbench_repeat_copy_logic", "boolq", "commonsense_qa", "copa", "coqa", "hellaswag",
        "hellaswag_zeroshot", "jeopardy", "lambada_openai", "openbook_qa", "piqa", "squad", "winograd",
        "winogrande",
    }
)  # fmt: skip
#: How items are asked; part of the fingerprint. Change the text when the meaning changes.
RULE = "items shuffled; few-shot by item; blank lines between; BOS in front; cropped on the left to T"


@dataclass(frozen=True)
class AskedTask:
    """A task and its items, in the order in which they are asked; ``left_out``: how many more it has."""

    task: Task
    items: Sequence[Item]
    left_out: int = 0


@dataclass(frozen=True)
class Core:
    """What a bundle asks.

    Attributes:
        digest: of the bundle (``core_bundle.digest``).
        max_per_task: first items that are asked; None: all.
    """

    digest: str
    tasks: Sequence[AskedTask]
    max_per_task: int | None

    @property
    def is_whole(self) -> bool:
        """Whether these are all items of the 22 tasks of CORE, so that their mean may be called so."""
        is_cut = any(asked.left_out for asked in self.tasks)
        return not is_cut and {asked.task.label for asked in self.tasks} == CORE_TASKS

    def measured_on(self, sequence_len: int) -> MeasuredOn:
        """What the scores are scores on."""
        labels = ", ".join(asked.task.label for asked in self.tasks)
        num_items = sum(len(asked.items) for asked in self.tasks)
        return MeasuredOn(self.digest, [0, num_items], RULE, sequence_len, f"accuracy on items of {labels}")


def load(core: CoreConfig) -> Core | None:
    """All that a configuration asks, checked; None where it asks nothing.

    Raises:
        ConfigError: ``tasks``, ``max_per_task`` or ``sha256`` do not fit the bundle.
        DataError: the bundle is missing or damaged, or cannot be fetched.
    """
    if core.bundle is None:
        return None
    if core.bundle == DOWNLOAD:
        fetch(core)
    bundle = core_bundle.opened(core)
    _check_pin(bundle, core)
    asked = []
    for task in core_bundle.chosen(bundle, core):
        items = _items(bundle, task)
        random.Random(SHUFFLE_SEED).shuffle(items)
        cut = items[: core.max_per_task]
        asked.append(AskedTask(task, cut, len(items) - len(cut)))
        _check_shots(bundle, asked[-1], core.max_per_task)
    return Core(core_bundle.digest(core), asked, core.max_per_task)


def _items(bundle: Bundle, task: Task) -> list[Item]:
    lines = bundle.read(task.items, task.label).split(b"\n")
    items = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            why = f"line {number} of {task.items} is no JSON ({error})"
            raise core_bundle.refused(bundle, task.label, why) from error
        item = _in_words(item)
        if wrong := _wrong(item, task.kind):
            why = f"line {number} of {task.items} has {wrong}"
            raise core_bundle.refused(bundle, task.label, why)
        items.append(item)
    if not items:
        raise core_bundle.refused(bundle, task.label, f"{task.items} has no item")
    return items


def _in_words(item: Any) -> Any:
    """An item with its numbers as text, but for ``gold``: a template would write them so."""

    def said(value: Any) -> Any:
        return str(value) if isinstance(value, int | float) else value

    if not isinstance(item, dict):
        return item
    return {
        name: value
        if name == "gold"
        else [said(each) for each in value]
        if isinstance(value, list)
        else said(value)
        for name, value in item.items()
    }


def _wrong(item: object, kind: TaskKind) -> str | None:
    """What is wrong with an item; None where it can be asked."""
    if not isinstance(item, dict):
        return "no object"
    texts = {
        TaskKind.multiple_choice: ("query",),
        TaskKind.schema: ("continuation",),
        TaskKind.language_modeling: ("context", "continuation"),
    }[kind]
    for name in texts:
        if not _is_text(item.get(name)):
            return f"no text {name!r}"
    several = {TaskKind.multiple_choice: "choices", TaskKind.schema: "context_options"}.get(kind)
    if several is None:
        return None
    options, gold = item.get(several), item.get("gold")
    if not isinstance(options, list) or not options or not all(map(_is_text, options)):
        return f"no list of texts {several!r}"
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(options):
        return f"gold {gold!r} for {len(options)} {several}"
    return None


def _is_text(value: object) -> bool:
    """Whether it is one, and one that UTF-8 can hold: JSON may have half of a pair of surrogates."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _check_shots(bundle: Bundle, asked: AskedTask, max_per_task: int | None) -> None:
    """Solved items are drawn from the other items that are asked, so there must be as many."""
    task, num = asked.task, len(asked.items)
    if num > task.num_fewshot:
        return
    if max_per_task is not None and max_per_task <= task.num_fewshot:
        raise invalid(
            "evaluation.core.max_per_task",
            max_per_task,
            f"be more than the {task.num_fewshot} solved items that {task.label} shows before each item",
            f"use {task.num_fewshot + 1} or more",
        )
    why = f"{task.items} has {num} items, and {task.num_fewshot} others are shown before each"
    raise core_bundle.refused(bundle, task.label, why)


def _check_pin(bundle: Bundle, core: CoreConfig) -> None:
    if core.sha256 is None or not bundle.is_zip:
        return
    found = fsio.sha256(bundle.place)
    if found != core.sha256.lower():
        raise DataError(
            f"{bundle.place} has the SHA-256 {found}, but must have {core.sha256} (evaluation.core.sha256); "
            "get the bundle that was meant, or correct the pin"
        )


def fetch(core: CoreConfig) -> Path:
    """The zip that ``url`` gives, downloaded once; its SHA-256 is kept beside it and holds from then on.

    Raises:
        ConfigError: there is no ``url``.
        DataError: it cannot be reached, or the zip is not the one that it was.
    """
    from huggingface_hub.file_download import http_get

    if core.url is None:
        raise invalid("evaluation.core.url", None, "be a URL for bundle=download", "set it")
    path = core_bundle.download_path(core)
    kept = path.with_name("download.json")
    with cache.lock(path), fsio.explain_full_disk(path):
        first = None
        with contextlib.suppress(FileNotFoundError, DamagedError, KeyError):
            first = fsio.read_json(kept)["sha256_of_zip"]
        if first is not None and path.exists() and fsio.sha256(path) == first:
            return path
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            try:
                http_get(core.url, file, displayed_filename="evaluation bundle")
            except Exception as error:
                if isinstance(error, OSError) and error.errno in fsio.DISK_FULL:
                    raise
                raise _unreachable(core.url, error) from None
        found = fsio.sha256(part)
        if first not in (None, found):
            raise DataError(
                f"evaluation.core.url is {core.url!r}, which gives a zip with the SHA-256 {found}, but must "
                f"give the one that it gave first, {first}; another bundle is another evaluation: delete "
                f"{path.parent} to take it"
            )
        fsio.write_json(kept, {"url": core.url, "sha256_of_zip": found})
        part.replace(path)
    return path


def _unreachable(url: str, error: Exception) -> DataError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(
        f"evaluation.core.url is {url!r}, but must be reachable to fetch the bundle ({cause:.200}); check "
        "the network and try again, or name a zip or folder of yours (evaluation.core.bundle)"
    )
