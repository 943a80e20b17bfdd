"""Losses by document: ``documents/KEY.npz`` in a run's folder, kept with every final evaluation.

Of every stream the nats and bytes of each document, which sum to its bits per byte, and of blocks of
neighbouring documents the nats and bytes by position in the row and by kind of token. The file holds the
SHA-256 of all that is in it, and its sums must be the losses of the record beside it: what was cut, edited,
swapped or left by another attempt is used by nobody. Evaluations made before such files were have none, which
is missing and not 0.

Shapes: N documents, G blocks, C classes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sweepkit import fsio, sealed
from sweepkit.config import typed
from sweepkit.config.cross_checks import VALIDATION
from sweepkit.errors import DamagedError
from sweepkit.results.record import Measured, RunDir
from sweepkit.sweep.metric import EMA

SCHEMA_VERSION = 1
#: Blocks that classes are kept of: as many as intervals can use.
MAX_BLOCKS = 256
#: Sums of the same nats in another order agree to this.
SAME_SUM = 1e-9
_SEAL, _ABOUT = "sha256", "about"
_FACTS = ("source_N", "length_N", "bytes_N")

#: What reading a damaged archive ends in; by a flipped bit it is encrypted, or of a later format.
_NOT_WRITTEN_SO = (
    *(OSError, ValueError, LookupError, EOFError, AttributeError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Classes:
    """One way to sort the tokens of a text, with how many bytes of each block are of each class.

    Attributes:
        names: C of them.
        bytes_GC: int64 [G, C].
    """

    names: list[str]
    bytes_GC: Array


@dataclass(frozen=True)
class ScoredText:
    """What the losses of a stream are of; the same for all runs that were evaluated alike.

    Attributes:
        fingerprint: of what it is (``EvalStream.fingerprint``).
        tokenizer: its digest; classes of tokens compare where it is equal.
        sources: names, by number.
        source_N: uint8, which of them each document is of.
        length_N: int64, bytes of each document.
        bytes_N: int64, those of them that are scored.
        classes: ways to sort tokens, by name (``position``, ``kind``).
    """

    fingerprint: str
    tokenizer: str
    sources: list[str]
    source_N: Array
    length_N: Array
    bytes_N: Array
    classes: dict[str, Classes]


@dataclass(frozen=True)
class DocumentLosses:
    """What one set of weights lost on a stream.

    Attributes:
        nats_N: fp64, of each document.
        class_nats: way to sort tokens → nats, fp64 [G, C].
    """

    text: ScoredText
    nats_N: Array
    class_nats: dict[str, Array]

    @property
    def bits_per_byte(self) -> float:
        """Σ nats / (ln 2 × Σ bytes)."""
        return float(self.nats_N.sum()) / (math.log(2) * float(self.text.bytes_N.sum()))


#: Name of a loss without ``bpb_``, with ``ema_`` in front for averaged weights → by document.
Kept = dict[str, DocumentLosses]


@dataclass(frozen=True)
class _Text:
    tokenizer: str
    sources: list[str]
    classes: dict[str, list[str]]


@dataclass(frozen=True)
class _About:
    """What the arrays are of, as JSON in the file."""

    schema_version: int
    texts: dict[str, _Text]  # by fingerprint
    streams: dict[str, str]  # name of the loss → fingerprint


def blocks(num_docs: int) -> Array:
    """int64 [N]: the block of each document; neighbours, of about equal numbers."""
    return np.arange(num_docs, dtype=np.int64) * min(num_docs, MAX_BLOCKS) // max(num_docs, 1)


def path(run_dir: RunDir, key: str) -> Path:
    """Where they are kept."""
    return run_dir.path / "documents" / f"{key}.npz"


def write(run_dir: RunDir, key: str, kept: Mapping[str, DocumentLosses]) -> None:
    """Replace the file of an evaluation. Raises StorageError."""
    texts = {item.text.fingerprint: item.text for item in kept.values()}
    about = _About(
        SCHEMA_VERSION,
        {
            name: _Text(text.tokenizer, text.sources, {how: it.names for how, it in text.classes.items()})
            for name, text in texts.items()
        },
        {name: item.text.fingerprint for name, item in kept.items()},
    )
    arrays = {_ABOUT: np.frombuffer(json.dumps(typed.dump(about)).encode(), dtype=np.uint8)}
    for name, text in texts.items():
        arrays |= {f"{name}/{item}": getattr(text, item) for item in _FACTS}
        arrays |= {f"{name}/bytes/{how}": item.bytes_GC for how, item in text.classes.items()}
    for name, item in kept.items():
        arrays |= {f"{name}/nats_N": item.nats_N}
        arrays |= {f"{name}/nats/{how}": nats_GC for how, nats_GC in item.class_nats.items()}
    arrays[_SEAL] = np.frombuffer(_digest(arrays), dtype=np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    fsio.write_atomic(path(run_dir, key), lambda file: file.write(content.getvalue()))


def read(run_dir: RunDir, key: str, results: Measured) -> Kept:
    """What was kept of an evaluation.

    Args:
        results: of the record that it is of; every loss must be the sum of its documents.

    Raises:
        FileNotFoundError: nothing was kept.
        DamagedError: it is not what was written, or of other losses than the record's.
        SweepkitError: a newer version wrote it.
    """
    place = path(run_dir, key)
    kept = _kept(place, _opened(place))
    for name, item in kept.items():
        stated = results.get(_column(name))
        if stated is None or not math.isclose(item.bits_per_byte, stated, rel_tol=SAME_SUM):
            raise DamagedError(place, f"its documents do not sum to {_column(name)} of the record beside it")
    return kept


def name_of(metric: str) -> str | None:
    """``ema_val_bpb`` → ``ema_validation``, ``bpb_probe`` → ``probe``; None for what is no loss on a text."""
    averaged = EMA if metric.startswith(EMA) else ""
    loss = metric.removeprefix(EMA)
    if loss == "val_bpb":
        return f"{averaged}{VALIDATION}"
    return f"{averaged}{loss.removeprefix('bpb_')}" if loss.startswith("bpb_") else None


def mean(items: Sequence[DocumentLosses]) -> DocumentLosses:
    """The mean over runs that were evaluated alike."""
    nats = {how: np.mean([item.class_nats[how] for item in items], axis=0) for how in items[0].class_nats}
    return DocumentLosses(items[0].text, np.mean([item.nats_N for item in items], axis=0), nats)


def _column(name: str) -> str:
    """``ema_validation`` → ``ema_bpb_validation``."""
    averaged = EMA if name.startswith(EMA) else ""
    return f"{averaged}bpb_{name.removeprefix(EMA)}"


def _opened(place: Path) -> dict[str, Array]:
    """The arrays of a file, checked against its seal."""
    data = fsio.read_bytes(place)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        stated = arrays.pop(_SEAL).tobytes()
    except _NOT_WRITTEN_SO as error:
        raise DamagedError(place, f"{type(error).__name__}: {error}") from None
    if stated != _digest(arrays):
        raise DamagedError(place, f"its content does not match its {_SEAL}")
    return arrays


def _kept(place: Path, arrays: Mapping[str, Array]) -> Kept:
    about = json.loads(arrays[_ABOUT].tobytes())
    sealed.check_version(place, about, SCHEMA_VERSION)
    said = typed.load(_About, about)
    texts = {
        name: ScoredText(
            name,
            text.tokenizer,
            text.sources,
            arrays[f"{name}/source_N"],
            arrays[f"{name}/length_N"],
            arrays[f"{name}/bytes_N"],
            {how: Classes(names, arrays[f"{name}/bytes/{how}"]) for how, names in text.classes.items()},
        )
        for name, text in said.texts.items()
    }
    return {
        name: DocumentLosses(
            texts[text],
            arrays[f"{name}/nats_N"],
            {how: arrays[f"{name}/nats/{how}"] for how in texts[text].classes},
        )
        for name, text in said.streams.items()
    }


def _digest(arrays: Mapping[str, Array]) -> bytes:
    """SHA-256 of names, types, shapes and content."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return state.digest()
