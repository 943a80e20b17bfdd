"""``manifest.json``: the digest of every file of a published sweep, checked by every reader of its folder.

Tables that are committed carry no digest of their own, as other programs read them too. The manifest has
theirs, and is sealed itself: what was edited, cut, exchanged, taken away or put beside is refused by name.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from sweepkit import fsio, sealed
from sweepkit.errors import DamagedError, invalid

FILE = "manifest.json"
SCHEMA_VERSION = 1
#: What a published sweep has instead of run directories (``report/committed.py``) and of its frozen plan.
RUNS, CURVES, PACKED_PLAN = "runs.csv.gz", "curves.parquet", "plan.jsonl.gz"
#: Tables of what lies beside runs: effects over text (``report/gains.py``), scores (``report/findings.py``).
DOCUMENTS, BREAKDOWN, TASKS = "documents.csv", "breakdown.csv", "tasks.csv"
#: What the folder has instead of a plan where others made the runs (``results/imported.py``).
IMPORTED = "imported.json"
#: Of a sweep's folder: all that verdicts follow from, and what they came to.
COPIED = ("*.json", "limits.jsonl", "trials.jsonl", "*.patch")
_TABLES = ("effects.csv", "costs.csv", RUNS, CURVES, DOCUMENTS, BREAKDOWN, TASKS)
#: Files that a reader would take for the sweep's own.
_READ = (*COPIED, *_TABLES, "plan.jsonl", PACKED_PLAN)
_REMEDY = "restore it (git checkout), or publish the sweep (import the table) again"


def write(folder: Path) -> None:
    """Seal a folder with all that is in it."""
    files = {path.name: fsio.sha256(path) for path in sorted(folder.iterdir()) if path.name != FILE}
    fsio.write_json(folder / FILE, {"schema_version": SCHEMA_VERSION, "files": files})


def put(made: Path, folder: Path) -> None:
    """Seal a filled folder and give it its place; what was there before goes when the new one is in it.

    A kill between the two renames leaves the old folder whole in a temporary one beside it.
    """
    write(made)
    aside = fsio.make_temporary(folder)
    before = aside / folder.name
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(before)
        made.rename(folder)
    except OSError:
        if before.exists() and not folder.exists():
            before.rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)


def renew(folder: Path) -> None:
    """Seal a folder again, a table of which was made again; one without a seal is left without."""
    if (folder / FILE).exists():
        write(folder)


def check(folder: Path) -> None:
    """Compare a published folder with its manifest; a folder that is none passes.

    Raises:
        DamagedError: names the file that is not what was published, or the manifest where there is none.
        SweepkitError: a newer version wrote the manifest.
    """
    if not any((folder / name).exists() for name in (FILE, RUNS)):
        return
    path = folder / FILE
    try:
        content = fsio.read_json(path)
    except FileNotFoundError:
        remedy = f"{_REMEDY}; sweepkit publish {folder} --seal, where an older version published it"
        raise DamagedError(path, "it is missing", remedy) from None
    except DamagedError as error:
        raise DamagedError(path, error.why, _REMEDY) from error
    sealed.check_version(path, content, SCHEMA_VERSION)
    for name, digest in content["files"].items():
        try:
            is_intact = fsio.sha256(folder / name) == digest
        except (FileNotFoundError, IsADirectoryError):
            raise DamagedError(folder / name, "it is missing", _REMEDY) from None
        if not is_intact:
            raise DamagedError(folder / name, f"its content does not match its digest in {FILE}", _REMEDY)
    for found in (item for pattern in _READ for item in folder.glob(pattern)):
        if found.name != FILE and found.name not in content["files"]:
            raise DamagedError(found, f"{FILE} does not have it", f"move it away, or {_REMEDY}")


def seal(folder: Path) -> None:
    """``write`` for a folder that an older version published; one that is sealed is checked.

    Raises:
        ConfigError: it holds no published sweep.
        DamagedError: a file in it is not what was written.
    """
    if not all((folder / name).is_file() for name in (RUNS, PACKED_PLAN)):
        raise invalid("publish --seal", str(folder), "be the folder of a published sweep", "name one")
    if (folder / FILE).exists():
        return check(folder)
    for path in folder.glob("*.json"):
        fsio.read_json(path)
    write(folder)
