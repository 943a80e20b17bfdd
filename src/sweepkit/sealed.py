"""JSON objects with a digest of themselves, made from bytes that may have become anything.

Whatever a number or a decision comes from is *sealed*: the object's last key is the SHA-256 of the others. A
bit that turned, an edit and half a file are all told from what was written, before anything is used. Lines of
a growing file carry a checksum each, so that one that was cut or changed is left out alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sweepkit.errors import DamagedError, SweepkitError

KEY = "sha256"
_LINE_KEY = b',"crc32":"'
_LINE_END = len(_LINE_KEY) + 8 + len(b'"}')


def dumps(value: dict[str, Any]) -> str:
    """``value`` as indented JSON under its seal; NaN and infinity become null (missing)."""
    content = finite(value)
    content.pop(KEY, None)
    content[KEY] = digest(content)
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def loads(path: Path, data: bytes) -> dict[str, Any]:
    """The object in ``data``, without its seal.

    Args:
        path: where it was read, for the error.

    Raises:
        DamagedError: it is no JSON object, or not the one that was written.
    """
    content = parse(path, data)
    stated = content.pop(KEY, None)
    if stated is None:
        raise DamagedError(path, f"it has no {KEY} of its content")
    try:
        is_intact = stated == digest(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"{type(error).__name__}: {error}") from None
    if not is_intact:
        raise DamagedError(path, f"its content does not match its {KEY}")
    return content


def parse(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``, whoever wrote it.

    Raises:
        DamagedError: it is none: cut, not UTF-8, nested too deeply, another type, a key twice, NaN.
    """
    try:
        content = json.loads(data.decode(), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DamagedError(
            path, f"{type(error).__name__}: {error}" if data.strip() else "it is empty"
        ) from None
    if not isinstance(content, dict):
        raise DamagedError(path, f"it holds a {type(content).__name__}, not an object")
    return content


def check_is_of(path: Path, content: Mapping[str, Any], **owner: str | int) -> None:
    """Refuse a whole file of something else: swapped, or restored to a wrong place.

    Args:
        owner: what the file is of, by the key that says so.

    Raises:
        DamagedError: it says another, or none.
    """
    for key, value in owner.items():
        if (said := content.get(key)) != value:
            raise DamagedError(path, f"its {key} is {said}, not {value}")


def line(value: dict[str, Any], of: str = "") -> bytes:
    """``value`` as one JSON line that ends in a checksum of what stands before it.

    Args:
        of: whose line it is; read as another's it counts as changed.
    """
    body = json.dumps(finite(value), separators=(",", ":"), allow_nan=False).encode()[:-1]
    return body + _LINE_KEY + b'%08x"}\n' % _checksum(body, of)


def of_line(data: bytes, of: str = "") -> dict[str, Any] | None:
    """What ``line`` was given; None where the line was cut or changed, or is somebody else's."""
    data = data.rstrip(b"\n")
    body, end = data[:-_LINE_END], data[-_LINE_END:]
    if end != _LINE_KEY + b'%08x"}' % _checksum(body, of):
        return None
    try:
        content = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _checksum(body: bytes, of: str) -> int:
    return zlib.crc32(body, zlib.crc32(of.encode()))


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities replaced by None: missing is null, never 0. Keys become strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, shortest floats, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _no_number(token: str) -> NoReturn:
    raise ValueError(f"{token} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands there twice")
    return content


def too_new(path: Path, content: Any, known: int) -> str | None:
    """Why a file that a newer sweepkit wrote is not read; None where this one may read it.

    Args:
        content: of the file; without a ``schema_version`` it is of the first.
        known: the newest version that this sweepkit reads.
    """
    version = content.get("schema_version", 1) if isinstance(content, dict) else 1
    if not isinstance(version, int) or version <= known:
        return None
    return (
        f"{path} has schema_version {version}, but must have {known} or less for this sweepkit; a newer "
        "one wrote it: update sweepkit, or choose another folder (SWEEPKIT_RESULTS_DIR)"
    )


def check_version(path: Path, content: Any, known: int) -> None:
    """Refuse what a newer sweepkit wrote, before anything of it is misread or taken for damage.

    Raises:
        SweepkitError: what ``too_new`` says.
    """
    if reason := too_new(path, content, known):
        raise SweepkitError(reason)
