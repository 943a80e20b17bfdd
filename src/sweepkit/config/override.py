"""One override of the command line, parsed by Hydra's own grammar: quotes, lists, null, escapes.

Plain words and numbers, nearly all there is, take a short cut that agrees with the grammar (a test draws
both); ANTLR in Python costs about a millisecond an override.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sweepkit import errors

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override as HydraOverride

_KEY = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_WORD, _NUMBER = r"[A-Za-z_]\w*", r"[-+]?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[-+]?\d+)?"
_PLAIN = re.compile(f"({_KEY})=({_WORD}|{_NUMBER})", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_SPECIAL = {"nan", "inf"}


@dataclass(frozen=True)
class Override:
    """``key`` set to ``value``; ``text`` is the value as written, ``is_added`` a key with a plus."""

    key: str
    value: Any
    text: str
    is_added: bool = False


@lru_cache(maxsize=65536)
def parse(override: str) -> Override:
    """Parse one override. ``value`` may be a list or dict, to be copied, never changed.

    Raises:
        ConfigError: it is not ``key=value`` with one value.
    """
    plain = _PLAIN.fullmatch(override) if isinstance(override, str) else None
    if plain:
        key, text = plain.groups()
        if text.lower() not in _SPECIAL:
            return Override(key, _plain_value(text), text)
    return _parse_with_hydra(override)


def refuse_adding(text: str) -> errors.ConfigError:
    """What there is to say to an override that adds or deletes."""
    return errors.invalid(
        "override",
        text,
        "set a field (all fields exist, none can be added or deleted)",
        "write key=value; sweepkit fields lists them",
    )


def refuse_other_kinds(parsed: HydraOverride, text: str) -> None:
    """Raise ConfigError for what Hydra could do and sweepkit does not: deleting and moving."""
    from hydra.core.override_parser.types import OverrideType

    if parsed.type is OverrideType.DEL:
        raise refuse_adding(text)
    if parsed.package is not None:
        raise errors.invalid("override", text, "name no package", "write group=option or field=value")


def _plain_value(text: str) -> Any:
    if text[0].isalpha() or text[0] == "_":
        return _WORDS.get(text.lower(), text)
    return float(text) if "." in text or "e" in text else int(text)


def _parse_with_hydra(override: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except (HydraException, TypeError) as error:
        detail = str(error).splitlines()[0]
        raise errors.invalid(
            "override",
            override,
            f"be key=value ({detail})",
            "write for example optimizer.matrix.lr=0.02; quote values with special characters: 'key=\"a b\"'",
        ) from error
    refuse_other_kinds(parsed, override)
    if parsed.is_sweep_override():
        raise errors.invalid(
            "override",
            override,
            "have one value here",
            "add -m to train or plan for a run of each, or make it an axis of a sweep file",
        )
    text = override.partition("=")[2]
    return Override(parsed.key_or_group, parsed.value(), text, parsed.is_add())
