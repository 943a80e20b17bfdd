"""How often a run sees its text: the tokens of the run over those that an epoch has.

Exact where this machine's cache has the text's tokens (``data/prepare.py`` leaves their number here); before
that an estimate from the bytes of the text, which an embedded corpus and own files have and a hub's dataset
that has not been fetched has not: then it is not known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import paths, typed
from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import RunConfig
from sweepkit.errors import DamagedError, StorageError, invalid
from sweepkit.plan import cost, folder_text, text
from sweepkit.plan.disk import size
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted

_SLACK = 1.5  # by which an estimate may be wrong without refusing a run
_TRAINED = 0.95  # of a text's bytes; the rest is held out


@dataclass(frozen=True)
class Epochs:
    """Attributes: ``is_exact``: counted, not estimated from bytes."""

    number: float
    is_exact: bool

    def __str__(self) -> str:
        return f"{'' if self.is_exact else 'about '}{self.number:,.3g}"


def of(plan: RunPlan) -> Epochs | None:
    """Epochs of the whole run; None where its text is not known here.

    Raises:
        DataError: own text is missing or cannot be read.
    """
    return of_text(plan.total_tokens, plan.config, plan.texts)


def of_text(total_tokens: int, config: RunConfig, texts: Mapping[str, str | None]) -> Epochs | None:
    """``of`` a run of so many tokens.

    Args:
        config: of it dataset, tokenizer, packing and the length of rows are read.
        texts: what the texts are in which it reads (``text.texts``).
    """
    with contextlib.suppress(OSError, DamagedError, StorageError, KeyError, TypeError):
        return Epochs(total_tokens / fsio.read_json(_path(config, texts))["tokens"], True)
    num_bytes = _num_bytes(config)
    if not num_bytes:
        return None
    return Epochs(total_tokens * cost.bytes_a_token(config.tokenizer.vocab_size) / num_bytes, False)


def check(plan: RunPlan) -> None:
    """Refuse a run that would see its text more often than ``launcher.max_epochs`` allows.

    Raises:
        ConfigError: says how often, and how to allow it.
    """
    found, config = of(plan), plan.config
    if found is None or not is_too_many(plan, found):
        return
    is_hub = config.dataset.kind is DatasetKind.hub
    more = "more of it (dataset.num_train_shards)" if is_hub else "a larger text (dataset=climbmix)"
    raise invalid(
        "launcher.max_epochs",
        config.launcher.max_epochs,
        f"allow the {found} epochs of dataset {config.dataset.name} that {plan.total_tokens:,} tokens are at "
        f"depth {plan.depth}: a text that is seen so often teaches ever less",
        f"use {more}, a shorter run (experiment=mini, horizon.target_tokens=N), or allow it with "
        f"launcher.max_epochs={math.ceil(found.number)}",
    )


def is_too_many(plan: RunPlan, found: Epochs) -> bool:
    """Whether a run's epochs are more than it may have; an estimate may be wrong by half."""
    limit = plan.config.launcher.max_epochs
    return limit is not None and found.number > limit * (1 if found.is_exact else _SLACK)


def remember(config: RunConfig, tokens: int) -> None:
    """Keep how many tokens an epoch of a configuration's text has, as it is packed into rows."""
    path = _path(config, text.texts(config))
    with contextlib.suppress(OSError, StorageError, DamagedError):  # then it is estimated
        if not path.exists() or fsio.read_json(path).get("tokens") != tokens:
            fsio.write_json(path, {"tokens": tokens})


def _path(config: RunConfig, texts: Mapping[str, str | None]) -> Path:
    """Names the tokens of an epoch by the text and all that makes tokens and rows of it."""
    named = (
        dataclasses.replace(config.dataset, name="", path=None, validation_path=None),
        dataclasses.replace(config.tokenizer, name=""),
        config.packing,
    )
    read = {name: texts.get(name) for name in (text.DATASET, text.TOKENIZER)}
    name = fsio.digest([typed.dump(named), config.horizon.sequence_len, read])[:20]
    return paths.cache_dir() / "data" / "epochs" / f"{name}.json"


def to_prepare(plan: RunPlan) -> str | None:
    """What text is yet to be fetched or tokenized here before a run can start, in words; None for none.

    Raises:
        DataError: own text is missing or cannot be read.
    """
    found, dataset = of(plan), plan.config.dataset
    if found is not None and found.is_exact:
        return None
    if found is None or (num_bytes := _num_bytes(plan.config)) is None:
        num = dataset.num_train_shards
        files = "" if num is None else f"{counted(num + dataset.validation_shards, 'file')} of "
        return f"{files}{dataset.name} to fetch and tokenize"
    tokens, name = plan.total_tokens / found.number, Path(dataset.path or dataset.name).name
    width = 2 if plan.config.tokenizer.vocab_size <= 2**16 else 4
    return f"{size(num_bytes)} of {name} to tokenize (about {size(width * tokens)} of cache)"


def _num_bytes(config: RunConfig) -> float | None:
    """Of the text to train on; None where it has not been fetched."""
    if config.dataset.kind is DatasetKind.embedded:
        return _TRAINED * text.embedded_bytes(config.dataset.sources)
    if config.dataset.kind is DatasetKind.files:
        return _TRAINED * folder_text.about_bytes(str(config.dataset.path))
    return None
