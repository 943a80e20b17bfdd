"""From ``code:`` in a sweep file to frozen trees: a git ref, a patch, a folder, or the uncommitted changes.

Everything is put on top of the reference's tree. That is the package as it runs here with its configuration;
or what the reference's own level names; or the last commit, where a level is ``worktree``. Of a ref the
changes since its merge base with the reference are applied; ``BASE..REF`` names where they start. Commits
that a ref brings along from elsewhere are named and refused, since a verdict would be theirs as well. Once a
sweep is frozen, its trees are found by what was written, and nothing is looked up again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit.code import planner, tree
from sweepkit.code.levels import Code, Level
from sweepkit.code.making import WORKTREE, Made, Making
from sweepkit.code.planner import FIELD, Trees
from sweepkit.config import commits, sources
from sweepkit.config.schema import RunConfig
from sweepkit.errors import FrozenPlanError, SweepkitError, invalid
from sweepkit.launch import command_code, probe
from sweepkit.launch.named import is_fixed
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import frozen_head, set_fields, tuning
from sweepkit.sweep.file import SweepFile

#: Name of the sweep that one run is taken for; no folder can have it.
SINGLE = ".single"


def resolved(sweep: SweepFile, results_dir: Path) -> SweepFile:
    """The sweep with trees in the place of what ``code`` names, as they were frozen or as they are now.

    Raises:
        ConfigError: something named is not there, does not apply, or is no code that could be run here.
        FrozenPlanError: the sweep was frozen without one of them.
    """
    if sweep.command:
        return command_code.resolved(sweep, results_dir)
    written = _written(sweep)
    names = (sweep.name, tuning.name_of(sweep.name)) if sweep.tune else (sweep.name,)
    name = next((name for name in names if frozen_head.found(results_dir / name)), sweep.name)
    stored = frozen_head.found(results_dir / name)
    if not written and not (stored and stored.code):
        return sweep
    if stored and is_fixed(results_dir, name):
        known = {level.text: level.tree for level in (stored.code.levels if stored.code else ())}
        if stored.code is None or (new := [text for text in written.values() if text not in known]):
            text = next(iter(new if stored.code else written.values()))
            raise FrozenPlanError(
                f"sweep {sweep.name} names code {text}, but must name what was frozen in "
                f"{results_dir / sweep.name} before its first run; restore it, or give it a new name"
            )
        return _with(sweep, known, Trees(tree.root(results_dir), stored.code))
    if not written:
        return sweep
    folder = tree.root(results_dir)
    code = _frozen(sweep, written, folder)
    return _with(sweep, {level.text: level.tree for level in code.levels}, Trees(folder, code))


@dataclass(frozen=True)
class Single:
    """One run's overrides, and the code that plans it: what they name, or what is here."""

    overrides: tuple[str, ...]
    trees: Trees | None

    def config(self) -> RunConfig:
        return planner.planner(self.trees).compose(self.overrides)

    def plan(self) -> RunPlan:
        return planner.planner(self.trees).build(self.config())


def single(overrides: Sequence[str], results_dir: Path) -> Single:
    """``resolved`` for one run. Raises ConfigError as it does."""
    named = [item for item in overrides if item.partition("=")[0] == FIELD]
    found = resolved(SweepFile(name=SINGLE, base=tuple(named[-1:])), results_dir)
    others = [item for item in overrides if item not in named]
    return Single((*others, *found.base), found.trees)


def _written(sweep: SweepFile) -> dict[str, str]:
    """Where → what is named as code there."""
    found = {f"axes.{axis}.{name}": item for axis, each in sweep.axes.items() for name, item in each.items()}
    named = {where: planner.named(overrides) for where, overrides in {"base": sweep.base, **found}.items()}
    return {where: text for where, text in named.items() if text is not None}


def _with(sweep: SweepFile, known: dict[str, str], trees: Trees) -> SweepFile:
    def put(overrides: Sequence[str]) -> tuple[str, ...]:
        text = planner.named(overrides)
        others = tuple(item for item in overrides if set_fields.block(item) != FIELD)
        return tuple(overrides) if text is None else (f"{FIELD}={known[text]}", *others)

    axes = {axis: {name: put(item) for name, item in each.items()} for axis, each in sweep.axes.items()}
    return dataclasses.replace(sweep, base=put(sweep.base), axes=axes, trees=trees)


def _frozen(sweep: SweepFile, written: dict[str, str], folder: Path) -> Code:
    """All trees, exported and asked."""
    own = [written.get(f"axes.{axis}.{name}") for axis, name in sweep.reference.items()]
    named = [text for text in own if text is not None]
    if len(named) + ("base" in written and bool(named)) > 1:
        contract = "have one code, for the reference is one tree"
        raise invalid("reference", named, contract, "name it under base, or by a level of one axis alone")
    places = {text: where for where, text in reversed(written.items())}  # each once
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        made = Making(scratch, None, folder)
        usual = made.here()
        if named:
            base = made.alone(places[named[0]], named[0])
        elif "base" in written:  # on top of what runs here, as a level would be
            named = [written["base"]]
            where = FIELD if sweep.name == SINGLE else "base"
            base = Making(scratch, usual, folder).level(where, named[0])
        elif WORKTREE in written.values():
            base = usual = made.last_commit()
        else:
            base = usual
        on = Making(scratch, base, folder)
        everything = [base]
        everything += [on.level(where, text) for text, where in places.items() if [text] != named]
        kept = [
            _keep(item, folder, scratch / f"keep-{place}", _apart(item, usual, item is base))
            for place, item in enumerate(everything)
        ]
        reference = kept[0]
        for level in kept[1:]:
            if level.tree == reference.tree:
                contract = "change something of the package or conf, and is the reference's own code"
                remedy = "check which branch or file it is, or leave it out"
                raise invalid(places[level.text], level.text, contract, remedy)
        for level in kept:
            if tree.note(folder / level.tree).get("sources") is None:
                print(f"code: trying whether {level.text} imports", file=sys.stderr)
            with _dropped_on_error(folder / level.tree):
                probe.check(level.text, folder / level.tree)
    return Code(reference, tuple(kept if named else kept[1:]))


@contextlib.contextmanager
def _dropped_on_error(folder: Path) -> Iterator[None]:
    """A tree that is refused is not kept."""
    try:
        yield
    except SweepkitError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _apart(made: Made, usual: Made, is_base: bool) -> str | None:
    """What tells rows of text from those of the usual code, where they are made in another way."""
    if is_base and tree.is_id(made.level.text):  # that tree, whatever is usual by now
        return made.apart
    with contextlib.suppress(SyntaxError, ValueError):  # it does not import
        own, others = (
            sources.digest_of(item.work / "src" / tree.PACKAGE, sources.ROWS) for item in (made, usual)
        )
        return None if own == others else own
    return None


def _keep(made: Made, folder: Path, scratch: Path, apart: str | None) -> Level:
    scratch.mkdir()
    for part in tree.CHECKOUT:
        (scratch / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made.work / part, scratch / part)
    commit, dirty = commits.git_state()
    if made.level.commit:
        commit, dirty = made.level.commit, made.level.base is not None  # on another base it is no commit
    elif made.level.kind != "here":
        dirty = True
    note: dict[str, object] = {"text": made.level.text, "python": made.python, "cache": apart}
    name = tree.keep(scratch, folder, note, {"commit": commit, "dirty": dirty})
    return dataclasses.replace(made.level, tree=name)
