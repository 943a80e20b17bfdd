"""Optuna's side of a search: ``results/<sweep>/study.journal``, which optuna-dashboard opens.

The journal is a copy. ``trials.jsonl`` and the run folders are the truth, and ``catch_up`` brings the study
to it: it adds what the study lacks, tells what has ended, and fails what was asked by a process that died
before it wrote the trial down. So a deleted journal is made anew, and a kill costs at most one asking.

Optuna's own lock would make everybody wait half a minute for a holder that was killed, so nothing here locks:
the caller holds the search's claim, which notices at once.

A trial without values of its own (it diverged, say) is told as infeasible, with the worst that a trial before
it has had: Optuna's samplers ignore what has failed, and take infinity for the best.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweepkit import fsio
from sweepkit.search import samplers, space
from sweepkit.search.trial_outcome import Outcome, TrialState
from sweepkit.sweep import points, trials
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.trials import Trial

FILE = "study.journal"
NUMBER = "trial"  # user attribute: the number in trials.jsonl
#: A constraint beside those on what is measured, above 0 where a trial has no value of its own.
ENDS = "ends"
_HOLDS, _BROKEN = -1.0, 1.0
_DRAWS = 200


@dataclass(frozen=True)
class Told:
    """What Optuna is told of a trial, in its own terms."""

    state: OptunaState
    values: tuple[float, ...] = ()
    constraints: dict[str, float] = field(default_factory=dict)
    loss_at: tuple[int, float] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)  # what the dashboard shows beside the value
    has_own_value: bool = False

    def differs(self, there: FrozenTrial) -> bool:
        """Whether the study says something else; what stands in for a value may be any."""
        if there.state != self.state:
            return True
        return self.state == OptunaState.COMPLETE and (
            there.constraints != self.constraints
            or (self.has_own_value and there.values != list(self.values))
        )


def told_as(outcome: Outcome | None, worst: tuple[float, ...], constrained: Sequence[str]) -> Told:
    """An outcome as it is told.

    Args:
        worst: what stands in for the values of an infeasible trial without any; empty: no scale is known yet,
            and the trial is left out until there is.
        constrained: names of constraints on what is measured. All trials must have the same.
    """
    if outcome is None:
        return Told(OptunaState.RUNNING)
    attributes: dict[str, Any] = {"runs": list(outcome.run_ids)} if outcome.run_ids else {}
    attributes |= {"reason": outcome.reason} if outcome.reason else {}
    if outcome.state is TrialState.pruned:
        return Told(OptunaState.PRUNED, loss_at=outcome.loss_at, attributes=attributes)
    values = outcome.values or worst
    if outcome.state is TrialState.dead or not values:
        return Told(OptunaState.FAIL, attributes=attributes)
    constraints = {ENDS: _BROKEN if outcome.value is None else _HOLDS}
    for name in constrained:
        excess = outcome.excesses.get(name)
        constraints[name] = _HOLDS if excess is None else excess
    return Told(
        OptunaState.COMPLETE,
        values,
        constraints,
        attributes=attributes,
        has_own_value=outcome.value is not None,
    )


def _worst_before(known: Sequence[Trial], outcomes: Mapping[int, Outcome]) -> list[tuple[float, ...]]:
    """For every trial the highest values of those before it, else the first after it; empty without any."""
    every = [found.values if (found := outcomes.get(trial.number)) else () for trial in known]
    worst: tuple[float, ...] = next(filter(None, every), ())
    found_so_far = []
    for values in every:
        found_so_far.append(worst)
        worst = tuple(map(max, worst, values)) if values else worst
    return found_so_far


class _Unlocked:
    """Optuna asks for a lock; the search's claim is one already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


class _Journal(JournalFileBackend):
    """Optuna's, without an fsync for each of a trial's seven lines: all askers would wait for the disk.

    What a power cut takes is told anew.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with Path(self._file_path).open("ab") as file:
            file.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())


class Study:
    """The study of one sweep; the caller holds the search's claim in every call."""

    def __init__(self, sweep_dir: Path, spec: SearchSpec) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._path = sweep_dir / FILE
        self._spec = spec
        self._distributions = space.distributions(spec.space)
        with fsio.explain_full_disk(self._path):
            trials.mend(self._path)
            try:
                self._study = load(sweep_dir)
            except OSError:
                raise
            except Exception:  # whatever a journal ends in that is damaged, another's or not there
                self._path.unlink(missing_ok=True)
                directions = [StudyDirection.MINIMIZE] * spec.num_objectives
                self._study = optuna.create_study(
                    storage=_storage(self._path), study_name=sweep_dir.name, directions=directions
                )

    def ask(
        self, number: int, is_tried: Callable[[dict[str, Any]], bool], is_endless: bool
    ) -> tuple[dict[str, Any] | None, int]:
        """The sampler's first proposal for trial ``number`` that is new, and how many before it were not.

        A model proposes its optimum again whatever its seed. In an endless space one is then drawn at random;
        None where that gives nothing new either, or the caller knows what is left.
        """
        name = self._spec.sampler
        asked = [name] * samplers.TRIES[name] + ["random"] * (_DRAWS if is_endless else 0)
        with fsio.explain_full_disk(self._path):
            for repeats, name in enumerate(asked):
                told = self._study.get_trials(deepcopy=False)
                self._study.sampler = samplers.of(self._spec, number, repeats, name, told)
                try:
                    # at once where all are always proposed: some samplers learn of them together only so
                    trial = self._study.ask({} if self._spec.is_conditional else self._distributions)
                    params = points.typed(self._spec, space.propose(trial, self._spec.space))
                except ValueError:  # enqueued from outside, with what is no choice; ``catch_up`` fails it
                    continue
                finally:
                    self._study.sampler = RandomSampler()  # what is told is no sampler's to end a study by
                # what was enqueued from outside may lie anywhere
                is_in = all(self._spec.space[key].holds(value) for key, value in params.items())
                if is_in and not is_tried(params):
                    trial.set_user_attr(NUMBER, number)
                    return params, repeats
                self._study.tell(trial, state=OptunaState.FAIL)
        return None, len(asked)

    def catch_up(self, known: Sequence[Trial], outcomes: Mapping[int, Outcome]) -> None:
        """Bring the study to what ``trials.jsonl`` and the run folders say."""
        with fsio.explain_full_disk(self._path):
            trials.mend(self._path)
            there: dict[int, FrozenTrial] = {}  # of trials with one number the last counts
            asked: list[FrozenTrial] = []
            for item in self._study.get_trials(deepcopy=False):
                number = item.user_attrs.get(NUMBER, len(known))
                if number < len(known):
                    there[number] = item
                asked += [item] if item.state == OptunaState.RUNNING else []
            live = {item.number for item in there.values()}
            for item in asked:
                if item.number not in live:
                    self._study.tell(item.number, state=OptunaState.FAIL)
            constrained = self._spec.limited_by
            for trial, worst in zip(known, _worst_before(known, outcomes), strict=True):
                told = told_as(outcomes.get(trial.number), worst, constrained)
                self._update(trial, there.get(trial.number), told)

    def _update(self, trial: Trial, there: FrozenTrial | None, told: Told) -> None:
        if there is None:
            self._add(trial, told)
        elif there.state == OptunaState.RUNNING != told.state:
            self._tell(there, told)
        elif told.state != OptunaState.RUNNING and told.differs(there):
            self._add(trial, told)  # a run that failed was run again, and has another outcome now

    def _tell(self, there: FrozenTrial, told: Told) -> None:
        trial = optuna.trial.Trial(self._study, there._trial_id)
        for name, value in told.attributes.items():
            trial.set_user_attr(name, value)
        if told.loss_at is not None:
            trial.report(told.loss_at[1], told.loss_at[0])
        for name, excess in told.constraints.items():
            trial.set_constraint(name, excess)
        if told.state == OptunaState.COMPLETE:
            self._study.tell(trial, told.values)
        else:
            self._study.tell(trial, state=told.state)

    def _add(self, trial: Trial, told: Told) -> None:
        self._study.add_trial(
            optuna.trial.create_trial(
                state=told.state,
                values=told.values or None,
                params=trial.params,
                distributions={key: self._distributions[key] for key in trial.params},
                user_attrs={NUMBER: trial.number} | told.attributes,
                intermediate_values=dict([told.loss_at]) if told.loss_at else None,
                constraints=told.constraints or None,
            )
        )


def load(sweep_dir: Path) -> optuna.Study:
    """The study as Optuna sees it, to look at. Raises KeyError where there is none."""
    return optuna.load_study(storage=_storage(sweep_dir / FILE), study_name=sweep_dir.name)


def _storage(path: Path) -> JournalStorage:
    return JournalStorage(_Journal(str(path), lock_obj=_Unlocked()))  # type: ignore[arg-type]
