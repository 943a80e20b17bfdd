"""``sweepkit fields``: every field of a run configuration and a sweep file, from its own facts.

``docs/fields.md`` is what this prints: ``sweepkit fields --format markdown > docs/fields.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from sweepkit import errors
from sweepkit.cli import command_line
from sweepkit.config.facts import REQUIRED, Field, alternatives, declared, fields_of, spelled
from sweepkit.config.schema import RunConfig
from sweepkit.config.type_words import in_words
from sweepkit.report import terminal
from sweepkit.report.drawing import draw
from sweepkit.report.sheet import Sheet
from sweepkit.sweep.file import SweepFile

_EPILOG = """\
examples:
  sweepkit fields                              every field
  sweepkit fields optimizer.matrix             those of a block
  sweepkit fields optimizer.matrix.lr          all that is known of one
  sweepkit fields sweep                        the keys of a sweep file
  sweepkit fields --format markdown            docs/fields.md
  sweepkit fields model --format json          for scripts

A field of a run is set by NAME=VALUE on the command line of train, plan, sweep and promote.
"""
_INTRODUCTION = """\
# Fields

Every field of a run configuration and of a sweep file. This is what `sweepkit fields --format markdown`
prints; `sweepkit fields NAME` says all that is known of one field.

**Identity** is how a field stands in the name of a run: *configured*, as it is written; *resolved*, as what
it comes out as in the plan; *evaluation*, it decides what is measured; *replicate*, a seed: another run of
the same variant; *none*, it changes no number. Further: *traced*, in the key by which runs share compiled
code; *data*, in the key by which runs see the same tokens in the same order; *initial*, sets initial values
only. A field that is not read is in no key. Fields of a sweep file have none of these: runs are named by
what they compute, whichever sweep asks for them.
"""
#: So many are proposed for a name that is none.
_FEW = 3
EMPTY = '""'
_OF_A_RUN, _OF_A_SWEEP = "run", "sweep file"
_SWEEP = "sweep"  # all of these together
_BLOCKS_OF_A_SWEEP = ("decision", "isoflop", "search")


@dataclasses.dataclass(frozen=True)
class Section:
    """Fields that are shown together.

    Attributes:
        name: of the block, or what it is a part of.
        help: what the block is, and why it changes no number, if it does not.
    """

    name: str
    help: str
    fields: tuple[Field, ...]


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "fields", "The field reference: run configuration and sweep file.", _EPILOG
    )
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="a field, the name of a block, or sweep"
    )
    parser.add_argument(
        "--format", choices=("table", "markdown", "json"), default="table", help="default: table"
    )


def run(args: argparse.Namespace) -> int:
    """Print the fields; 0 on success. User errors raise ``SweepkitError``."""
    found = _within(args.prefix, sections())
    if args.format == "json":
        print(json.dumps([facts_of(field) for section in found for field in section.fields], indent=1))
    elif args.format == "markdown":
        print(f"{_INTRODUCTION}\n" * (not args.prefix) + markdown(found), end="")
    elif [field.key for section in found for field in section.fields] == [args.prefix]:
        _print_one(found[0].fields[0])
    else:
        _print_table(found)
    return 0


def sections() -> list[Section]:
    """All fields, in the order of their definition."""
    found = {_OF_A_RUN: Section(_OF_A_RUN, "a single run", ())}
    for item in dataclasses.fields(RunConfig):
        facts = declared(item)
        if dataclasses.is_dataclass(typing.get_type_hints(RunConfig)[item.name]):
            why = f"; changes no number: {facts.why}" if facts.why else ""
            found[item.name] = Section(item.name, f"{facts.help}{why}", ())
    for field in _all(RunConfig, ""):
        block, _, rest = field.key.partition(".")
        name = block if rest else _OF_A_RUN
        found[name] = dataclasses.replace(found[name], fields=(*found[name].fields, field))
    return [*found.values(), *_of_a_sweep()]


def _of_a_sweep() -> Iterator[Section]:
    """The fields of a sweep file, which are none of a run's."""
    blocks = {item.name: declared(item).help for item in dataclasses.fields(SweepFile)}
    told = {_OF_A_SWEEP: "what a file in sweeps/ holds"} | {name: blocks[name] for name in _BLOCKS_OF_A_SWEEP}
    fields = [
        dataclasses.replace(field, facts=dataclasses.replace(field.facts, identity=None))
        for field in _all(SweepFile, "")
        if field.facts.is_written
    ]
    for name, help in told.items():
        yield Section(name, help, tuple(field for field in fields if _section(field.key) == name))


def _section(key: str) -> str:
    block = key.partition(".")[0]
    return block if block in _BLOCKS_OF_A_SWEEP else _OF_A_SWEEP


def facts_of(field: Field) -> dict[str, str]:
    """What is known of a field, in words; what there is nothing to say about is left out."""
    facts = field.facts
    found = {
        "field": field.key,
        "meaning": facts.help,
        "type": _type(field),
        "default": _default(field),
        "range": f"must {facts.range.contract}" if facts.range else "",
        "read where": ", and ".join(map(str, facts.when)),
        "identity": facts.identity.value if facts.identity else "",
        "why": facts.why,
        "comes out as": ", ".join(facts.comes_out_as),
        "also": ", ".join(_also(field)),
    }
    return {name: text for name, text in found.items() if text}


def markdown(found: list[Section]) -> str:
    """The tables of some sections; identity has a column where a field has one."""
    lines = []
    for section in found:
        facts = {field.key: facts_of(field) for field in section.fields}
        columns = ["field", "type", "default", "meaning"]
        columns += ["identity"] if any(map(_identity, facts.values())) else []
        lines += [f"## {section.name}", "", f"{section.help[0].upper()}{section.help[1:]}.", ""]
        lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for key, known in facts.items():
            cells = [f"`{key}`", known["type"], known["default"], _meaning(known), _identity(known)]
            cells = cells[: len(columns)]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def _all(schema: type, prefix: str) -> Iterator[Field]:
    """The fields of a schema, and of what is in them: ``rungs[].name``, ``search.space[].low``."""
    for field in fields_of(schema).values():
        key = f"{prefix}{field.key}"
        yield dataclasses.replace(field, key=key)
        inside = [(f"{key}.", kind) for kind in field.kinds] + [
            (f"{key}[].", of_item)
            for kind in field.kinds
            for argument in typing.get_args(kind)
            for of_item in alternatives(argument)
        ]
        told = set[str]()  # what two kinds have in common stands there once
        for start, kind in inside:
            for item in _all(typing.cast(type, kind), start) if dataclasses.is_dataclass(kind) else ():
                around = field.facts
                facts = dataclasses.replace(
                    item.facts, identity=around.identity, why=around.why, is_written=around.is_written
                )
                if item.key not in told:
                    told.add(item.key)
                    yield dataclasses.replace(item, facts=facts)


def _within(prefix: str, found: list[Section]) -> list[Section]:
    """The fields with a name, or in a block of that name.

    Raises:
        ConfigError: there are none; the remedy names what was meant.
    """
    if not prefix:
        return found
    if prefix == _SWEEP:
        return [section for section in found if section.name in (_OF_A_SWEEP, *_BLOCKS_OF_A_SWEEP)]
    kept = [
        dataclasses.replace(section, fields=fields)
        for section in found
        if (fields := tuple(field for field in section.fields if _is_in(field.key, prefix)))
    ]
    if not kept:
        keys = [field.key for section in found for field in section.fields]
        raise errors.invalid("PREFIX", prefix, "be a field or a block", _meant(prefix, keys))
    return kept


def _meant(prefix: str, keys: Sequence[str]) -> str:
    """The remedy for what is no field or block: those that end so, or are spelled nearly so."""
    blocks = {key.rpartition(".")[0] for key in keys if "." in key}
    names = [*sorted(blocks), *keys]
    # a single word is held against last parts, for those are what people remember
    spelled = {name if "." in prefix else name.rpartition(".")[2]: name for name in reversed(names)}
    near = difflib.get_close_matches(prefix.lower(), spelled, n=1)
    meant = [name for name in names if name.endswith(f".{prefix}")] or [spelled[name] for name in near]
    some = [repr(name) for name in meant[:_FEW]]
    more = f" (or one of {len(meant) - _FEW} others)" if len(meant) > _FEW else ""
    return f"did you mean {' or '.join(some)}?{more}" if meant else "sweepkit fields lists them"


def _is_in(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith((f"{prefix}.", f"{prefix}["))


def _also(field: Field) -> Iterator[str]:
    facts = field.facts
    if facts.traced:
        yield "traced"
    if facts.data:
        yield "data"
    if facts.initial:
        yield "initial"
    if facts.same_training:
        yield "another run of the same training"
    if facts.limit:
        yield "can end a run"


def _type(field: Field) -> str:
    """In words, with its unit; the only text that a number's field takes is auto."""
    words = in_words(field.hint).removeprefix("a ").replace("whole number or text", "whole number or auto")
    return f"{words} ({field.facts.unit})" if field.facts.unit else words


def _default(field: Field) -> str:
    return "(to be given)" if field.default is REQUIRED else spelled(field.default) or EMPTY


def _meaning(known: dict[str, str]) -> str:
    parts = [known.get("meaning", ""), known.get("range", "")]
    if "read where" in known:
        parts.append(f"read where {known['read where']}")
    return "; ".join(filter(None, parts))


def _identity(known: dict[str, str]) -> str:
    return ", ".join(filter(None, (known.get("identity"), known.get("also"))))


def _print_one(field: Field) -> None:
    known = facts_of(field)
    print(known.pop("field"))
    width = max(map(len, known)) + 2
    for name, text in known.items():
        print(f"  {name:<{width}}{text}")


def _print_table(found: list[Section]) -> None:
    sheet = Sheet(("field", "default", "meaning", "identity"), optional=("identity",))
    for section in found:
        for number, field in enumerate(section.fields):
            known = facts_of(field)
            sheet.add(field.key, known["default"], _meaning(known), _identity(known), new_group=number == 0)
    terminal.console().print(draw(sheet))
