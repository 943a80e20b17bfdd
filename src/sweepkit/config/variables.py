"""Environment variables in text fields: named in what is written, filled in only where the text is used.

``logging.entity=${oc.env:TEAM}`` may be a name or a secret, and a plan, a record or a log with its value
would give it away. So a field whose text changes no number (``names_variables`` in its facts) keeps the words
``${oc.env:TEAM}``, and ``filled`` looks the variable up at the place that needs it. Any other text field
refuses them: what decides what is computed has to be readable afterwards. A number or a switch is no secret.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import omegaconf
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from sweepkit import errors

_RESOLVER = "oc.env"
_NOTHING = object()
#: OmegaConf 2.4 calls it otherwise, and warns of the old name.
_register = getattr(
    OmegaConf,
    "register_new_resolver" if omegaconf.__version__.startswith("2.3.") else "register_resolver",
)
_NAMED = re.compile(r"\$\{oc\.env:")


def names_one(value: object) -> bool:
    """Whether a text, or one of a list, names a variable to be filled in."""
    if isinstance(value, list):
        return any(map(names_one, value))
    return isinstance(value, str) and bool(_NAMED.search(value))


def filled(text: str) -> str:
    """``text`` with the environment's values in place of their names; not to be written anywhere.

    Raises:
        ConfigError: a variable is not set, and no default is given.
    """
    if not names_one(text):
        return text
    try:
        return str(OmegaConf.create({"text": text})["text"])
    except OmegaConfBaseException as error:
        raise errors.ConfigError(
            f"{text} names an environment variable that is not set here, but must be set on the machine that "
            "uses it; export it there, or write the text out"
        ) from error


@contextlib.contextmanager
def kept_by_name() -> Iterator[None]:
    """Resolve interpolations with ``oc.env`` giving back its own words; the caller holds the compose lock."""
    _register(_RESOLVER, _words, replace=True)
    try:
        yield
    finally:
        _register(_RESOLVER, oc.env, replace=True)


def _words(name: str, default: Any = _NOTHING) -> str:
    if default is _NOTHING:
        oc.env(name)  # that it is set is checked now, before anything starts
        return f"${{{_RESOLVER}:{name}}}"
    quoted = "null" if default is None else "'" + str(default).replace("'", "\\'") + "'"
    return f"${{{_RESOLVER}:{name},{quoted}}}"
