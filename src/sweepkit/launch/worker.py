"""``python -m sweepkit.launch.worker LISTFILE``: a process that takes runs from a list until none is left.

The list file says who drives, where results are, and what the plans are.
Workers do not talk to each other or to the driver: they look at the run folders, claim one run at a time
(``claims.py``), and prefer the compiled shapes they have (``choose.py``), which one Session keeps between
runs. Of runs with frozen code a worker takes those of the tree that it was started with. A worker ends when
nothing is left that it could claim; when it is asked to (SIGTERM), or its driver is gone, it ends after a
checkpoint.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import sweepkit
from sweepkit import fsio
from sweepkit.code import tree
from sweepkit.config import typed
from sweepkit.config.facts import fact
from sweepkit.errors import StorageError, SweepkitError
from sweepkit.exit_status import CANNOT_WRITE, DONE, REFUSED, STOPPED
from sweepkit.launch import job, machine, process
from sweepkit.launch.choose import next_run
from sweepkit.launch.hopeless import Stopper, Watch
from sweepkit.launch.job import Pruning, Runs
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.launch.process import Liveness, ProcessId
from sweepkit.launch.stopping import Stopping, on_signals
from sweepkit.plan import world
from sweepkit.plan.command_plan import CommandPlan, Plan
from sweepkit.plan.run_spec import RunSpec

_PARENT_CHECK_S = 0.5
_AGAIN_S = 0.02
_PR_SET_PDEATHSIG = 1
OTHER_CODE = 70  # an exit status

SessionFactory = Callable[[], Runs]


@dataclass(frozen=True)
class Head:
    """Who drives, and where results are."""

    driver: str
    driver_process: ProcessId
    results_dir: Path
    max_attempts: int
    processes_per_run: int = 1
    concurrency: int | None = None  # runs that this machine may train at a time
    watch: Watch | None = fact(None, "what may be stopped for futility", is_sparse=True)


def write_list(path: Path, head: Head, plans: Sequence[RunSpec]) -> None:
    """Write the list file of a launch."""
    fsio.write_json(path, {"head": typed.dump(head), "plans": typed.dump(plans)})


def read_list(path: Path) -> tuple[Head, list[Plan]]:
    """Read a list file back."""
    content = fsio.read_json(path)
    return typed.load(Head, content["head"]), typed.load(list[Plan], content["plans"])


def real_session(
    plans: Sequence[RunSpec] = (), processes_per_run: int = 1, concurrency: int | None = None
) -> Runs:
    """What carries out runs of the kind of these plans: a command's, or this package's trainer.

    The trainer imports torch, and starts the other ranks of its runs unless something else has; a command is
    given the devices of so many processes, and starts them itself.

    Args:
        plans: runs of one kind; none: they are to come, and are the trainer's.
        processes_per_run: ranks that train a run together.
        concurrency: runs that this machine may train at a time, for the record.
    """
    if plans and isinstance(plans[0], CommandPlan):
        from sweepkit.launch.command_session import CommandSession

        return CommandSession(concurrency)
    machine.spin_briefly()
    from sweepkit.distributed import team
    from sweepkit.training.session import Session

    gc.freeze()  # what is imported stays; each run collects garbage twice, and would walk all of it
    if world.is_started():
        return Session(team.join(), concurrency, machine.memory_gib())
    threads = None if "OMP_NUM_THREADS" in os.environ else max(1, machine.num_cores() // processes_per_run)
    return Session(team.start(processes_per_run, threads), concurrency, machine.memory_gib())


def main(argv: Sequence[str] | None = None, session_factory: SessionFactory | None = None) -> int:
    """Take runs until none is left; returns what ``work_off`` does."""
    (list_file,) = sys.argv[1:] if argv is None else argv

    def take(head: Head, plans: list[Plan], make_session: SessionFactory, stop: Stopping) -> None:
        stopper = Stopper(head.watch, head.results_dir)
        work(
            Ledger(plans, head.results_dir, stopper.pruner),
            make_session,
            stop,
            driver=head.driver,
            max_attempts=head.max_attempts,
            pruning=stopper.pruning,
        )

    return work_off(Path(list_file), take, session_factory)


def work_off(
    list_file: Path,
    take: Callable[[Head, list[Plan], SessionFactory, Stopping], None],
    session_factory: SessionFactory | None = None,
) -> int:
    """Have ``take`` do what a list file asks for, until asked to stop or the driver is gone.

    Returns:
        An exit status: ``DONE``, ``STOPPED`` when stopped before that, ``CANNOT_WRITE``, ``REFUSED``.
    """
    head, plans = read_list(list_file)
    if os.environ.get(tree.NAME, tree.here()) != tree.here():  # it would take nothing, and be started again
        print(f"this process is of {sweepkit.__file__}, and not of {os.environ[tree.NAME]}", file=sys.stderr)
        return OTHER_CODE
    make_session = session_factory or (lambda: real_session(plans, head.processes_per_run, head.concurrency))
    with on_signals() as stop:
        end_with_parent(head.driver_process, stop)
        try:
            take(head, plans, make_session, stop)
        except KeyboardInterrupt:  # before it held a run
            return STOPPED
        except StorageError as error:
            print(error, file=sys.stderr)
            return CANNOT_WRITE
        except SweepkitError as error:
            print(error, file=sys.stderr)
            return REFUSED
        except OSError as error:
            if (reason := fsio.in_words(error)) is None:
                raise
            print(reason, file=sys.stderr)
            return CANNOT_WRITE
        return STOPPED if stop() else DONE


class Work(Protocol):
    """How runs are taken from a ledger: ``work``, or a search's, which adds to the ledger as well."""

    def __call__(
        self, ledger: Any, session_factory: SessionFactory, stop: Stopping, *, driver: str, max_attempts: int
    ) -> None: ...


def work(
    ledger: Ledger,
    session_factory: SessionFactory,
    stop: Stopping,
    *,
    driver: str,
    max_attempts: int,
    ask: Callable[[Stopping], bool] = lambda stop: False,
    pruning: Callable[[Run], Pruning | None] = lambda run: None,
) -> None:
    """Run what nobody holds until nothing is left to start or to ask for.

    Args:
        ask: adds a run to the ledger's list where nothing is startable; False where there is no more to come.
        pruning: what may stop a run as hopeless.

    Raises:
        StorageError: the disk is full.
    """
    session: Runs | None = None
    last_key: str | None = None
    compiled: set[str] = set()
    while not stop():
        ledger.refresh()
        startable = [run.plan for run in ledger.startable() if run.plan.tree == tree.here()]
        if not startable:
            if not ask(stop):
                return
            continue
        session = session or session_factory()
        plan = next_run(startable, last_key=last_key, compiled=compiled, busy=ledger.busy())
        record = job.carry_out(
            plan,
            ledger.results_dir,
            session,
            driver=driver,
            max_attempts=max_attempts,
            stop=stop,
            pruning=pruning(ledger.runs[plan.run_id]),
        )
        if record is not None:
            last_key = plan.compile_key
            compiled.add(last_key)
        else:
            stop.wait(_AGAIN_S)  # someone was faster


def end_with_parent(driver: ProcessId, stop: Stopping) -> None:
    """Set ``stop`` once the driver is gone: at once on Linux, within a second elsewhere."""
    if os.getppid() == driver.pid:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def watch() -> None:
        while not stop.wait(_PARENT_CHECK_S):
            if process.liveness(driver) is Liveness.gone:
                stop.stop("the driver is gone")

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
