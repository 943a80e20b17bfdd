"""``sweepkit import``: runs that others made, in a folder that results, report and verdict read."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from sweepkit.cli import command_line, running
from sweepkit.config import paths
from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.report import tables, terminal
from sweepkit.results import columns, imported, store
from sweepkit.results.imported import Imported, Own
from sweepkit.results.others import curves, mapping, source
from sweepkit.results.others.mapped import mapped
from sweepkit.results.others.mapping import NO_SEEDS, Mapping
from sweepkit.sweep import file
from sweepkit.sweep.decision import DecisionRule


def run(args: argparse.Namespace) -> int:
    """Read, check, write and show; 0 on success. User errors raise ``SweepkitError``."""
    how = _how(args)
    name = args.name or _name_of(args.source)
    if not file.NAME.holds(name):
        raise invalid("--name", name, file.NAME.contract, "say --name NAME")
    folder = paths.results_dir() / name
    imported.check_new(folder, args.replace)
    found = source.read(args.source, args.delimiter)
    runs = mapped(found, how)
    said = Imported(
        source=args.source,
        kind=found.kind,
        source_sha256=found.sha256,
        imported_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=shlex.join(["sweepkit", *_words()]),
        seeds=how.seeds or (None if "seed" in runs.runs else NO_SEEDS),
        reference=runs.reference,
        metrics=[metric.name for metric in how.metrics],
        ledger=how.ledger,
        decision=list(args.overrides),
        own=[Own(item.name, item.dtype, item.unit, item.direction.value) for item in runs.own],
        notes=runs.notes,
    )
    _check_rule(said)
    table = store.typed(runs.runs, said.columns)
    used = [column for column in table.columns if table[column].notna().any()]
    imported.write(folder, table[used], curves.typed(found, how, table), said)
    _print(name, folder, said)
    return 0


def _how(args: argparse.Namespace) -> Mapping:
    return Mapping(
        names=mapping.pairs("--map", args.map, "val_loss=val_bpb"),
        parsed=mapping.patterns(args.parse),
        variant=tuple(command_line.words(args.variant)),
        where=args.where,
        metrics=mapping.metrics(args.metric),
        reference=args.reference,
        seeds=args.seeds,
        ledger=args.ledger,
        duplicates=args.duplicates,
    )


def _name_of(where: str) -> str:
    """The folder's name of a file's, or of a project's: runs (1).csv becomes runs_1."""
    last = re.split(r"[/:]", where.rstrip("/"))[-1]
    stem = re.sub(r"(\.(csv|tsv|txt|json|jsonl|ndjson|parquet|wandb))?(\.gz)?$", "", last)
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", stem).strip("_.") or stem
    return name if file.NAME.holds(name) else f"imported_{name}"


def _words() -> list[str]:
    return [item for item in sys.argv[1:] if item != "--replace"]


def _check_rule(said: Imported) -> None:
    """A rule that is to go with the folder has to be one; min_effect may be said later."""
    settings = said.settings()
    if not any(item.startswith("decision.min_effect=") for item in settings):
        settings = ["decision.min_effect=0", *settings]
    DecisionRule.amended(settings)


def _print(name: str, folder: Path, said: Imported) -> None:
    console = terminal.console()
    frame = store.load(name, folder.parent)
    names = [item.name for item in said.own]
    metric = next(iter(said.metrics), "val_bpb")
    if frame["variant"].notna().any() and metric in frame:
        console.print(tables.groups(frame, metric))
    for note in said.notes:
        console.print(note, style="dim")
    known = [item for item in frame.columns if columns.find(item) and frame[item].notna().any()]
    console.print(f"columns: {', '.join([*known, *names])}", style="dim")
    states = ", ".join(f"{number:,} {state}" for state, number in frame["state"].value_counts().items())
    console.print(f"{counted(len(frame), 'run')} ({states}): {running.shown(folder)}")
    if frame["variant"].notna().any():
        reference = "" if said.reference or said.ledger else " --reference VARIANT"
        console.print(f"judge them: sweepkit verdict --runs {name}{reference}")
    else:
        console.print("nothing to compare yet: --variant COLUMN[,COLUMN] --replace says what variants are")
