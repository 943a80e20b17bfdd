"""Finished runs that other code made: they are not handed out as if this code had made them.

A run is named by what it is to compute, not by the code that does (``config/sources.py``): whoever asks for
it after an edit finds the old record. That is said, with both digests, and there are two ways on: to run it
again, which keeps the old record aside in the run's folder, or to accept it, which its record then says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from sweepkit.config import sources
from sweepkit.errors import SweepkitError
from sweepkit.launch import claims, job
from sweepkit.launch.ledger import Run
from sweepkit.results.record import RunDir, RunRecord

#: Folder in a run's own, with one folder for every record that was set aside.
EARLIER = "earlier"


class OtherSources(StrEnum):
    """What is done with finished runs of other code."""

    refuse = "refuse"
    rerun = "rerun"
    accept = "accept"


def settle(runs: Iterable[Run], answer: OtherSources) -> bool:
    """Refuse, set aside or accept those of ``runs`` that other code has finished; whether there were any.

    Raises:
        SweepkitError: there are some, and nobody has said what to do; or somebody holds one.
    """
    found = [run for run in runs if is_of_other(run)]
    if found and answer is OtherSources.refuse:
        raise SweepkitError(_refusal(found))
    for run in found:
        if answer is OtherSources.accept:
            _accept(run.run_dir)
        else:
            print(f"{run.run_id}: what other code left is kept in {set_aside(run.run_dir)}")
        run.refresh()
    return bool(found)


def is_of_other(run: Run) -> bool:
    """Whether other code has finished a run, and nobody has accepted it for this one."""
    return run.is_final and run.record is not None and not run.record.is_of(sources.digest())


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
            run_dir.weights_path, run_dir.scores_path, run_dir.path / "progress.json", run_dir.record_path,
        )  # fmt: skip
        for path in left:
            with contextlib.suppress(FileNotFoundError):
                path.replace(folder / path.name)
        return folder


def _accept(run_dir: RunDir) -> None:
    with _held(run_dir) as record:
        record.accepted.append({"sources": sources.digest(), "at": job.now()})
        run_dir.write_record(record)


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
    theirs = ", ".join(sorted({str(run.record.sources) for run in found if run.record}))
    some = (
        f"{found[0].run_id} was" if len(found) == 1 else f"{found[0].run_id} and {len(found) - 1} more were"
    )
    return (
        f"{some} made by other code (sources {theirs}), but must be of the code that is here now (sources "
        f"{sources.digest()}): something that computes was edited. Restore it; or say --rerun, which keeps "
        "the old records aside and runs again, or --accept-code, which takes the results and has the records "
        "say so"
    )
