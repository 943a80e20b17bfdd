"""``sweepkit data``: prepare a dataset's caches, compare packing algorithms, list what there is."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sweepkit.cli import command_line
from sweepkit.config import groups, own_conf
from sweepkit.config.choices import PackingAlgorithm
from sweepkit.config.compose import compose
from sweepkit.config.schema import RunConfig
from sweepkit.printable import counted
from sweepkit.report import terminal

if TYPE_CHECKING:
    from sweepkit.data.core_items import Core
    from sweepkit.data.prepare import PreparedData

_EPILOG = """\
examples:
  sweepkit data list                                           the datasets there are
  sweepkit data prepare                                        tokenizer, tokens and packing of the defaults
  sweepkit data prepare dataset=climbmix dataset.num_train_shards=8
  sweepkit data prepare dataset=files dataset.path=/data/text tokenizer.vocab_size=8192  (docs/data.md)
  sweepkit data prepare evaluation=core evaluation.core.bundle=eval_bundle.zip   tasks to ask (docs/core.md)
  sweepkit data stats horizon.sequence_len=256                 what packing loses, how dense tokens are
  sweepkit data stats dataset=fineweb_edu --format json

Caches go to ~/.cache/sweepkit, or to $SWEEPKIT_CACHE_DIR; all runs share them. A run prepares what it needs
by itself; preparing beforehand only moves the work. Killed at any moment, the same command goes on. A hub
dataset stays at the commit that a cache found first; dataset.revision=COMMIT gives other caches the same.
"""
ACTIONS = ("prepare", "stats", "list")
_STATS_COLUMNS = ("algorithm", "utilisation", "cropped", "floor", "rows", "documents", "tokens")


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers, "data", "Prepare and inspect datasets, tokenizers and packing.", _EPILOG
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar=" | ".join(ACTIONS))
    overrides = "as for train, such as dataset=climbmix tokenizer.vocab_size=8192"
    prepare = actions.add_parser(
        "prepare",
        help="build tokenizer, token cache and packing index",
        epilog="example: sweepkit data prepare dataset=climbmix dataset.num_train_shards=8",
    )
    prepare.add_argument("overrides", nargs="*", metavar="OVERRIDE", help=overrides)
    prepare.add_argument("--format", choices=("text", "json"), default="text")
    prepare.add_argument(
        "--verify", action="store_true", help="checksum caches of any size; rebuild what fails"
    )
    stats = actions.add_parser(
        "stats",
        help="what packing algorithms lose; bytes a token by kind of text, unused rows of the vocabulary",
        epilog="example: sweepkit data stats experiment=mini --format json",
    )
    stats.add_argument("overrides", nargs="*", metavar="OVERRIDE", help=overrides)
    stats.add_argument("--format", choices=("table", "json"), default="table")
    listing = actions.add_parser(
        "list", help="datasets and what they are", epilog="example: sweepkit data list --format json"
    )
    listing.add_argument("--format", choices=("table", "json"), default="table")


def run(args: argparse.Namespace) -> int:
    """0 when done; user errors raise ``SweepkitError``."""
    if args.action == "prepare":
        return _prepare(args)
    if args.action == "stats":
        return _stats(args)
    return _list(args)


def _compose(overrides: list[str]) -> RunConfig:
    return compose(overrides)


def _prepare(args: argparse.Namespace) -> int:
    from sweepkit.data.prepare import prepare

    config = _compose(args.overrides)
    started = time.monotonic()
    prepared = prepare(config, thorough=args.verify)
    seconds = time.monotonic() - started
    if args.format == "json":
        print(json.dumps(_summary(prepared) | {"seconds": round(seconds, 3)}, indent=1))
        return 0
    tokens = prepared.tokens
    print(
        f"dataset    {config.dataset.name}: {counted(tokens.num_docs, 'document')}, "
        f"{tokens.num_bytes / 1e6:,.2f} MB"
    )
    print(
        f"tokenizer  {prepared.tokenizer.vocab_size:,} tokens, "
        f"{tokens.num_bytes / max(1, tokens.num_tokens - tokens.num_docs):.2f} bytes a token"
    )
    if tokens.commit:
        print(f"commit     {tokens.commit} of {config.dataset.repo}; dataset.revision pins it elsewhere")
    print(f"tokens     {tokens.num_tokens:,} ({tokens.dtype.name}) in {tokens.folder}")
    stats = prepared.packing_stats
    print(
        f"packing    {config.packing.algorithm.name}: {int(stats['num_rows']):,} rows of "
        f"{config.horizon.sequence_len:,} tokens, {stats['cropped_frac']:.1%} cropped "
        f"(floor {stats['cropped_floor_frac']:.1%})"
    )
    for stream in prepared.streams:
        print(
            f"{stream.name:<10} {stream.num_bytes:,} bytes, {counted(stream.num_rows, 'row')}, "
            f"fingerprint {stream.fingerprint[:12]}"
        )
    if prepared.core is not None:
        print(f"tasks      {_asked(prepared.core)}, SHA-256 {prepared.core.digest}")
    print(f"ready in {seconds:.2f} s")
    return 0


def _asked(core: Core) -> str:
    """How much is asked, and whether it is CORE."""
    num_items = sum(len(asked.items) for asked in core.tasks)
    name = "all 22 of CORE" if core.is_whole else "a subset, which is not CORE"
    return f"{counted(len(core.tasks), 'task')} ({name}), {num_items:,} items"


def _summary(prepared: PreparedData) -> dict[str, object]:
    tokens = prepared.tokens
    return {
        "dataset": prepared.config.dataset.name,
        "num_docs": tokens.num_docs,
        "num_bytes": tokens.num_bytes,
        "num_tokens": tokens.num_tokens,
        "vocab_size": prepared.tokenizer.vocab_size,
        "folder": str(tokens.folder),
        "commit": tokens.commit,
        "packing": {"algorithm": prepared.config.packing.algorithm.name} | prepared.packing_stats,
        "streams": {
            stream.name: {
                "num_bytes": stream.num_bytes,
                "num_rows": stream.num_rows,
                "fingerprint": stream.fingerprint,
            }
            for stream in prepared.streams
        },
        "core": prepared.core
        and {
            "sha256": prepared.core.digest,
            "is_whole": prepared.core.is_whole,
            "tasks": {asked.task.label: len(asked.items) for asked in prepared.core.tasks},
        },
    }


def _stats(args: argparse.Namespace) -> int:
    from sweepkit.data import tokenizer_stats
    from sweepkit.data.prepare import prepare

    config = _compose(args.overrides)
    prepared = prepare(config)
    length = config.horizon.sequence_len
    rows = [{"algorithm": kind.name} | prepared.packed(length, kind)[1] for kind in PackingAlgorithm]
    tokenizer = tokenizer_stats.stats(prepared)
    if args.format == "json":
        print(json.dumps({"packing": rows, "tokenizer": asdict(tokenizer)}, indent=1))
        return 0
    title = f"{config.dataset.name}, rows of {length:,} tokens, vocabulary {prepared.tokenizer.vocab_size:,}"
    _print_table(
        title,
        _STATS_COLUMNS,
        [
            (
                str(row["algorithm"]),
                f"{row['utilisation']:.1%}",
                f"{row['cropped_frac']:.1%}",
                f"{row['cropped_floor_frac']:.1%}",
                f"{int(row['num_rows']):,}",
                f"{int(row['num_docs']):,}",
                f"{int(row['num_tokens']):,}",
            )
            for row in rows
        ],
    )
    print(
        "cropped: share of all tokens that no row holds; floor: share in documents beyond the length of a "
        "row, which no packing with BOS at the start of every row can hold",
        file=sys.stderr,
    )
    _print_table(
        "tokenizer",
        ("text", "bytes a token"),
        [(name, f"{value:.2f}") for name, value in tokenizer.bytes_per_token.items()],
    )
    print(
        f"{tokenizer.unused:,} of {tokenizer.vocab_size:,} rows of the vocabulary "
        f"({tokenizer.unused / tokenizer.vocab_size:.1%}) are no token of the training text"
    )
    return 0


def _list(args: argparse.Namespace) -> int:
    rows = []
    folder = own_conf.folder()
    for name in groups.available(folder).get("dataset", ()):
        comment = []
        for line in (
            (folder / "dataset" / f"{name}.yaml").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if not line.startswith("#"):
                break
            comment.append(line.lstrip("# "))
        rows.append({"dataset": name, "description": " ".join(comment)})
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    _print_table("dataset=NAME", ("dataset", "what it is"), [tuple(row.values()) for row in rows])
    return 0


def _print_table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or len(columns) == 2 else "right")
    for row in rows:
        table.add_row(*row)
    terminal.console().print(table)
