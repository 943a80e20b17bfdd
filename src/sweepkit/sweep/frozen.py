"""Freezing: every cell and the decision rule are written and hashed before the first run starts.

``results/<sweep>/plan.jsonl`` holds one cell a line, ``frozen.json`` the rule, the rungs and two hashes: of
the files' bytes (an edit is tampering) and of the sweep's *identity* (names, roles, run ids, rule, ladder).
A launcher, trainer or logging override changes plans' bytes but not the identity, so that a sweep may go on
elsewhere; anything else needs a new name. Both files appear at once, by renaming a folder, so that two
drivers that start together agree. What was known of the runs by then stands there too (``seen.py``). A
search freezes its space, sampler and number of trials; its trials are appended to a file of their own
(``trials.py``).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit import errors, fsio
from sweepkit.code import tree
from sweepkit.code.levels import PATCHES, Code
from sweepkit.code.planner import Trees
from sweepkit.config import typed
from sweepkit.config.schema import RungConfig
from sweepkit.errors import FrozenPlanError
from sweepkit.plan import text
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import (
    amendments,
    expand,
    fresh,
    frozen_folder,
    frozen_head,
    frozen_lines,
    last_rung,
    more_trials,
    points,
    published_seal,
    sealed_text,
    trials,
    warm_notes,
)
from sweepkit.sweep.amendments import Amendment, level
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.expand import Stack
from sweepkit.sweep.file import SweepFile, how_to_start
from sweepkit.sweep.frozen_head import FROZEN_FILE, Head
from sweepkit.sweep.frozen_lines import PLAN_FILE
from sweepkit.sweep.more_trials import MoreTrials
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.seen import Past, Seen


@dataclass(frozen=True)
class Frozen:
    """A sweep that can no longer change.

    Attributes:
        cells: all variants × rungs × seeds, rungs from the bottom up; then those of a search's trials.
        sha256: of ``frozen.json``'s content, which holds the hash of ``plan.jsonl``.
        identity: hash of what decides which runs there are and how they are judged, wherever they are run.
        search: what is searched, or None; ``n_trials`` as amended.
        ladder_base, base, seeds: the ladder's and the sweep file's, of which a search makes its trials.
        overrides: the command line's when the sweep was frozen.
        amendments: seeds that were added after the last rung was decided; their cells come last.
        more_trials: how ``n_trials`` was raised since.
        seen: what was known of its runs when it was frozen.
        code: the trees of its levels that are code.
    """

    name: str
    sweep_dir: Path
    cells: list[Cell]
    decision: DecisionRule
    rungs: list[RungConfig]
    sha256: str
    question: str = ""
    search: SearchSpec | None = None
    ladder_base: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    overrides: tuple[str, ...] = ()
    num_fixed: int = 0
    identity: str = ""
    amendments: tuple[Amendment, ...] = ()
    more_trials: tuple[MoreTrials, ...] = ()
    seen: Seen = field(default_factory=Seen)
    code: Code | None = None

    @property
    def trees(self) -> Trees | None:
        return Trees(tree.root(self.sweep_dir.parent), self.code) if self.code else None

    @property
    def stacks(self) -> list[Stack]:
        """What lies below the points of a search on every rung."""
        numbers: dict[str, int] = {}
        for cell in self.fixed:
            numbers[cell.rung] = max(numbers.get(cell.rung, 1), cell.number + 1)
        return [
            dataclasses.replace(stack, reference_replicates=numbers.get(stack.rung, 1))
            for stack in expand.pile(
                *(self.ladder_base, self.rungs, self.base, self.seeds, self.decision),
                *(self.seen.replaced, self.trees),
            )
        ]

    @property
    def num_reopened(self) -> int:
        """Lines of a search's trials before its last amendment; an end among them holds no more."""
        return self.more_trials[-1].num_lines if self.more_trials else 0

    def rule_on(self, rung: str) -> DecisionRule:
        """The rule as a rung goes by it: the last one's metric is that of text held back for it.

        An amendment goes by the last rung's, at a smaller α and without looks.
        """
        for amendment in self.amendments:
            if amendment.rung == rung:
                rule = self.rule_on(amendment.amends)
                return dataclasses.replace(rule, alpha=level(rule.alpha, amendment.number), looks=())
        if rung != self.rungs[-1].name:
            return self.decision
        config = next((cell.plan.config for cell in self.cells if cell.rung == rung), None)
        metric = last_rung.metric(self.decision, self.rungs, config)
        return dataclasses.replace(self.decision, metric=metric, last_metric=metric)

    @property
    def fixed(self) -> list[Cell]:
        """The cells that were frozen, without those of trials."""
        return self.cells[: self.num_fixed]


def freeze(
    sweep: SweepFile,
    results_dir: Path,
    extra: Sequence[str] = (),
    reuse_runs: bool = False,
    is_asked: Callable[[], bool] = lambda: True,
    check: Callable[[Sequence[Cell]], None] = lambda cells: None,
) -> Frozen:
    """Expand and freeze a sweep, or check that it still is what was frozen.

    Args:
        sweep: the sweep file. Listed seeds with which a run was seen are replaced by fresh ones.
        results_dir: the folder that holds ``runs/`` and the sweeps' folders.
        extra: overrides of the command line; they win over levels.
        reuse_runs: keep the listed seeds; what was seen is then judged after the fact.
        is_asked: whether anybody was asked for its runs. Where nobody was, and no run has a folder, a changed
            sweep is frozen anew.
        check: raises where these cells should not be started; asked before anything is written.

    Returns:
        The frozen sweep; its cells carry the launcher, trainer and logging settings of this call.

    Raises:
        ConfigError: the sweep file or an override is wrong.
        FrozenPlanError: a frozen file was edited, or the sweep now expands to something else.
        UnknownTextError: a hub dataset's commit is not known here.
    """
    asked = as_frozen(sweep, results_dir, extra, reuse_runs)
    rungs = expand.rungs_of(expand.ladder_of(asked, extra))
    try:
        return freeze_cells(asked, rungs, expand.expand_all(asked, extra), results_dir, extra, check)
    except FrozenPlanError:
        stands = as_frozen(sweep, results_dir, extra, reuse_runs)
        if stands.replaced_seeds == asked.replaced_seeds:
            if not is_untouched(results_dir, sweep.name) or is_asked():
                raise
            frozen_folder.drop(results_dir / sweep.name)
            return freeze(sweep, results_dir, extra, reuse_runs, check=check)
    # another driver was first, and had seen less or more
    return freeze_cells(stands, rungs, expand.expand_all(stands, extra), results_dir, extra, check)


def as_frozen(
    sweep: SweepFile, results_dir: Path, extra: Sequence[str] = (), reuse_runs: bool = False
) -> SweepFile:
    """The sweep with the seeds that it was frozen with, or would be now. Arguments as for ``freeze``.

    Raises:
        FrozenPlanError: it was frozen with fresh seeds, and now is to reuse runs.
    """
    sweep_dir = results_dir / sweep.name
    if not frozen_folder.exists(sweep_dir):
        return sweep if reuse_runs else fresh.with_fresh_seeds(sweep, results_dir, extra)
    seen = frozen_head.read(sweep_dir).seen
    if reuse_runs and seen.replaced:
        raise FrozenPlanError(
            f"sweep {sweep.name} was frozen with fresh seeds, but must be frozen with those that are listed "
            "to reuse runs; leave out --reuse-runs, or give the sweep file a new name"
        )
    return dataclasses.replace(sweep, replaced_seeds=seen.replaced)


def freeze_cells(
    sweep: SweepFile,
    rungs: Sequence[RungConfig],
    cells: Sequence[Cell],
    results_dir: Path,
    extra: Sequence[str] = (),
    check: Callable[[Sequence[Cell]], None] = lambda cells: None,
) -> Frozen:
    """``freeze`` for cells that are already expanded, with the seeds that they have."""
    sweep_dir = results_dir / sweep.name
    if sweep.search and frozen_folder.exists(sweep_dir):
        sweep = _before_amendments(sweep, frozen_head.read(sweep_dir), sweep_dir)
    if sweep.search:
        rungs = sweep.search.limited(rungs)
        points.check(sweep.search, expand.stacks(sweep, extra), cells, extra)
        if not frozen_folder.exists(sweep_dir):
            warm_notes.check(sweep.search.warm_start, sweep.name, results_dir)
    head = _head(sweep, rungs, cells, extra)
    sealed_text.check_cells(cells, rungs, sweep, results_dir)
    if is_new := not frozen_folder.exists(sweep_dir):
        check(cells)  # what this machine will not run needs no hub
    for cell in cells:
        if isinstance(cell.plan, RunPlan):
            text.known(cell.plan)
    if is_new:
        seen = fresh.look(cells, sweep.replaced_seeds, Past(results_dir, sweep.name))
        frozen_folder.write(sweep_dir, dataclasses.replace(head, seen=seen), cells)
    stored, cells_on_disk = read(sweep_dir)
    if not _identity(stored.sweep, stored.rungs, cells_on_disk) == stored.identity == head.identity:
        raise FrozenPlanError(frozen_head.explain_change(sweep_dir, stored, head))
    return _frozen(sweep_dir, stored, list(cells))


def _before_amendments(sweep: SweepFile, stored: Head, sweep_dir: Path) -> SweepFile:
    """A file that asks for as many trials as an amendment does asks for what was frozen."""
    more = more_trials.load(sweep_dir, stored.sha256)
    if more and sweep.search and stored.sweep.search and sweep.search.n_trials == more[-1].n_trials:
        search = dataclasses.replace(sweep.search, n_trials=stored.sweep.search.n_trials)
        return dataclasses.replace(sweep, search=search)
    return sweep


def load_frozen(results_dir: Path, name: str) -> Frozen:
    """A frozen sweep as it was written.

    Raises:
        ConfigError: there is no sweep of that name; lists those that exist.
        FrozenPlanError: a frozen file was edited or is missing.
    """
    sweep_dir = results_dir / name
    published_seal.check(sweep_dir)
    if Path(name).name != name or name.startswith(".") or not frozen_folder.exists(sweep_dir):
        remedy = how_to_start(name, frozen_names(results_dir))
        raise errors.invalid("sweep", name, f"be a sweep that was started, in {results_dir}", remedy)
    stored, cells = read(sweep_dir)
    return _frozen(sweep_dir, stored, trials.with_trials(cells, trials.load(sweep_dir)))


def frozen_names(results_dir: Path) -> list[str]:
    """Names of all sweeps in a results folder."""
    found = (path.parent.name for path in results_dir.glob(f"*/{FROZEN_FILE}"))
    return sorted(name for name in found if not name.startswith("."))  # of one killed while it froze


def _head(sweep: SweepFile, rungs: Sequence[RungConfig], cells: Sequence[Cell], extra: Sequence[str]) -> Head:
    """All but what was known, and the hashes of bytes."""
    climbed = expand.ladder_of(sweep, extra)
    return Head(
        sweep=sweep,
        rungs=list(rungs),
        ladder_base=tuple(climbed.base) if climbed else (),
        overrides=tuple(extra),
        num_cells=len(cells),
        identity=_identity(sweep, rungs, cells),
        code=sweep.trees.code if sweep.trees else None,
    )


def _identity(sweep: SweepFile, rungs: Sequence[RungConfig], cells: Sequence[Cell]) -> str:
    """Hash of all that decides what runs there are and how they are judged."""
    names = [
        [
            *(cell.rung, cell.variant, cell.variant_key, cell.role),
            *(cell.plan.run_id, cell.plan.evaluation_key, cell.plan.pair_key),
        ]
        for cell in cells
    ]
    return fsio.digest(typed.dump([sweep.decision, sweep.search, list(rungs), names]))


def is_untouched(results_dir: Path, name: str) -> bool:
    """Whether a frozen sweep is as it was written, and nothing of it has begun."""
    try:
        cells = load_frozen(results_dir, name).cells
    except errors.SweepkitError:
        return False
    files = {path.name for path in (results_dir / name).iterdir() if not path.match(PATCHES)}
    begun = set(fsio.folders(results_dir / "runs")) & {cell.plan.run_id for cell in cells}
    return files <= {PLAN_FILE, FROZEN_FILE} and not begun


def read(sweep_dir: Path) -> tuple[Head, list[Cell]]:
    """Both files as they were frozen, without trials and amendments.

    Raises:
        FrozenPlanError: one was edited or is missing.
    """
    head = frozen_head.read(sweep_dir)
    return head, typed.load_alike(Cell, map(json.loads, frozen_lines.of(sweep_dir, head)))


def _frozen(sweep_dir: Path, head: Head, cells: list[Cell]) -> Frozen:
    added = amendments.load(sweep_dir, head.sha256)
    more = more_trials.load(sweep_dir, head.sha256)
    return Frozen(
        name=head.sweep.name,
        sweep_dir=sweep_dir,
        cells=[
            _at_home(cell, sweep_dir.parent / tree.TREES)
            for cell in (*cells, *(cell for amendment in added for cell in amendment.cells))
        ],
        decision=head.sweep.decision,
        rungs=head.rungs,
        sha256=head.sha256,
        question=head.sweep.question,
        search=more_trials.amended(head.sweep.search, more),
        ladder_base=head.ladder_base,
        base=head.sweep.base,
        seeds=head.sweep.seeds,
        overrides=head.overrides,
        num_fixed=head.num_cells,
        identity=head.identity,
        amendments=added,
        more_trials=more,
        seen=head.seen,
        code=head.code,
    )


def _at_home(cell: Cell, trees: Path) -> Cell:
    """The cell with its command's program where that lies now: results may have been moved or copied."""
    if not isinstance(cell.plan, CommandPlan):
        return cell
    program = cell.plan.program
    folder = trees / Path(program.folder).name
    if str(folder) == program.folder or not folder.is_dir():
        return cell
    here = dataclasses.replace(program, folder=str(folder))
    return dataclasses.replace(cell, plan=dataclasses.replace(cell.plan, program=here))
