"""YAML as people write it, and what YAML 1.1 would make of it.

PyYAML, which Hydra reads its files with, goes by YAML 1.1: ``010`` is eight, ``4:00:00`` is 14400 and
``no`` is false, also as the name of a thing; Hydra adds that a commit ``77e0912`` is infinity. Files of ours
are read by ``read``, which knows none of that (the rules are those of YAML 1.2, and ``1_000``); Hydra's are
looked through by ``refuse_misread`` before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from sweepkit import errors
from sweepkit.config import own_conf
from sweepkit.config.schema import field_at

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BOOL = "tag:yaml.org,2002:bool"
#: What its loader takes for a number and YAML 1.1 does not.
_HYDRAS_FLOAT = re.compile(r"[-+]?[0-9][0-9_.]*[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML 1.2's core schema; a key that stands twice is an error."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | None) or key in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is no name, or stands there twice", key_node.start_mark
                )
            found[key] = self.construct_object(value_node, deep=deep)
        return found

    def construct_int(self, node: Any) -> int:
        text = str(node.value)
        return int(text, 0) if re.match(r"[-+]?0[xo]", text) else int(text)


for _tag, _expression, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+(?:_[0-9]+)*|[-+]?0x[0-9a-fA-F]+|[-+]?0o[0-7]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_expression})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)


def read(text: str) -> Any:
    """The content of a file of ours: nested dicts, lists and plain values.

    Raises:
        YAMLError: it is no YAML, or a key stands twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, RecursionError) as error:  # a number of a thousand digits, a thousand brackets
        raise yaml.YAMLError(str(error)) from error


def refuse_misread(folder: Path, used: Iterable[str]) -> None:
    """Look through a configuration folder for words that YAML 1.1 reads as another value than people do.

    Args:
        folder: which ``own_conf.folder`` gave. All of it is looked through but the user's own files.
        used: options whose files are looked through in any case, as ``model/mine``.

    Raises:
        ConfigError: names the file, the line, the word and what it would become.
    """
    own = own_conf.own_files(folder)
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name not in own or name in used:
            status = path.stat()
            where = own[name].path if name in own else str(path)
            _check(path, name, where, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _check(path: Path, name: str, where: str, mtime_ns: int, size: int) -> None:
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return  # Hydra says what is wrong, if it comes to read it
    for key, scalar in _scalars(node, own_conf.prefix_of(name, text)):
        if scalar.style is None and (remedy := _misread(key, scalar)) is not None:
            raise errors.invalid(
                f"{where} line {scalar.start_mark.line + 1}: {key}",
                scalar.value,
                f"read like one thing to people and to YAML, which makes it {_theirs(scalar)!r}",
                remedy,
            )


def _scalars(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Dotted key → the words there; the items of a list stand under the list's key."""
    if isinstance(node, yaml.MappingNode):
        prefix = f"{key}." if key else ""
        for name, value in node.value:
            yield from _scalars(value, f"{prefix}{name.value}")
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, key)
    elif isinstance(node, yaml.ScalarNode):
        yield key, node


def _misread(key: str, scalar: Any) -> str | None:
    """What to write instead; None where it is read as people do."""
    field = field_at(key)
    in_quotes = f'write "{scalar.value}" in quotes'
    if scalar.tag == _BOOL:
        is_switch = field is not None and bool in field.alternatives
        return None if is_switch else in_quotes
    ours = read(scalar.value) if scalar.tag in _NUMBERS or _HYDRAS_FLOAT.match(scalar.value) else None
    if not isinstance(ours, float) and scalar.tag not in _NUMBERS:
        return None
    theirs = _theirs(scalar)
    if field is not None and field.is_text:
        return in_quotes if str(theirs) != scalar.value else None
    if field is not None and set(field.kinds) == {bool} and theirs not in (0, 1):
        return "write true or false"
    if isinstance(ours, str):
        return in_quotes
    return None if ours == theirs else f"write {ours}"


def _theirs(scalar: Any) -> Any:
    return OmegaConf.create(f"- {scalar.value}")[0]
