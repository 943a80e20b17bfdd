"""The ladder: run a rung, decide it once, climb with what survives.

A state machine whose whole state lies in files, so that it can be killed anywhere and run again. Rung by
rung: run what has no answer yet (``results/answer.py``) of the reference, the surviving variants and a few
that lost (``unselected.py``); stop and name what has none still. Check that plan and rule are what was
frozen, decide, and store the decision in ``verdicts.json`` with a digest of the runs it was based on, before
anything of the next rung starts. On a rerun a stored decision is used as it stands while its inputs are the
same; otherwise it is made again, which gives the same from the same runs. What a rung is expected to show is
written down before it is run (``forecast.py``). Amendments to the last rung (``sweep/amendments.py``) are
further stages of the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sweepkit.analysis import calibration, calibration_file, replicates, rounding
from sweepkit.analysis.calibration import Calibration
from sweepkit.config.schema import RungConfig
from sweepkit.errors import FrozenPlanError
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.promotion import (
    conclusion,
    deferred,
    forecast,
    gate,
    hindsight,
    looks,
    measured_axes,
    unselected,
    verdict_file,
    wording,
)
from sweepkit.promotion.verdict_record import Promotion, RungResult, Verdict
from sweepkit.results.columns import PLANNED, REFERENCE, is_reference
from sweepkit.results.record import FailureClass, RunState
from sweepkit.sweep import last_rung, seen
from sweepkit.sweep import limits as changed_limits
from sweepkit.sweep.amendments import Amendment
from sweepkit.sweep.cell import VARIANT, Cell
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen, load_frozen

_RETRIES = 2  # what failed twice on one machine, and could have been on another, is tried a third time

RunCells = Callable[[str, list[Cell]], object]
Load = Callable[[], pd.DataFrame]


def promote(
    frozen: Frozen,
    run_cells: RunCells,
    load: Load,
    *,
    allow_mixed_environments: bool = False,
    retry_failed: bool = False,
    on_decision: Callable[[RungResult], None] = lambda result: None,
) -> Promotion:
    """Climb a frozen sweep's ladder as far as its runs carry it.

    Args:
        frozen: plan and rule, from ``sweep.frozen``.
        run_cells: runs the cells of the named rung, skipping finished ones; may return before all are done.
            Runs out of memory or time that were not tried twice (``replicates.to_retry``) it starts again.
        load: gives the sweep's runs table.
        allow_mixed_environments: compare runs across hardware, versions and threads.
        retry_failed: ask ``run_cells`` again also where runs have ended, but not all of them well.
        on_decision: called with every rung's result, stored or new, as soon as it is known.

    Returns:
        The end of the ladder, or with ``finished`` False where runs are still missing. Either way
        ``promotion.json``, ``verdicts.json``, ``effects.csv``, ``costs.csv`` and ``runs.csv`` in the sweep's
        folder say the same.

    Raises:
        FrozenPlanError: the plan or rule was edited since it was frozen.
        SweepkitError: runs that must be compared have fingerprints that differ.
    """
    rungs = [rung for rung in frozen.rungs if any(cell.rung == rung.name for cell in frozen.cells)]
    names = list(dict.fromkeys(cell.variant for cell in frozen.cells))
    references = [name for name in names if is_reference(name)]  # with its other horizons
    surviving = [name for name in names if not is_reference(name)]
    carried: list[str] = []  # lost, and run to measure transfer
    decided: list[RungResult] = []
    waiting: dict[str, str] = {}
    at = ""
    _verify(frozen)
    stored = verdict_file.read(frozen)
    for stage in _stages(frozen, rungs):
        rung = stage.rung
        if stage.amendment:
            surviving, carried = list(stage.amendment.variants), []
        elif decided and not surviving:
            continue
        if not decided or decided[-1].rung != rung.name:
            here: list[Cell] = []
            entered = [*references, *surviving, *carried]
        wanted = [*references, *surviving, *([] if here else carried)]
        on_rung = [cell for cell in frozen.cells if cell.rung == rung.name]
        cells = [cell for cell in looks.cells_of(on_rung, stage.count) if cell.variant in wanted]
        here = list({cell.plan.run_id: cell for cell in [*here, *cells]}.values())
        table = load()
        if decided and not stage.amendment:
            all_seeds = [cell for cell in on_rung if cell.variant in entered]
            forecast.write_once(frozen, decided, all_seeds, table)
        rows = _rows(frozen, table, rung, entered, here)
        if unanswered(rows, cells) or (retry_failed and not (rows["state"] == RunState.complete).all()):
            run_cells(rung.name, cells)
            rows = _rows(frozen, load(), rung, entered, here)
        for _ in range(_RETRIES):  # out of memory or time: a neighbour on the node may have been to blame
            if not (again := replicates.to_retry(rows)):
                break
            run_cells(rung.name, [cell for cell in cells if cell.plan.run_id in again])
            rows = _rows(frozen, load(), rung, entered, here)
        waiting = unanswered(rows, cells) | replicates.to_retry(rows)
        at = rung.name
        if waiting:
            break
        _verify(frozen)
        judge = _Judge(frozen, stage, carried, allow_mixed_environments)
        before = decided.pop() if decided and decided[-1].rung == rung.name else None
        result = judge.result(rows, cells, stored, before)
        decided.append(result)
        seen.judge_first(frozen.sweep_dir, rung.name)
        verdict_file.write(frozen, decided)
        on_decision(result)
        surviving, carried = result.survivors, result.unselected
    promotion = conclusion.conclude(frozen, rungs, decided, waiting, at)
    conclusion.write(frozen.sweep_dir, promotion, load())
    return promotion


@dataclass(frozen=True)
class _Stage:
    """One decision: of a rung, of a look at the last one, or of an amendment to it."""

    rung: RungConfig
    is_last: bool
    count: int | None = None  # of seeds at this look; None: all
    amendment: Amendment | None = None


def _stages(frozen: Frozen, rungs: Sequence[RungConfig]) -> list[_Stage]:
    """The rungs from the bottom up, the last once for each of its looks, then the amendments."""
    lower = [_Stage(rung, is_last=False) for rung in rungs[:-1]]
    last = [_Stage(rung, True, count) for rung in rungs[-1:] for count in frozen.decision.looks or (None,)]
    amended = [_Stage(RungConfig(name=item.rung), True, None, item) for item in frozen.amendments]
    return [*lower, *last, *amended]


def unanswered(rows: pd.DataFrame, cells: Sequence[Cell]) -> dict[str, str]:
    """Run id → what there is instead of an answer, of cells that have none, in the order of the plan."""
    there = set(rows["run_id"])
    found = replicates.unanswered(rows)
    ids = [cell.plan.run_id for cell in cells]
    return {run_id: found.get(run_id, PLANNED) for run_id in ids if run_id in found or run_id not in there}


def serving(frozen: Frozen, frame: pd.DataFrame) -> list[Calibration]:
    """The calibration that fresh seeds of the last rung would be judged with, if there is one by now."""
    rung = frozen.rungs[-1].name
    rows = frame[(frame["rung"] == rung) & (frame["variant"] == REFERENCE)]
    rows = rows[rows["state"] == RunState.complete]
    known = calibration_file.read(frozen.sweep_dir.parent)
    found = calibration.fitting(known, rows, frozen.rule_on(rung).metric)
    return [found] if found else []


def _rows(
    frozen: Frozen, frame: pd.DataFrame, rung: RungConfig, variants: Sequence[str], cells: Sequence[Cell]
) -> pd.DataFrame:
    """The rows of these cells; where they were searched, one that measured too much failed for it."""
    is_asked = frame["run_id"].isin([cell.plan.run_id for cell in cells])
    rows = frame[(frame["rung"] == rung.name) & frame["variant"].isin(variants) & is_asked]
    search = frozen.search
    if search is None or not search.limited_by or rung.name != frozen.rungs[0].name:
        return rows
    names = [str(name) for name in rows.columns]
    measured = ({name: row[name] for name in names if pd.notna(row[name])} for _, row in rows.iterrows())
    over = [search.infeasible(row) is not None for row in measured]
    is_over = pd.Series(over, rows.index, dtype=bool) & (rows["role"] == VARIANT)
    failed: dict[str, object] = {"state": RunState.failed.value, "failure_class": FailureClass.oom.value}
    failed |= {"failed_attempts": 2, "failed_hosts": 2}  # no retry would change it
    return rows.assign(**{name: rows[name].mask(is_over, value) for name, value in failed.items()})


@dataclass(frozen=True)
class _Judge:
    """Decides one stage; ``carried`` are the variants that are run there only to measure transfer."""

    frozen: Frozen
    stage: _Stage
    carried: Sequence[str]
    allow_mixed_environments: bool

    @property
    def rule(self) -> DecisionRule:
        return self.frozen.rule_on(self.stage.rung.name)

    def result(
        self,
        rows: pd.DataFrame,
        cells: Sequence[Cell],
        stored: dict[str, RungResult],
        earlier: RungResult | None = None,
    ) -> RungResult:
        """The stored decision where it was based on the same, else a new one after the ``earlier`` look."""
        known, said = self._calibrations(rows)
        rung, is_last = self.stage.rung, self.stage.is_last
        limits = changed_limits.said(self.frozen.sweep_dir, rung.name)
        inputs = verdict_file.inputs_sha256(self.frozen, rung, is_last, self.carried, rows, known, limits)
        before = stored.get(rung.name)
        if before is not None and before.inputs_sha256 == inputs:
            return before
        depth = cells[0].plan.depth if cells else None
        said = [*said, *limits]
        verdicts = [replace(item, notes=[*item.notes, *said]) for item in self._verdicts(rows, known)]
        if self.stage.count is not None and self.stage.count < self.rule.looks[-1]:
            undecidable = deferred.deferred(cells, self.rule)
            verdicts = looks.interim(verdicts, self.stage.count, self.rule.looks[-1], undecidable)
        if earlier:
            verdicts = looks.merged(earlier.verdicts, verdicts)
        number = self.stage.amendment.number if self.stage.amendment else 0
        return RungResult(rung.name, depth, verdicts, inputs, number)

    def _calibrations(self, rows: pd.DataFrame) -> tuple[list[Calibration], list[str]]:
        """The noise that was measured in time under this rung's conditions, and what came too late."""
        mine = rows[(rows["variant"] == REFERENCE) & (rows["state"] == RunState.complete)]
        known = calibration_file.read(self.frozen.sweep_dir.parent)
        metrics = dict.fromkeys([self.rule.metric, self.frozen.decision.metric])

        def serving(items: Sequence[Calibration]) -> list[Calibration]:
            found = (calibration.fitting(items, mine, metric) for metric in metrics)
            return [item for item in found if item]

        in_time = hindsight.in_time(known, rows)
        used, late = serving(in_time), serving([item for item in known if item not in in_time])
        chaotic = rounding.said(known, mine, self.rule.metric, self.rule.min_effect)
        return used, [*chaotic, *hindsight.too_late(late)]

    def _verdicts(self, rows: pd.DataFrame, known: Sequence[Calibration]) -> list[Verdict]:
        frozen, rung, is_last = self.frozen, self.stage.rung, self.stage.is_last
        here = [cell for cell in frozen.cells if cell.rung == rung.name]
        waiting = deferred.deferred(here, self.rule)
        rule, unmeasured = self.rule, list[str]()
        if isinstance(here[0].plan, CommandPlan):
            rule, unmeasured = measured_axes.judged(rows, rule, "what the command tells")
        found = gate.decide(
            rows,
            rule,
            rung,
            is_last,
            self.allow_mixed_environments,
            known=known,
            apart=[*self.carried, *waiting],
            usual=frozen.decision.metric,
        )
        if isinstance(here[0].plan, CommandPlan):
            found = [_of_a_command(verdict) for verdict in found]
        found = [deferred.undecided(verdict, waiting, is_last) for verdict in found]
        if frozen.search and rung.name == frozen.rungs[0].name:
            found = [gate.only_if_better(verdict, self.rule) for verdict in found]
        found = [_with_left_out(verdict, known) for verdict in found]
        found = hindsight.Hindsight.of(frozen, rung.name).marked(found, list(rows["run_id"]))
        verdicts = [verdict for verdict in found if verdict.variant not in self.carried]
        measured = [verdict for verdict in found if verdict.variant in self.carried]
        if not is_last:
            num_variants = len({cell.variant for cell in frozen.cells if not is_reference(cell.variant)})
            num = frozen.decision.num_unselected_of(num_variants)
            verdicts = unselected.choose(verdicts, self.carried, num=num, identity=frozen.identity)
        verdicts += [unselected.only_measured(verdict, self.rule) for verdict in measured]
        said = [*unmeasured, *self._said(here)]
        return [replace(verdict, notes=[*verdict.notes, *said]) for verdict in verdicts]

    def _said(self, here: Sequence[Cell]) -> list[str]:
        """What the reader of a last verdict must know of the text and of the level it was decided at."""
        if amendment := self.stage.amendment:
            planned = self.frozen.rule_on(amendment.amends).alpha
            return [wording.amended(amendment, planned)]
        if not self.stage.is_last:
            return []
        found = last_rung.said(self.frozen.decision, self.frozen.rungs, here[0].plan.config)
        return [found] if found else []


def _of_a_command(verdict: Verdict) -> Verdict:
    """Nothing calibrates the noise of a command."""
    more = wording.MORE_SEEDS, wording.MORE_SEEDS_OF_A_COMMAND
    return replace(verdict, reasons=[reason.replace(*more) for reason in verdict.reasons])


def _with_left_out(verdict: Verdict, known: Sequence[Calibration]) -> Verdict:
    """With a note where a calibration would have served, and these runs' own noise is too far from it."""
    effect = verdict.effect
    near = [item for item in known if item.metric == verdict.evidence.metric]
    if not near or effect.noise_source != calibration.OWN or effect.noise_sd is None:
        return verdict
    said = (
        f"the calibration of {near[0].of} of {near[0].measured_at[:10]} (SD {near[0].sd:.3g}, {near[0].df} "
        f"degrees of freedom) is left out: significantly apart from the noise of these runs, or of another "
        f"kind (SD {effect.noise_sd:.3g}, {effect.df:.3g})"
    )
    return replace(verdict, notes=[*verdict.notes, said])


def _verify(frozen: Frozen) -> None:
    """Refuse to decide by a plan or rule that is not the frozen one."""
    on_disk = load_frozen(frozen.sweep_dir.parent, frozen.name)
    if on_disk.sha256 != frozen.sha256:
        raise FrozenPlanError(
            f"{frozen.sweep_dir} has hash {on_disk.sha256[:12]}, but must have {frozen.sha256[:12]}, with "
            "which this promotion began; restore it, or start again under a new name"
        )
