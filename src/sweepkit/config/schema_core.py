"""What a finished model is asked beside its loss: the tasks of an evaluation bundle (docs/core.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional  # OmegaConf reads these at run time

from sweepkit.config.facts import Identity, fact, unless
from sweepkit.config.ranges import Range, at_least

#: Values of ``evaluation.core.bundle`` that are no path: the package's own bundle, and what ``url`` gives.
EMBEDDED, DOWNLOAD = "embedded", "download"
_ASKED = unless("evaluation.core.bundle", None)


@dataclass
class CoreConfig:
    bundle: Optional[str] = fact(
        None,
        "evaluation bundle: a zip or folder; embedded: the small one in the package; download: what url "
        "gives; null: none is asked",
        example="eval_bundle.zip",
        comes_out_as=("texts.core",),
        when=_ASKED,  # where none is asked, keys are what they were before there were tasks
        names_variables=True,
    )
    url: Optional[str] = fact(
        None,
        "where bundle=download fetches a zip, once",
        example="https://example.org/eval_bundle.zip",
        identity=Identity.none,
        why="what is in the bundle counts",
    )
    sha256: Optional[str] = fact(
        None,
        "SHA-256 that the zip must have; null: a download keeps the one that it had first",
        Range(
            lambda value: len(value) == 64 and set(value.lower()) <= set("0123456789abcdef"),
            "be 64 hexadecimal digits, or null",
        ),
        example="0" * 64,
        identity=Identity.none,
        why="what is in the bundle counts",
    )
    tasks: list[str] = fact(
        [], "labels of the tasks that are asked; empty: all of the bundle", example="[piqa,copa]", when=_ASKED
    )
    max_per_task: Optional[int] = fact(
        None,
        "first items, after shuffling, that are asked of every task; null: all",
        at_least(1),
        unit="items",
        example="500",
        when=_ASKED,
    )
