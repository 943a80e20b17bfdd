"""Freezing the program of a command, and those of its levels that are code, before anything of it is planned.

As with this package's own code (``code_levels.py``): what a sweep is frozen with it keeps, and nothing is
looked up again.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

from sweepkit.code import program, tree
from sweepkit.code.levels import Code, Level
from sweepkit.code.making import WORKTREE
from sweepkit.code.planner import Trees
from sweepkit.errors import FrozenPlanError, Notice, invalid
from sweepkit.launch import command_imports
from sweepkit.launch.named import is_fixed
from sweepkit.plan.command_plan import CODE
from sweepkit.sweep import frozen_head, set_fields
from sweepkit.sweep.file import SweepFile


def resolved(sweep: SweepFile, results_dir: Path) -> SweepFile:
    """The sweep with the programs that its runs start in, as they were frozen or as they are now.

    Raises:
        ConfigError: something named is not there, or does not apply.
        FrozenPlanError: the sweep was frozen without one of them.
    """
    written, trees = _written(sweep), tree.root(results_dir)
    stored = frozen_head.found(results_dir / sweep.name)
    if stored and stored.code and is_fixed(results_dir, sweep.name):
        known = {level.text for level in stored.code.levels}
        if new := [text for text in written.values() if text not in known]:
            raise FrozenPlanError(
                f"sweep {sweep.name} names code {new[0]}, but must name what was frozen in "
                f"{results_dir / sweep.name} before its first run; restore it, or give it a new name"
            )
        return dataclasses.replace(sweep, trees=Trees(trees, stored.code))
    folder = Path(sweep.folder).expanduser().resolve()
    _refuse_live(sweep, folder)
    places = {text: where for where, text in reversed(written.items())}  # each once
    reference = program.reference(folder, sweep.inputs, trees, is_committed=WORKTREE in places)
    levels = [
        program.level(where, text, folder, trees / reference.tree, sweep.inputs, trees)
        for text, where in places.items()
    ]
    found = [_importing(sweep, folder, trees, item, bool(levels)) for item in (reference, *levels)]
    return dataclasses.replace(sweep, trees=Trees(trees, Code(found[0], tuple(found[1:]))))


def _importing(sweep: SweepFile, folder: Path, trees: Path, level: Level, has_levels: bool) -> Level:
    """A level whose packages are imported from its copy, where putting that first does it."""
    copy = trees / level.tree
    found = command_imports.elsewhere(sweep.command, folder, copy)
    if not found:
        return level
    where = command_imports.modules(copy)
    path = tuple(dict.fromkeys(where[name] for name in found))
    rest = command_imports.elsewhere(sweep.command, folder, copy, path)
    if not rest:
        return dataclasses.replace(level, path=path)
    said = ", ".join(f"{name} from {place}" for name, place in rest.items())
    remedy = "leave out what keeps its Python from PYTHONPATH (-I, -E), or uninstall it there"
    if has_levels:
        contract = f"import its own code from the frozen copy, and imports {said}: no level would change it"
        raise invalid("command", " ".join(sweep.command), contract, remedy)
    warnings.warn(f"the command imports {said}, which is not frozen; {remedy}", Notice, stacklevel=2)
    return dataclasses.replace(level, path=path, live=(*level.live, *rest.values()))


def _written(sweep: SweepFile) -> dict[str, str]:
    """Where → what is named as code there."""
    if CODE in sweep.params:
        return {}
    every = {f"axes.{axis}.{name}": item for axis, each in sweep.axes.items() for name, item in each.items()}
    named = {where: set_fields.settings(item, where).get(CODE) for where, item in every.items()}
    return {where: str(text) for where, text in named.items() if text is not None}


def _refuse_live(sweep: SweepFile, folder: Path) -> None:
    """Refuse words that would leave the copy for a file of the program as it is now."""
    for word in sweep.command:
        path = Path(word)
        is_own = path.is_absolute() and path.is_relative_to(folder) and path.suffix == ".py"
        if is_own or (".." in path.parts and (folder / path).exists()):
            contract = "name its files from its folder, for it is started in a frozen copy of that"
            remedy = f"write {path.relative_to(folder)}" if is_own else f"write {(folder / path).resolve()}"
            raise invalid("command", word, contract, remedy)
