"""``python -m sweepkit.launch.probe FILE``: a tree says what it is, once all that carries out runs imports.

Asked of every tree when it is frozen, so that code that cannot run, or whose plans and records are not ours,
is refused before anything starts. The answer is kept in the tree's own note.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.code import children, planner, tree
from sweepkit.config import sources
from sweepkit.config.facts import fields_of
from sweepkit.config.schema import RunConfig
from sweepkit.errors import SweepkitError
from sweepkit.plan import run_plan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import record
from sweepkit.results.record import RunRecord

#: What runs are carried out by.
_IMPORTED = (
    "sweepkit.launch.worker", "sweepkit.search.trial_worker", "sweepkit.launch.slurm.task",
    "sweepkit.training.session", "sweepkit.code.answering",
)  # fmt: skip


@functools.cache
def schemas() -> dict[str, list[str]]:
    """The names by which plans and records are read, of this process's code."""
    return {
        "plan": [f"version {run_plan.SCHEMA_VERSION}", *_names(RunPlan), *fields_of(RunConfig)],
        "record": [f"version {record.SCHEMA_VERSION}", *_names(RunRecord)],
    }


def _names(kind: Any) -> Iterable[str]:
    return (item.name for item in dataclasses.fields(kind))


def main() -> int:
    """Write the answer to the file that is named."""
    for name in _IMPORTED:
        importlib.import_module(name)
    fsio.write_json(Path(sys.argv[1]), {"sources": sources.digest(), "schemas": schemas()})
    return 0


def sources_of(folder: Path) -> str | None:
    """The digest of a tree's sources, which its records bear; None where nobody has asked it."""
    found = tree.note(folder).get("sources")
    return str(found) if found else None


def check(text: str, folder: Path) -> None:
    """Ask a tree, unless it was asked before.

    Args:
        text: how it was named.

    Raises:
        SweepkitError: it does not import, or its plans or records are not ours.
    """
    known = tree.note(folder)
    if known.get("sources"):
        return
    answer = _ask(text, folder)
    for what, ours in schemas().items():
        theirs = answer["schemas"].get(what, [])
        if theirs != ours:
            sides = (("has", set(theirs) - set(ours)), ("lacks", set(ours) - set(theirs)))
            differs = "; ".join(f"{word} {', '.join(sorted(names))}" for word, names in sides if names)
            raise SweepkitError(
                f"code {text} has another {what} schema ({differs or 'another order'}), but must have this "
                "one, which reads its plans and records; make the change without that field, or put it into "
                "the reference first"
            )
    fsio.write_json(folder / tree.NOTE, {**known, "sources": answer["sources"]})


def _ask(text: str, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "answer.json"
        command = [planner.python(folder), "-m", "sweepkit.launch.probe", str(path)]
        environment = os.environ | tree.environment(folder)
        try:
            done = children.ask(command, children.PATIENCE_S, env=environment)
        except OSError as error:
            raise SweepkitError(f"code {text} does not import ({error}); correct it") from error
        if done.status != 0 or not path.exists():
            said = done.errors.strip().splitlines() or ["it ended without a word"]
            where = next((line.strip() for line in reversed(said) if line.lstrip().startswith("File ")), "")
            where = where.replace(f"{folder}/", "")
            last = said[-1] if done.status is not None else f"no end after {children.PATIENCE_S:g} s"
            why = f"{last}; {where}" if where else last
            raise SweepkitError(f"code {text} does not import ({why}), but must carry out runs; correct it")
        return fsio.read_json(path)


if __name__ == "__main__":
    sys.exit(main())
