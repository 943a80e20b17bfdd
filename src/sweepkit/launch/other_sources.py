"""Finished runs that cannot be handed out as they are: other code made them, or their weights are gone.

A run is named by what it is to compute, not by the code that does (``config/sources.py``): whoever asks for
it after an edit finds the old record. That is said, with both digests, and there are two ways on: to run it
again, which keeps the old record aside in the run's folder, or to accept it, which its record then says. What
was measured on a run's kept weights goes the same way. Where it is to be measured anew and the weights were
dropped, running it again is the only one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from sweepkit import fsio
from sweepkit.code import tree
from sweepkit.config import sources
from sweepkit.errors import SweepkitError
from sweepkit.launch import claims, job, probe
from sweepkit.launch.ledger import Run
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results import diagnosed
from sweepkit.results.conditions import Accepted
from sweepkit.results.record import RunDir, RunRecord, RunState

#: Folder in a run's own, with one folder for every record that was set aside.
EARLIER = "earlier"


class OtherSources(StrEnum):
    """What is done with finished runs of other code."""

    refuse = "refuse"
    rerun = "rerun"
    accept = "accept"


def settle(runs: Iterable[Run], answer: OtherSources) -> bool:
    """Refuse, set aside or accept those of ``runs`` that cannot be handed out; whether there were any.

    Raises:
        SweepkitError: there are some, and nobody has said what to do; or somebody holds one.
    """
    runs = list(runs)
    found = [run for run in runs if is_of_other(run)]
    if found and answer is OtherSources.refuse:
        raise SweepkitError(_refusal(found))
    for run in found:
        if answer is OtherSources.accept:
            _accept(run)
        elif not run.record or run.record.is_of(_digest_for(run)):
            run.run_dir.evaluation_path(run.plan.evaluation_key).unlink(missing_ok=True)
        else:
            print(f"{run.run_id}: what other code left is kept in {set_aside(run.run_dir)}")
        run.refresh()
    gone = [run for run in runs if _lacks_weights(run, thorough=answer is OtherSources.rerun)]
    if gone and answer is not OtherSources.rerun:
        raise SweepkitError(_no_weights(gone))
    for run in gone:
        print(f"{run.run_id}: trained again; what it left is kept in {set_aside(run.run_dir)}")
        run.refresh()
    return bool(found or gone)


def is_of_other(run: Run) -> bool:
    """Whether other code has finished a run, or evaluated it, and nobody has accepted that for this one."""
    if run.record is None or not (run.is_final or run.record.state is RunState.trained):
        return False
    return not all(record.is_of(_digest_for(run)) for record in _records(run))


def _digest_for(run: Run) -> str:
    """The sources that a run is to be made by: of its command, of its frozen tree, or those that are here."""
    if isinstance(run.plan, CommandPlan):
        return run.plan.program.code
    if run.plan.tree in (None, tree.here()):
        return sources.digest()
    results_dir = run.run_dir.path.parents[1]
    known = probe.sources_of(tree.root(results_dir) / str(run.plan.tree))
    return known or str(run.record.sources if run.record else None)  # a tree that is gone says nothing


def _records(run: Run) -> list[RunRecord]:
    """The run's own, and that of the evaluation that is asked for."""
    found = (run.record, run.run_dir.read_evaluation(run.plan.evaluation_key))
    return [record for record in found if record is not None]


def _lacks_weights(run: Run, thorough: bool) -> bool:
    """Whether a run has to be evaluated and cannot be; ``thorough``: damaged weights are none either."""
    if run.record is None or run.record.state is not RunState.trained:
        return False
    path, kept = run.run_dir.weights_path, run.record.weights
    if kept is None or not path.exists():
        return True
    return thorough and fsio.sha256(path) != kept.sha256


def set_aside(run_dir: RunDir) -> Path:
    """Move what a run has left into a folder of its own, the record last; asked again, it goes on.

    Raises:
        SweepkitError: somebody is at it.
    """
    with _held(run_dir) as record:
        folder = run_dir.path / EARLIER / f"{record.sources}-{record.attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        left = (
            run_dir.checkpoints_path, run_dir.attempts_path, run_dir.metrics_path, run_dir.log_path,
            run_dir.weights_path, run_dir.evaluations_path, run_dir.scores_path,
            run_dir.progress_path, run_dir.path / diagnosed.FILE, run_dir.record_path,
        )  # fmt: skip
        for path in left:
            with contextlib.suppress(FileNotFoundError):
                path.replace(folder / path.name)
        return folder


def _accept(run: Run) -> None:
    digest = _digest_for(run)
    mine = Accepted(digest, job.now())
    with _held(run.run_dir) as record:
        if not record.is_of(digest):
            record.accepted.append(mine)
            run.run_dir.write_record(record)
        evaluation = run.run_dir.read_evaluation(run.plan.evaluation_key)
        if evaluation is not None and not evaluation.is_of(digest):
            evaluation.accepted.append(mine)
            run.run_dir.write_evaluation(evaluation)


@contextlib.contextmanager
def _held(run_dir: RunDir) -> Iterator[RunRecord]:
    """The record of a run that nobody else touches meanwhile."""
    claim = claims.claim(run_dir)
    if claim is None:
        raise SweepkitError(
            f"{run_dir.path} is held by a running process, but must be free; wait, or cancel it"
        )
    with claim:
        record = run_dir.read_record()
        if record is None:
            raise SweepkitError(f"{run_dir.record_path} has gone meanwhile; run the same command again")
        yield record


def _refusal(found: list[Run]) -> str:
    all_of_them = {str(record.sources) for run in found for record in _records(run) if record.sources}
    mine = _digest_for(found[0])
    theirs = ", ".join(sorted(all_of_them - {mine}))
    some = (
        f"{found[0].run_id} was" if len(found) == 1 else f"{found[0].run_id} and {len(found) - 1} more were"
    )
    return (
        f"{some} made by other code (sources {theirs}), but must be of the code that is here now (sources "
        f"{mine}): something that computes was edited. Restore it; or say --rerun, which keeps "
        "the old records aside and runs again, or --accept-code, which takes the results and has the records "
        "say so"
    )


def _no_weights(gone: list[Run]) -> str:
    some = f"{gone[0].run_id} has" if len(gone) == 1 else f"{gone[0].run_id} and {len(gone) - 1} more have"
    return (
        f"{some} been trained and evaluated in another way, and no weights are there to be evaluated as "
        "asked (dropped, or trainer.keep_weights=false); say --rerun, which keeps what there is aside and "
        "trains again, or ask for the evaluation that was made"
    )
