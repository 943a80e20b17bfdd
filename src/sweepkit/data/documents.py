"""Datasets as ordered documents: what a dataset's train, validation and probe texts are.

``Documents`` has a ``recipe``, plain JSON that names the text without reading it (cache keys are digests
of recipes), and ``files``, each of which yields batches of texts when it is asked to. So a hub shard is
downloaded only when it is read, and a cache that is there needs neither network nor text.

Splits: ``train``, ``validation`` (of the same dataset, held out) and ``probe`` (a source not trained on:
always the embedded probe). Every embedded dataset has the same validation and probe texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import DatasetConfig
from sweepkit.data import embedded, folder, hub
from sweepkit.errors import DataError, did_you_mean, invalid
from sweepkit.plan.text_file import TextFile

SPLITS = ("train", "validation", "probe")


@dataclass(frozen=True)
class Documents:
    recipe: dict[str, Any]
    files: Callable[[], list[TextFile]]  # called only when the text is needed

    def texts(self) -> Iterator[str]:
        """Every non-empty document, in order.

        Raises:
            DataError: there is none, or a file is corrupt.
        """
        found = False
        for file in self.files():
            for batch in file.batches():
                for text in filter(None, batch):
                    found = True
                    yield text
        if not found:
            raise no_text()


def no_text() -> DataError:
    """What to say when a split has no document with text in it."""
    return DataError(
        "the dataset holds no text to train on or none to evaluate on, but must have at least one non-empty "
        "document for each; check dataset.path, dataset.text_column and the files' rows"
    )


def documents(dataset: DatasetConfig, split: str, downloads: Path) -> Documents:
    """One split of a dataset.

    Args:
        dataset: the dataset's configuration.
        split: one of ``SPLITS``.
        downloads: where shards of a hub dataset are kept.

    Raises:
        ConfigError: a field does not fit the dataset's kind.
        DataError: the text is missing or unreadable (for folders at once, for the rest when read).
    """
    if split not in SPLITS:
        raise invalid(
            "evaluation.streams", split, f"be one of {list(SPLITS[1:])}", did_you_mean(split, SPLITS)
        )
    is_shared = split == "validation" and dataset.validation_path is not None
    if split == "probe" or (dataset.kind is DatasetKind.embedded and not is_shared):
        sources = tuple(dataset.sources) if split == "train" else ()
        return Documents(embedded.recipe(split, sources), lambda: embedded.files(split, sources))
    if dataset.kind is DatasetKind.files or is_shared:
        recipe = folder.recipe(dataset, split)
        digests = [digest for digest, _ in recipe["parts"]]
        return Documents(recipe, lambda: folder.files(dataset, split, digests))
    return Documents(hub.recipe(dataset, split), lambda: hub.files(dataset, split, downloads))
