"""Holdout streams: the part of an evaluation text that lies behind what is usually scored.

``evaluation.streams`` may name ``validation_holdout`` or ``probe_holdout``: documents of that text behind the
first ``evaluation.max_bytes``, up to as many bytes again. They are scored once, at the end of a run, so that
neither live curves nor pruning see them. A ladder asks for one on its last rung (``sweep/last_rung.py``).
"""

from __future__ import annotations

from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import RunConfig

SUFFIX = "_holdout"
#: A holdout has at least this part of the bytes that its stream scores: a short text measures chance.
MIN_FRAC = 0.25
#: Bytes of the texts that ship inside the package, which a plan can know without reading them.
EMBEDDED_BYTES = {"validation": 391_691, "probe": 387_398}


def of(stream: str) -> str:
    """The name of a stream's holdout."""
    return f"{stream}{SUFFIX}"


def base(stream: str) -> str | None:
    """The stream that a holdout belongs to; None for one that is none."""
    return stream.removesuffix(SUFFIX) if stream.endswith(SUFFIX) else None


def usual(stream: str) -> str:
    """The stream that is scored of the same text: a holdout's, any other itself."""
    return stream.removesuffix(SUFFIX)


def num_bytes(config: RunConfig, stream: str) -> int | None:
    """Of the text that a usual stream is of; None where only reading tells."""
    dataset = config.dataset
    is_own = dataset.kind is not DatasetKind.embedded or dataset.validation_path is not None
    is_embedded = stream == "probe" or not is_own
    return EMBEDDED_BYTES.get(stream) if is_embedded else None


def room(config: RunConfig, stream: str) -> int | None:
    """The largest ``evaluation.max_bytes`` that leaves a stream a holdout; None where only the text tells.

    Args:
        stream: the usual one.
    """
    size = num_bytes(config, stream)
    return None if size is None else int(size / (1.0 + MIN_FRAC))


def is_known_to_be_empty(config: RunConfig, stream: str) -> bool:
    """Whether nothing (or too little) of a text lies behind what is usually scored of it."""
    limit = room(config, stream)
    return limit is not None and config.evaluation.max_bytes > limit
