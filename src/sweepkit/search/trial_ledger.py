"""The runs of a search: those that were frozen, and those of every trial as it is proposed. With a ladder,
those of its lowest rung.

Imports no Optuna: a launch that only looks after workers, and whatever else only looks, needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sweepkit.config import typed
from sweepkit.errors import FrozenPlanError
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.plan.command_plan import Plan
from sweepkit.printable import counted
from sweepkit.results import flatten
from sweepkit.results.pruned import Pruner
from sweepkit.results.record import RunDir, RunState
from sweepkit.search import enough, trial_outcome
from sweepkit.search.trial_outcome import Outcome, TrialState
from sweepkit.sweep import expand, points, trials
from sweepkit.sweep.cell import HORIZON, Cell
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.trials import Trial


class TrialLedger(Ledger):
    """A ledger that grows; runs that a decided trial no longer needs leave it.

    Args:
        labels: run_id → what to call it, filled as trials come.

    Attributes:
        trials: all proposals, in their order.
        end: why nothing more is proposed, where that is written down.
        limit: why nothing more is proposed by a limit of the search, where none is written down yet.
        outcomes: trial number → how it ended, for those that have.
        num_to_ask: how many trials are still to be proposed.
        numbers: run_id → the trial that it is of.
    """

    def __init__(self, sweep: Frozen, results_dir: Path, labels: dict[str, str] | None = None) -> None:
        self.spec = spec_of(sweep)
        self.pruner = Pruner(sweep.name, sweep.identity, typed.dump(self.spec.pruning))
        self.rule = sweep.decision
        self.sweep_dir = sweep.sweep_dir
        self.trials: list[Trial] = []
        self.end: str | None = None
        self.limit: str | None = None
        self.outcomes: dict[int, Outcome] = {}
        self.num_to_ask = 0
        self.numbers: dict[str, int] = {}
        self._num_dead = 0
        self._num_lines = 0
        self._num_reopened = sweep.num_reopened
        self._reopened_at = 0
        self._number_of: dict[tuple[str, ...], int] = {}
        self._num_seeds = max(1, len(sweep.stacks[0].seeds))
        below = [*sweep.stacks[0].below, *expand.above(sweep.overrides)]
        reference = points.reference(self.spec, below, sweep.fixed[0].own.config)
        self._has_reference = points.holds(self.spec, reference)
        self._live: dict[str, Run] = {}
        self._undecided: dict[int, list[Run]] = {}
        self._reader = trials.Reader(sweep.sweep_dir)
        self._results_dir = results_dir
        self._of_trials: dict[str, Run] = {}
        self._labels = {} if labels is None else labels
        fixed_cells = [cell for cell in sweep.fixed if cell.rung == sweep.rungs[0].name]
        self._labels |= {cell.plan.run_id: _label(cell, "") for cell in fixed_cells}
        fixed = [cell.plan for cell in fixed_cells]
        self._fixed = {plan.run_id for plan in fixed}
        self._horizons = {cell.plan.run_id for cell in fixed_cells if cell.role == HORIZON}
        super().__init__(fixed, results_dir)

    def refresh(self, everything: bool = False) -> None:
        """Look again, for new trials too."""
        for trial in self._reader.new():
            self._num_lines += 1
            if trial.end is not None:
                self.end = trial.end if self._num_lines > self._num_reopened else None
                continue
            self.trials.append(trial)
            if self._num_lines <= self._num_reopened:
                self._reopened_at = trial.number + 1
            plans = [cell.plan for cell in trial.cells]
            if plans:
                self._number_of.setdefault(tuple(plan.run_id for plan in plans), trial.number)
            for cell in trial.cells:
                self.numbers.setdefault(cell.plan.run_id, trial.number)
                self._labels.setdefault(cell.plan.run_id, _label(cell, f"trial {trial.number} "))
            self.add(plan for plan in plans if plan.run_id not in self._of_trials)
            self._undecided[trial.number] = [self._run(trial, index) for index in range(len(plans))]
        for run in list(self._live.values()):
            run.refresh()
            if run.is_final:
                del self._live[run.run_id]
        if everything:
            super().refresh(everything)
            self._live = {run.run_id: run for run in self.runs.values() if not run.is_final}
        for number, runs in list(self._undecided.items()):
            found = self._outcome(self.trials[number], runs)
            if found is not None:
                self.outcomes[number] = found
                self._num_dead += found.state is TrialState.dead and self.trials[number].counts
                del self._undecided[number]
                self._drop(runs)
        self.num_to_ask = self._num_to_ask()
        self.to_come = self.num_to_ask * self._num_seeds

    @property
    def runs_to_come(self) -> int:
        """The reference's are in the list from the start, also where it will be the first trial."""
        known = self._num_seeds if self.to_come and not self.trials and self._has_reference else 0
        return max(0, self.to_come - known)

    def _outcome(self, trial: Trial, runs: Sequence[Run]) -> Outcome | None:
        if trial.same_as is not None:
            return self.outcomes.get(trial.same_as)
        return trial_outcome.decide(trial, runs, self.rule, self.spec)

    def add(self, plans: Iterable[Plan]) -> None:
        """Take further runs into the list."""
        for plan in plans:
            super().add([plan])
            self._live.setdefault(plan.run_id, self.runs[plan.run_id])

    def open(self) -> list[Run]:
        """Runs that are not done; of thousands, most are."""
        return list(self._live.values())

    def startable(self) -> list[Run]:
        """Runs that are not done and held by nobody alive."""
        return [run for run in self._live.values() if run.is_startable]

    def held(self) -> list[Run]:
        """Runs that somebody alive holds."""
        return [run for run in self._live.values() if run.is_held]

    @property
    def num_counted(self) -> int:
        """How many of the ``n_trials`` were proposed."""
        return sum(trial.counts for trial in self.trials)

    def _num_to_ask(self) -> int:
        """Dead trials are made up for, at most as many as were wanted in the first place."""
        if self.end is not None or (self.sweep_dir / trials.STOP_FILE).exists():
            return 0
        wanted = self.spec.n_trials + min(self._num_dead, self.spec.n_trials)
        left = max(0, wanted - self.num_counted)
        self.limit = self._limit() if left else None
        return 0 if self.limit else left

    def _limit(self) -> str | None:
        """Why a search ends that has trials left."""
        spec, since = self.spec, self._reopened_at
        if spec.patience is not None:
            count = enough.trials_without_gain(self.trials, self.outcomes, self.rule.min_effect, since)
            if count >= spec.patience:
                gain = f"better by min_effect ({self.rule.min_effect:g})"
                were = f"{counted(count, 'trial')} in a row {'was' if count == 1 else 'were'}"
                return f"{were} no {gain} than those before (patience)"
        if spec.max_hours is not None:
            mine = {
                cell.plan.run_id: self._of_trials[cell.plan.run_id]
                for trial in self.trials[since:]
                if not trial.is_earlier
                for cell in trial.cells
            }
            if (taken := enough.hours(mine.values())) >= spec.max_hours:
                return f"its runs were at work for {taken:.2f} hours (max_hours={spec.max_hours:g})"
        return None

    def for_more(self, number: int) -> str:
        """The command that leads to so many further trials: what is open first, else an amendment."""
        command = f"sweepkit resume {self.sweep_dir.name}"
        is_open = self.num_to_ask or self.open()
        return command if is_open else f"{command} --amend-to {self.spec.n_trials + number}"

    def trial_of(self, cells: Sequence[Cell]) -> int | None:
        """The number of the trial that has these very runs, if there is one."""
        return self._number_of.get(tuple(cell.plan.run_id for cell in cells))

    def would_be_answered(self, trial: Trial) -> bool:
        """Whether the runs there are decide that trial, one way or the other."""
        runs = [Run(cell.plan, RunDir.of(self.results_dir, cell.plan.run_id)) for cell in trial.cells]
        for run in runs:
            run.refresh()
        found = self._outcome(trial, runs)
        return found is not None and found.state in (TrialState.complete, TrialState.infeasible)

    def is_judged(self, run_id: str) -> bool:
        """Whether a pruning rule may stop this run: not the reference, nor a variant of a fixed axis."""
        return run_id in self._of_trials and run_id not in self._fixed

    def peers(self, run: Run) -> list[Run]:
        """Other runs of the search with that run's seed and of its length, but those that are no answer.

        What is infeasible may have the lowest losses, and would leave nothing that is not.
        """
        known: Sequence[Run] = [*self._of_trials.values(), *self.runs.values()]
        unique = {item.run_id: item for item in known if item.run_id not in self._horizons}
        infeasible = {
            cell.plan.run_id
            for number, found in self.outcomes.items()
            if found.state is TrialState.infeasible
            for cell in self.trials[number].cells
        }
        return [
            item
            for item in unique.values()
            if item.run_id not in infeasible | {run.run_id}
            and item.plan.seed == run.plan.seed
            and not (item.run_id in self._fixed and self._breaks_a_limit(item))
        ]

    def _breaks_a_limit(self, run: Run) -> bool:
        """Whether a run that need not be of a trial measured more than a trial's may."""
        record = run.record
        if record is None or record.state is not RunState.complete:
            return False
        return self.spec.infeasible(flatten.record_row(record)) is not None

    def _run(self, trial: Trial, index: int) -> Run:
        plan = trial.cells[index].plan
        run = self.runs.get(plan.run_id) or self._of_trials.get(plan.run_id)
        run = run or Run(plan, RunDir.of(self._results_dir, plan.run_id))
        run.pruner = None if run.run_id in self._fixed else self.pruner
        self._of_trials[plan.run_id] = run
        return run

    def _drop(self, runs: Sequence[Run]) -> None:
        """Nobody needs to start what is left of a decided trial, unless another one needs it."""
        needed = {run.run_id for others in self._undecided.values() for run in others} | self._fixed
        for run in runs:
            if not run.is_final and run.run_id not in needed:
                self.runs.pop(run.run_id, None)
                self._live.pop(run.run_id, None)


def _label(cell: Cell, trial: str) -> str:
    return f"{trial}{cell.variant} seed {cell.plan.seed}"


def spec_of(sweep: Frozen) -> SearchSpec:
    """What a sweep searches. Raises FrozenPlanError where it does not."""
    if sweep.search is None:
        raise FrozenPlanError(
            f"sweep {sweep.name} does not search, but must have a search: block; use sweep or resume"
        )
    return sweep.search
