"""Names made from values: parts of labels and columns, and different for different values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sweepkit import errors, fsio
from sweepkit.config.facts import spelled

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?")
_OTHERS = re.compile(r"[^A-Za-z0-9_.+-]+")
_DIGITS = 8


def is_name(text: str) -> bool:
    """Whether it can be a folder, part of a file's name and of a label."""
    return _NAME.fullmatch(text) is not None


def is_level(text: str) -> bool:
    """Whether it can be a level: a name, or a number."""
    return is_name(text) or _NUMBER.fullmatch(text) is not None


def check(where: str, text: str, kind: str) -> None:
    """Raises ConfigError for an axis or level that could be mistaken inside ``axis=level,axis=level``."""
    if not is_level(text):
        contract = f"be a {kind} name of letters, digits and _ . + -"
        raise errors.invalid(where, text, contract, "rename it, or use the long form")


def cleaned(text: str) -> str:
    """Text of letters, digits and _ . + - that reads like ``text``; other texts may give the same."""
    found = _OTHERS.sub("_", text.strip("'\"")).strip("_")
    return found if is_level(found) else found.lstrip("_.+-") or "value"


def of_value(value: object) -> str:
    """The name of a plain YAML value."""
    return cleaned(spelled(value))


def names(texts: Sequence[str]) -> list[str]:
    """A name for each of several different texts: the cleaned text, and a hash of it where two are alike."""
    assert len(set(texts)) == len(texts)
    plain = [cleaned(text) for text in texts]
    alike = {name for name, count in Counter(plain).items() if count > 1}
    found = [
        f"{name.lstrip('_.+-')}-{fsio.digest(text)[:_DIGITS]}" if name in alike else name
        for name, text in zip(plain, texts, strict=True)
    ]
    # a value may itself read like a name with a hash
    return found if len(set(found)) == len(found) else [fsio.digest(text) for text in texts]
