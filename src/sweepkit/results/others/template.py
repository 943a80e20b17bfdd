"""What stands where in a text: ``d={width}-{lr}`` as a pattern whose groups are columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sweepkit.errors import invalid

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_FIELD = re.compile(r"\{(\w+)\}")
#: A field that becomes no column.
_ANYTHING = "_"


def pattern(option: str, template: str) -> re.Pattern[str]:
    """A template as a regular expression, for a whole text; a number between the braces is taken whole.

    Raises:
        ConfigError: it names no field, or one twice.
    """
    parts = _FIELD.split(template)
    names = [name for name in parts[1::2] if name != _ANYTHING]
    if not names or len(set(names)) < len(names) or any(name[0].isdecimal() for name in names):
        remedy = "as d={width}-{lr}; {_} stands for what is no column"
        raise invalid(option, template, "name fields in braces, each once", remedy)
    return re.compile("".join(_part(place, part) for place, part in enumerate(parts)), re.DOTALL)


def _part(place: int, part: str) -> str:
    if place % 2 == 0:
        return re.escape(part)
    return ".*?" if part == _ANYTHING else f"(?P<{part}>{_NUMBER}|.*?)"


def names(found: re.Pattern[str]) -> Sequence[str]:
    """The fields, in the order of the text."""
    return list(found.groupindex)
