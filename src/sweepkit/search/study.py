"""Optuna's side of a search: ``results/<sweep>/study.journal``, which optuna-dashboard opens.

The journal is a copy. ``trials.jsonl`` and the run folders are the truth, and ``catch_up`` brings the study
to it: it adds what the study lacks, tells what has ended, and fails what was asked by a process that died
before it wrote the trial down. So a deleted journal is made anew, and a kill costs at most one asking.

Optuna's own lock would make everybody wait half a minute for a holder that was killed, so nothing here locks:
the caller holds the search's claim, which notices at once.

The sampler is made anew for every trial, seeded by the search's seed and the trial's number: what is proposed
is a function of those and of what has been told, whichever process asks.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState as OptunaState

from sweepkit import fsio
from sweepkit.search import space
from sweepkit.search.outcome import Outcome, TrialState
from sweepkit.sweep import trials
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.trials import Trial

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

FILE = "study.journal"
NUMBER = "trial"  # user attribute: the number in trials.jsonl
CONSTRAINT = "peak_memory_gib"
_STATES = {
    TrialState.complete: OptunaState.COMPLETE,
    TrialState.pruned: OptunaState.PRUNED,
    TrialState.failed: OptunaState.FAIL,
    TrialState.dead: OptunaState.FAIL,
}


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
        self._told: dict[int, Outcome] = {}
        self._distributions = space.distributions(spec.space)
        with fsio.explain_full_disk(self._path):
            trials.mend(self._path)
            storage, name = _storage(self._path), sweep_dir.name
            try:
                self._study = optuna.load_study(storage=storage, study_name=name)
            except KeyError:
                self._study = optuna.create_study(storage=storage, study_name=name, direction="minimize")

    def ask(self, number: int) -> dict[str, Any]:
        """The sampler's proposal for trial ``number``."""
        with fsio.explain_full_disk(self._path):
            self._study.sampler = sampler(self._spec, number)
            trial = self._study.ask(fixed_distributions=self._distributions)
            trial.set_user_attr(NUMBER, number)
        return {key: trial.params[key] for key in self._spec.space}

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
            for trial in known:
                outcome = outcomes.get(trial.number)
                if outcome is None or self._told.get(trial.number) is not outcome:
                    self._update(trial, there.get(trial.number), outcome)
                    self._told |= {trial.number: outcome} if outcome else {}

    def _update(self, trial: Trial, there: FrozenTrial | None, outcome: Outcome | None) -> None:
        wanted = _STATES[outcome.state] if outcome else OptunaState.RUNNING
        if there is not None and there.state == wanted:
            return
        if there is not None and there.state == OptunaState.RUNNING and outcome is not None:
            self._tell(there, outcome)
        elif there is None or outcome is not None:  # a failed run that was run again has another outcome now
            self._add(trial, outcome)

    def _tell(self, there: FrozenTrial, outcome: Outcome) -> None:
        trial = optuna.trial.Trial(self._study, there._trial_id)
        for name, value in _attributes(outcome).items():
            trial.set_user_attr(name, value)
        if outcome.loss_at is not None:
            trial.report(outcome.loss_at[1], outcome.loss_at[0])
        if outcome.excess_gib is not None:
            trial.set_constraint(CONSTRAINT, outcome.excess_gib)
        if outcome.state is TrialState.complete:
            self._study.tell(trial, outcome.value)
        else:
            self._study.tell(trial, state=_STATES[outcome.state])

    def _add(self, trial: Trial, outcome: Outcome | None) -> None:
        excess = outcome.excess_gib if outcome else None
        self._study.add_trial(
            optuna.trial.create_trial(
                state=_STATES[outcome.state] if outcome else OptunaState.RUNNING,
                value=outcome.value if outcome else None,
                params=trial.params,
                distributions=self._distributions,
                user_attrs={NUMBER: trial.number} | (_attributes(outcome) if outcome else {}),
                intermediate_values=dict([outcome.loss_at]) if outcome and outcome.loss_at else None,
                constraints={CONSTRAINT: excess} if excess is not None else None,
            )
        )


def load(sweep_dir: Path) -> optuna.Study:
    """The study as Optuna sees it, to look at. Raises KeyError where there is none."""
    return optuna.load_study(storage=_storage(sweep_dir / FILE), study_name=sweep_dir.name)


def sampler(spec: SearchSpec, number: int) -> BaseSampler:
    """The sampler for trial ``number``."""
    seed = int(fsio.digest([spec.seed, number])[:8], 16)
    if spec.sampler == "tpe":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)
    if spec.sampler == "gp":
        return GPSampler(seed=seed)
    if spec.sampler == "qmc":  # one sequence for all trials, so one seed; its place in it is in the study
        first = RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return QMCSampler(seed=spec.seed, scramble=True, independent_sampler=first)
    return RandomSampler(seed=seed)


def _attributes(outcome: Outcome) -> dict[str, Any]:
    """What the dashboard shows beside the value."""
    runs = {"runs": list(outcome.run_ids)} if outcome.run_ids else {}
    return runs | ({"reason": outcome.reason} if outcome.reason else {})


def _storage(path: Path) -> JournalStorage:
    return JournalStorage(_Journal(str(path), lock_obj=_Unlocked()))  # type: ignore[arg-type]
