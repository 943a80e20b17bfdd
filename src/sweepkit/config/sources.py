"""Which code computes: one digest of the sources that a run's numbers come from.

Of the rooms that make tokens, batches, losses and updates, and of the few files elsewhere that these ask what
to compute. It is taken of the syntax tree without comments and docstrings, so that words may change and
numbers may not. What plans work out (sizes, steps, rates) is in a run's identity as it comes out.

The digest is of the files as a process first finds them: the one that trains asks when it begins. What a tree
comes out as is remembered in the cache folder by the bytes of the files, for parsing takes longer (0.2 s).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sweepkit
from sweepkit import fsio
from sweepkit.config import paths
from sweepkit.errors import DamagedError, StorageError

#: Rooms and files of the package, in which nothing may change without a word.
PARTS = (
    "data", "model", "optim", "precision", "distributed", "training",
    "config/dimensions.py", "config/holdout.py", "plan/text.py", "plan/folder_text.py",
    "plan/folder_split.py", "plan/text_file.py", "plan/core_bundle.py", "plan/fp8_share.py", "plan/parts.py",
    "plan/roles.py", "plan/part_weights.py", "results/core_outcomes.py",
)  # fmt: skip
#: Those that make rows of text.
ROWS = (
    "data", "config/holdout.py", "plan/text.py", "plan/folder_text.py", "plan/folder_split.py",
    "plan/text_file.py",
)  # fmt: skip
_DIGITS = 16
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def digest() -> str:
    """16 hex digits of the sources of this process."""
    return digest_of(Path(sweepkit.__file__).resolve().parent)


def digest_of(package: Path, parts: tuple[str, ...] = PARTS) -> str:
    """``digest`` for the package in another folder, or for some of its parts."""
    sources = {
        file.relative_to(package).as_posix(): file.read_bytes()
        for part in parts
        for file in sorted(_files(package / part))
    }
    how = Path(__file__).read_bytes()
    raw = hashlib.sha256()
    for name, content in {"": how, **sources}.items():
        raw.update(f"{name}\0{len(content)}\0".encode() + content)
    remembered = paths.cache_dir() / "sources" / f"{raw.hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, DamagedError, StorageError):
        known = fsio.read_json(remembered)
        if known["of"] == raw.hexdigest():
            return str(known["digest"])
    found = fsio.digest({name: tree_digest(content) for name, content in sources.items()})[:_DIGITS]
    with contextlib.suppress(OSError, StorageError):  # then it is parsed again
        fsio.write_json(remembered, {"digest": found, "of": raw.hexdigest()})
    return found


def tree_digest(source: bytes) -> str:
    """SHA-256 of a file's syntax tree: the same for every version of Python that reads it alike."""
    return hashlib.sha256("\0".join(_words(ast.parse(source))).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


def _words(node: Any) -> Iterator[str]:
    """A tree in words; fields that are empty are left out, since versions of Python add some."""
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name == "body" and isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
                value = value[1:]
            is_empty = value == [] or (value is None and not isinstance(node, ast.Constant))
            if is_empty or name == "kind":
                continue
            yield name
            yield from _words(value)
    elif isinstance(node, list):
        yield f"[{len(node)}"
        for item in node:
            yield from _words(item)
    else:
        yield f"{type(node).__name__} {node!a}"
