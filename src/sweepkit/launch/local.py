"""The local launcher: N worker processes on this machine, looked after by this one.

The driver starts as many workers as there are runs to take, replaces those that die, and shows how far
things are. It hands out nothing: workers claim runs themselves, so any number of drivers may share a
sweep. A run whose worker died goes on from its checkpoint in another; after launcher.max_attempts deaths
it is recorded as lost. Workers that die before they hold any run are a fault of the set-up: after a few
of them the launch gives up and shows the end of the log.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepkit import exit_status
from sweepkit.code import planner, tree
from sweepkit.errors import StorageError, SweepkitError
from sweepkit.launch import cgroup, job, machine
from sweepkit.launch.drivers import DriverDir
from sweepkit.launch.ledger import Ledger, Run
from sweepkit.launch.stopping import Stopping
from sweepkit.printable import counted, printable

_TICK_S = 0.2
_REFRESH_SHARE = 0.05  # at most this share of the driver's time goes into looking at folders
_MAX_START_ERRORS = 2  # workers that raised before they held a run
_MAX_START_KILLS = 8  # workers that were killed before they held a run
_LOG_LINES = 15
_GRACE_S = 20.0  # for workers to end when the driver itself fails
_DYING_S = 30.0  # between the kernel's counting of a kill and the end of a process that holds much memory

WORKER_COMMAND = (sys.executable, "-m", "sweepkit.launch.worker")


@dataclass
class _Worker:
    slot: int
    process: subprocess.Popen[bytes]
    tree: str | None = None
    held: tuple[Run, int] | None = None  # the last run it was seen to hold, and the attempt's number
    is_killed: bool = False  # by us


class Pool:
    """The worker processes of one launch.

    Args:
        folder: holds the list of runs and takes the logs.
        size: how many workers at most.
        gpus: CUDA devices, one a process; empty on a CPU.
        note: tells the user something.
        command: what starts a worker; the list file is appended.
        processes_per_run: which a worker leads.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: DriverDir,
        size: int,
        gpus: list[str],
        note: Callable[[str], None],
        command: Sequence[str] = WORKER_COMMAND,
        processes_per_run: int = 1,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._size = size
        self._gpus = gpus
        self._note = note
        self._command = command
        self._processes = processes_per_run
        self._workers: list[_Worker] = []
        self._num_kills = cgroup.num_kills()
        self._kills_at: list[float] = []  # of the last while, for memory; nobody's yet
        self._start_errors: Counter[str | None] = Counter()  # by tree
        self._start_kills = 0
        self._last_words: dict[str | None, str] = {}  # of workers that did not start, by tree
        self._waiting_for: set[str] = set()

    def run(self, stop: Stopping, show: Callable[[], None]) -> None:
        """Look after workers until every run is done, or until stopped and all workers have ended.

        Raises:
            StorageError: a worker found the disk full, or a folder that is not ours.
            SweepkitError: workers cannot start, or one of them says what only a person can settle.
        """
        asked = 0
        try:
            while True:
                started = time.monotonic()
                self._ledger.refresh()
                self._remember_holders()
                self._reap()
                show()
                if stop() and asked < min(stop.num_signals, 2):
                    asked += 1
                    self._ask_to_stop(urgent=asked > 1)
                if not self._workers and (stop() or not (self._ledger.open() or self._ledger.to_come)):
                    return
                if not stop():
                    self._fill()
                    self._tell_what_is_waited_for()
                spent = time.monotonic() - started
                stop.wait(spent / _REFRESH_SHARE)
                time.sleep(_TICK_S)
        except BaseException:
            self._end()
            raise

    def _remember_holders(self) -> None:
        held = {
            run.holder.info.process.pid: (run, run.holder.info.attempt)
            for run in self._ledger.open()
            if self._is_ours(run) and run.holder
        }
        for item in self._workers:
            item.held = held.get(item.process.pid, item.held)

    def _is_ours(self, run: Run) -> bool:
        return run.holder is not None and run.holder.info.driver == self._folder.driver

    def _reap(self) -> None:
        """Notice workers that have ended, and of those that were killed how many for want of memory."""
        ended = [(item, code) for item in self._workers if (code := item.process.poll()) is not None]
        self._count_kills()  # asked for last: the kernel counts first
        for item, code in ended:
            self._workers.remove(item)
            if code == -signal.SIGKILL and self._kills_at and item.held is not None:
                self._kills_at.pop(0)
                run, attempt = item.held
                job.out_of_memory(run.plan, run.run_dir, attempt)
            if code not in (exit_status.DONE, exit_status.STOPPED) and not item.is_killed:
                self._died(item, code)

    def _count_kills(self) -> None:
        now = time.monotonic()
        before, self._num_kills = self._num_kills, cgroup.num_kills()
        new = 0 if before is None or self._num_kills is None else self._num_kills - before
        self._kills_at = [at for at in self._kills_at if now - at < _DYING_S] + [now] * new

    def _died(self, item: _Worker, code: int) -> None:
        self._folder.trouble = True
        how = exit_status.in_words(code)
        log = self._folder.log_path(item.slot)
        if code == exit_status.CANNOT_WRITE:
            raise StorageError(_last_lines(log, 1).strip())
        if code == exit_status.REFUSED:
            raise SweepkitError(_last_lines(log, 1).strip())
        if item.held is not None:
            held = [
                run
                for run in self._ledger.open()
                if run.holder and run.holder.info.process.pid == item.process.pid
            ]
            where = f" while on {held[0].run_id}, which goes on in another" if held else ""
            self._note(f"worker {item.slot} (pid {item.process.pid}) {how}{where}; log: {log}")
            return
        self._start_errors[item.tree] += code > 0
        self._last_words[item.tree] = f"{log} ends with:\n{_last_lines(log, _LOG_LINES)}"
        self._start_kills += code < 0
        self._note(f"worker {item.slot} (pid {item.process.pid}) {how} before it took a run; log: {log}")

    def _fill(self) -> None:
        """Start workers for runs that nobody takes."""
        ours = sum(self._is_ours(run) for run in self._ledger.held())
        work = ours + len(self._ledger.startable()) + self._ledger.to_come
        wanted = min(self._size, work) - len(self._workers)
        if wanted <= 0:
            return
        if self._start_kills >= _MAX_START_KILLS:
            self._give_up(self._next_tree())
            return
        taken = {item.slot for item in self._workers}
        for slot in [slot for slot in range(self._size) if slot not in taken][:wanted]:
            name = self._next_tree()
            if self._start_errors[name] < _MAX_START_ERRORS:
                self._start(slot, name)
            elif not self._refuse(name):
                self._give_up(name)
                return

    def _next_tree(self) -> str | None:
        """The code that is next to have a worker: of those with runs to take, what has the fewest."""
        busy = {run.holder.info.process.pid for run in self._ledger.held() if run.holder}
        left = Counter(run.plan.tree for run in self._ledger.startable())
        left.subtract(item.tree for item in self._workers if item.process.pid not in busy)
        workers = Counter(item.tree for item in self._workers)
        wanted = [name for name, number in left.items() if number > 0]
        if not wanted:  # of runs that are yet to be proposed
            return next(iter(self._ledger.runs.values())).plan.tree if self._ledger.runs else None
        return min(wanted, key=lambda name: workers[name])

    def _refuse(self, name: str | None) -> bool:
        """End the runs of a level whose code starts no worker, and go on with others; whether it is one."""
        alike = [run for run in self._ledger.startable() if run.plan.tree == name]
        runs = [run for run in alike if run.plan.config and run.plan.config.code]
        for run in runs:
            job.refuse(
                run.plan, self._ledger.results_dir, SweepkitError(self._why_workers_do_not_start(name))
            )
        return bool(runs)

    def _give_up(self, name: str | None) -> None:
        if not self._workers:
            raise SweepkitError(self._why_workers_do_not_start(name))

    def _start(self, slot: int, name: str | None) -> None:
        environment = machine.worker_environment(slot, self._size, self._gpus, self._processes)
        command = [*self._command]
        if name != tree.here() and name is not None:
            folder = tree.find(tree.root(self._ledger.results_dir), name)
            environment |= tree.worker_environment(folder)
            command[0] = planner.python(folder)
        with self._folder.log_path(slot).open("ab") as log:
            process = subprocess.Popen(
                [*command, str(self._folder.list_path)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the driver alone, which asks for checkpoints
            )
        self._workers.append(_Worker(slot, process, name))

    def _tell_what_is_waited_for(self) -> None:
        """Say once which runs only another launch can finish."""
        if self._workers:
            return
        foreign = {run.run_id: run.holder for run in self._ledger.held() if not self._is_ours(run)}
        if foreign.keys() - self._waiting_for:
            holders = {
                f"{held.info.process.host} pid {held.info.process.pid}" for held in foreign.values() if held
            }
            runs, who = counted(len(foreign), "run"), ", ".join(sorted(holders))
            self._note(f"waiting for {runs} held by another launch ({who})")
            self._waiting_for |= foreign.keys()

    def _ask_to_stop(self, urgent: bool) -> None:
        for item in self._workers:
            item.is_killed = item.is_killed or urgent
            with contextlib.suppress(ProcessLookupError):
                item.process.send_signal(signal.SIGKILL if urgent else signal.SIGTERM)
        if self._workers and not urgent:
            workers = counted(len(self._workers), "worker")
            self._note(f"stopping: {workers} to write a checkpoint (again to kill them)")

    def _end(self) -> None:
        """Leave no worker behind."""
        self._ask_to_stop(urgent=False)
        until = time.monotonic() + _GRACE_S
        for item in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                item.process.wait(max(0.1, until - time.monotonic()))
        self._ask_to_stop(urgent=True)
        for item in self._workers:
            item.process.wait()

    def _why_workers_do_not_start(self, name: str | None) -> str:
        return f"workers end before they take a run; {self._last_words.get(name, 'they left no log')}"


def _last_lines(log: Path, num_lines: int) -> str:
    lines = printable(log.read_text(errors="replace")).splitlines()[-num_lines:]
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"
