"""Asking: one more trial, written down with its runs before anybody starts them.

Askers take turns, by a claim in the sweep's folder that outlives no process. In its turn an asker first
tells Optuna what has ended, whoever ran it, then counts: ``n_trials`` in total, however often and by
however many the search is resumed. A point that was tried is not tried again, and neither it nor a point
that is no valid configuration is one of the ``n_trials``. Trials that others are still running are in the
study as running, and the sampler lies about them (TPE) or spreads (GP, QMC), so that a slot is refilled as
soon as its run ends.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sweepkit.errors import ConfigError
from sweepkit.launch import other_sources
from sweepkit.launch.ledger import Run
from sweepkit.launch.other_sources import OtherSources
from sweepkit.search import earlier, turn, untried, warm_start
from sweepkit.search.earlier import Around
from sweepkit.search.trial_ledger import TrialLedger, spec_of
from sweepkit.sweep import expand, points, trials, warm_notes
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.points import Params
from sweepkit.sweep.trials import Trial

if TYPE_CHECKING:
    from sweepkit.search.study import Study

#: So many proposals in a row without a run of their own end a search.
_MOST_IDLE = 200


class Proposals:
    """Proposes the trials of one search.

    Args:
        overrides: the command line's; of them only how runs are carried out may differ from what was frozen.
        ledger: this process's view of the search.
        other_sources: what is done with finished runs that other code made and a trial asks for.

    Raises:
        FrozenPlanError: the configuration folder has changed since the sweep was frozen.
    """

    def __init__(
        self,
        sweep: Frozen,
        overrides: Sequence[str],
        ledger: TrialLedger,
        other_sources: OtherSources = OtherSources.refuse,
    ) -> None:
        self._spec = spec_of(sweep)
        self._sweep = sweep
        self._overrides = tuple(overrides)
        self._ledger = ledger
        self._other_sources = other_sources
        self._known_around: Around | None = None
        self._study: Study | None = None  # importing Optuna takes a moment; not every process asks
        points.check_unchanged(sweep.stacks, self._overrides, sweep.fixed)
        given = [*sweep.stacks[0].below, *expand.above(self._overrides)]
        reference = points.reference(self._spec, given, sweep.fixed[0].own.config)
        self._named = points.named(self._spec, reference)
        self._warm = warm_notes.read(sweep.sweep_dir)

    @property
    def _first(self) -> list[Params]:
        """The points that come before any proposal: those that are named, then those of a warm start."""
        return [*self._named, *(point for item in self._warm or () for point in item.first)]

    def begin(self) -> None:
        """Before anything is started, take over what there is already.

        Raises:
            SweepkitError: other code has finished some of it, and nobody has said what to do.
        """
        with turn.taken(self._sweep.sweep_dir):
            self._ledger.refresh()
            self._take_over()

    def ask(self, stop: Callable[[], bool]) -> bool:
        """Propose one more trial; False when none is wanted any more, or asked to stop.

        Raises:
            SweepkitError: other code has finished runs of it, and nobody has said what to do.
        """
        with turn.taken(self._sweep.sweep_dir, stop) as held:
            if not held:
                return False
            ledger, study = self._ledger, self._open()
            ledger.refresh()
            self._take_over()
            study.catch_up(ledger.trials, ledger.outcomes)
            self._note_limit()
            if ledger.num_to_ask <= 0:
                return False
            trial = self._propose(study, len(ledger.trials))
            other_sources.settle(self._runs([trial]), self._other_sources)
            trials.append(self._sweep.sweep_dir, trial)
            return trial.end is None

    def settle(self) -> None:
        """Tell Optuna what has ended."""
        with turn.taken(self._sweep.sweep_dir):
            self._ledger.refresh()
            self._note_limit()
            self._open().catch_up(self._ledger.trials, self._ledger.outcomes)

    def _note_limit(self) -> None:
        """Write down why a search ends before its trials are used up, so that it has ended for all."""
        if self._ledger.limit is not None and self._ledger.end is None:
            trials.append(self._sweep.sweep_dir, Trial(len(self._ledger.trials), {}, end=self._ledger.limit))
            self._ledger.refresh()

    def _open(self) -> Study:
        if self._study is None:
            from sweepkit.search.study import Study

            self._study = Study(self._sweep.sweep_dir, self._spec)
        return self._study

    def _take_over(self) -> None:
        """Before anything is proposed, runs of this space that have ended already become its trials."""
        if any(not trial.is_earlier for trial in self._ledger.trials):
            return
        self._start_warm()
        if self._other_sources is OtherSources.refuse:
            room = max(0, self._ledger.num_to_ask - len(self._first))
            named = [self._trial(number, dict(point), number) for number, point in enumerate(self._named)]
            there = itertools.islice(self._there(), room)
            other_sources.settle(self._runs([*named, *there]), self._other_sources)
        for trial in self._there():
            if self._ledger.num_to_ask <= len(self._first):
                break
            runs = self._runs([trial])
            if self._other_sources is OtherSources.accept:
                other_sources.settle(runs, self._other_sources)
            if not any(map(other_sources.is_of_other, runs)):  # to be run again where they are proposed
                trials.append(self._sweep.sweep_dir, trial)
                self._ledger.refresh()

    def _start_warm(self) -> None:
        """Once, before anything else: tell what the searches have found that this one starts from."""
        if not self._spec.warm_start or self._warm is not None:
            return

        ledger = self._ledger
        before = {untried.key(trial.params) for trial in ledger.trials}  # of one that was killed at it

        def is_answered(params: Params) -> bool:
            trial = self._trial(0, params, None)
            return untried.key(params) in before or (trial.counts and ledger.would_be_answered(trial))

        told, notes = warm_start.sort(
            self._sweep, self._around(), ledger.results_dir, is_answered, self._named
        )
        for source, params in told:
            trial = self._trial(len(ledger.trials), params, None)
            runs = self._runs([trial])
            if self._other_sources is not OtherSources.rerun:
                other_sources.settle(runs, self._other_sources)
            if runs and not any(map(other_sources.is_of_other, runs)):
                trials.append(self._sweep.sweep_dir, dataclasses.replace(trial, is_earlier=True, warm=source))
                ledger.refresh()
        warm_notes.write(self._sweep.sweep_dir, notes)
        self._warm = notes

    def _around(self) -> Around:
        if self._known_around is None:
            self._known_around = Around(self._sweep, self._overrides)
        return self._known_around

    def _there(self) -> Iterator[Trial]:
        """Points that have ended already, each once; whoever takes one over does so before the next."""
        tried = {untried.key(trial.params) for trial in self._ledger.trials}
        tried |= {untried.key(point) for point in self._first}  # they come first, and find their runs
        for params in earlier.points_of(self._around(), self._ledger.results_dir):
            trial = self._trial(len(self._ledger.trials), params, None)
            if untried.key(params) not in tried and trial.counts and self._ledger.would_be_answered(trial):
                tried.add(untried.key(params))
                yield dataclasses.replace(trial, is_earlier=True)

    def _runs(self, some: Sequence[Trial]) -> list[Run]:
        return [Run.of(cell.plan, self._ledger.results_dir) for trial in some for cell in trial.cells]

    def _propose(self, study: Study, number: int) -> Trial:
        """The next trial; a line that is none where there are no more."""
        known = self._ledger.trials
        done, first = {trial.point for trial in known}, self._first
        point = next((index for index in range(len(first)) if index not in done), None)
        if point is not None:
            return self._trial(number, dict(first[point]), point)
        asked = [trial for trial in reversed(known) if not trial.warm]
        idle = next((back for back, trial in enumerate(asked) if trial.counts), len(asked))
        if idle >= _MOST_IDLE:
            why = f"{idle} proposals in a row were no valid configuration, or the runs of another trial"
            return Trial(number, {}, end=f"{why}; narrow the space")
        tried = {untried.key(trial.params) for trial in known}
        left = untried.points(self._spec.space, tried)
        if left is not None and not left:
            return Trial(number, {}, end="every point of the space was tried")
        params, repeats = study.ask(
            number, lambda proposed: untried.key(proposed) in tried, is_endless=left is None
        )
        if params is None and left:
            params = untried.draw(left, self._spec.seed, number)
        if params is None:
            return Trial(number, {}, end=f"the sampler repeated points {repeats} times in a row")
        return dataclasses.replace(self._trial(number, params, None), repeats=repeats)

    def _trial(self, number: int, params: Params, point: int | None) -> Trial:
        labels = {cell.variant: cell.variant_key for item in self._ledger.trials for cell in item.cells}
        try:
            cells = points.cells(
                params,
                stacks=self._sweep.stacks,
                extra=self._overrides,
                fixed=self._sweep.fixed,
                labels=labels,
                constraints=self._spec.parsed,
            )
        except ConfigError as error:  # fields that are right one by one, and wrong together
            return Trial(number, params, point, error=str(error))
        first = self._sweep.rungs[0].name
        here = tuple(cell for cell in cells if cell.rung == first)
        if (same := self._ledger.trial_of(here)) is not None:
            return Trial(number, params, point, same_as=same)
        return Trial(number, params, point, here, above=tuple(cell for cell in cells if cell.rung != first))
