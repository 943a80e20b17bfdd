"""``plan.jsonl``: the lines that were frozen, a cell each, checked against the hash in ``frozen.json``."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError
from sweepkit.sweep import frozen_head, published_seal
from sweepkit.sweep.frozen_head import Head

PLAN_FILE = "plan.jsonl"


def read(sweep_dir: Path) -> list[bytes]:
    """The lines, as they were frozen.

    Raises:
        FrozenPlanError: a frozen file was edited or is missing.
    """
    return of(sweep_dir, frozen_head.read(sweep_dir))


def of(sweep_dir: Path, head: Head) -> list[bytes]:
    """``read`` where ``frozen.json`` was read already."""
    path = sweep_dir / PLAN_FILE
    if not path.exists() and (packed := sweep_dir / published_seal.PACKED_PLAN).exists():
        path = packed
    try:
        content = fsio.read_bytes(path)
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError:
        raise frozen_head.tampered(path, "missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise frozen_head.tampered(path, f"damaged ({error})") from None
    except DamagedError as error:
        raise frozen_head.tampered(path, f"damaged ({error.why})") from None
    if hashlib.sha256(content).hexdigest() != head.plan_sha256:
        what = f"not of the {frozen_head.FROZEN_FILE} beside it, or edited after it was frozen"
        raise frozen_head.tampered(path, what)
    return content.splitlines()
