"""``frozen.json``: what was frozen beside the cells, and its one reader."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit import fsio, sealed
from sweepkit.code.levels import Code
from sweepkit.config import typed
from sweepkit.config.schema import RungConfig
from sweepkit.errors import ConfigError, DamagedError, FrozenPlanError, SweepkitError
from sweepkit.sweep import published_seal
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.seen import Seen

SCHEMA_VERSION = 1
FROZEN_FILE = "frozen.json"
#: Behind a sweep's name in that of the sweep that tunes it (``tuning.py``).
TUNING = "-tune"


@dataclass(frozen=True)
class Head:
    """What ``frozen.json`` holds.

    Attributes:
        sweep: the sweep file, with its decision rule and its search.
        ladder_base: the ladder's overrides of every rung.
        overrides: the command line's when the sweep was frozen.
        num_cells: how many cells were frozen.
        identity: hash of what decides which runs there are and how they are judged, wherever they are run.
        seen: what was known of its runs.
        code: the trees of its levels that are code.
        plan_sha256: of the bytes of ``plan.jsonl``.
        sha256: of all that.
    """

    sweep: SweepFile
    rungs: list[RungConfig]
    ladder_base: tuple[str, ...]
    overrides: tuple[str, ...]
    num_cells: int
    identity: str
    seen: Seen = field(default_factory=Seen)
    code: Code | None = None
    plan_sha256: str = ""
    schema_version: int = SCHEMA_VERSION
    sha256: str = field(default="", metadata=typed.UNWRITTEN)


def found(sweep_dir: Path) -> Head | None:
    """What ``frozen.json`` says; None where it is missing or cannot be read. For what is only shown."""
    try:
        return read(sweep_dir)
    except SweepkitError:
        return None


def read(sweep_dir: Path) -> Head:
    """What ``frozen.json`` says.

    Raises:
        FrozenPlanError: it was edited or is missing.
        DamagedError: a file of a published sweep is not what was published.
    """
    published_seal.check(sweep_dir)
    path = sweep_dir / FROZEN_FILE
    try:
        content = fsio.read_json(path)
    except FileNotFoundError:
        raise tampered(path, "missing") from None
    except DamagedError as error:
        raise tampered(path, f"damaged, or edited after it was frozen ({error.why})") from None
    sealed.check_version(path, content, SCHEMA_VERSION)
    try:
        return dataclasses.replace(typed.load(Head, content), sha256=fsio.digest(content))
    except ConfigError as error:
        raise tampered(path, f"written by another version ({error})") from error


def tampered(path: Path, what: str) -> FrozenPlanError:
    """The error for a frozen file that is not what was written."""
    return FrozenPlanError(
        f"{path} is {what}, but must be what was frozen; restore it, or delete "
        f"{path.parent} and start the sweep again (finished runs are kept in {path.parent.parent / 'runs'})"
    )


def explain_change(sweep_dir: Path, stored: Head, head: Head) -> str:
    """Why ``head`` cannot be frozen where ``stored`` is: what differs, and the remedy."""
    changed = ["rungs"] if stored.rungs != head.rungs else []
    before, after = stored.sweep, dataclasses.replace(head.sweep, replaced_seeds={}, trees=None)
    names = [item.name for item in dataclasses.fields(SweepFile) if item.name != "question"]
    changed += [name for name in names if getattr(before, name) != getattr(after, name)]
    if wanted := _only_more_trials(before, after, changed):
        return (
            f"sweep {after.name} asks for n_trials={wanted}, but must ask for what was frozen in "
            f"{sweep_dir}; for more trials on the same study add --amend-to {wanted}, which records it"
        )
    changed = changed or ["the configuration, an override, or what another version of sweepkit computes"]
    return (
        f"sweep {_typed_name(after)} is changed ({', '.join(changed)}), but must expand to what was frozen "
        f"in {sweep_dir} before its first run; restore it, or give the sweep file a new name (finished runs "
        "are shared by identity, so nothing is run twice)"
    )


def _typed_name(sweep: SweepFile) -> str:
    """The name of the file: of the runs that tune a sweep, the sweep's."""
    return sweep.name.removesuffix(TUNING) if sweep.tune else sweep.name


def _only_more_trials(before: SweepFile, after: SweepFile, changed: list[str]) -> int | None:
    """How many trials are asked for, where that there are more is all that has changed."""
    if changed != ["search"] or before.search is None or after.search is None:
        return None
    wanted = after.search.n_trials
    is_all = dataclasses.replace(after.search, n_trials=before.search.n_trials) == before.search
    return wanted if is_all and wanted > before.search.n_trials else None
