"""The processes that train a run together, as a whole: started, given orders, dismissed; and what happens
when one of them fails.

A rank that fails says so in the store and ends. The others notice because what they wait for breaks off, or,
where nothing breaks (NCCL waits for ever), because a thread looks. Whoever fails says why; a rank that was
killed says nothing, then it is as if the leader had been killed: it ends without a word, and the run goes on
from its checkpoint in another process. A team that has lost a rank is of no further use.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from sweepkit.config import typed
from sweepkit.distributed.ranks import JOIN_TIMEOUT, LEADER, TIMEOUT, Ranks, from_environment
from sweepkit.exit_status import STOPPED, VANISHED, in_words
from sweepkit.plan.run_plan import RunPlan

FOLLOWER_COMMAND = (sys.executable, "-m", "sweepkit.training.follow")
_LOOK_S = 1.0
_GRACE_S = 15.0  # for a rank to notice by itself that another has failed
_REPORT_S = 3.0  # for a failure to become known where only its echo was heard
_END_S = 20.0
_NCCL_LINES = 4  # of an error of NCCL's, the last of which says what was wrong
_FAILED, _RECORDED, _GOING = "failed", "recorded", "going"


@dataclass(frozen=True)
class Order:
    """A run that all ranks are to do; without an attempt its kept weights are evaluated."""

    plan: RunPlan
    run_dir: Path
    attempt: int | None


@dataclass(frozen=True)
class Report:
    """What a rank said when it failed.

    Attributes:
        failure_class: a name of ``FailureClass``; None where it was interrupted.
        trace: for the run's log, which the leader alone writes.
    """

    rank: int
    failure_class: str | None
    message: str
    trace: str


class Team:
    """This process's ranks, and what is known of their health.

    Attributes:
        ranks: this process among them.
        broken: a rank has failed; no order is taken any more.
    """

    def __init__(self, ranks: Ranks | None = None, children: Sequence[subprocess.Popen[bytes]] = ()) -> None:
        self.ranks = ranks or Ranks()
        self.broken = False
        self.when_stuck: Callable[[Report], None] = lambda report: None
        self._children = children
        self._busy = False
        self._formed, self._ended = threading.Event(), threading.Event()
        if self.ranks.store is not None:
            self._store: Any = self.ranks.store.clone()  # type: ignore[attr-defined]  # a connection of its own: the other may be waiting
            self._watcher = threading.Thread(target=self._watch, name="ranks", daemon=True)
            self._watcher.start()

    def form(self, local_rank: int) -> None:
        """Wait until all ranks are there; ``local_rank`` is this process's number on its machine."""
        self.ranks.form_group(local_rank)
        self._formed.set()
        if self.ranks.leads:
            atexit.register(self.dismiss)

    def order(self, value: Order) -> None:
        """The leader tells the others what to do next. Raises SystemExit on a broken team."""
        if self.broken:
            print(
                "the processes that train a run together have ended with the one that failed; "
                "the same command again does the runs that are left",
                file=sys.stderr,
            )
            sys.exit(STOPPED)
        self._busy = True
        self.ranks.word(typed.dump(value))

    def next_order(self) -> Order | None:
        """What the leader wants of the others; None when they may go."""
        said = self.ranks.word()
        self._busy = said is not None
        if said is None:
            self._store.set(f"{_GOING}/{self.ranks.rank}", "")
            self._stop_watching()
            self._leave_group()
        return None if said is None else typed.load(Order, said)

    def done(self) -> None:
        """The order has been carried out on this rank."""
        self._busy = False

    def dismiss(self) -> None:
        """Let the others go, if they are waiting for an order."""
        if self._ended.is_set() or self.ranks.store is None:
            return
        self._ended.set()
        if not (self.broken or self._busy):
            with contextlib.suppress(RuntimeError):
                self.ranks.word(None)
                others = [f"{_GOING}/{rank}" for rank in range(1, self.ranks.size)]
                self._store.wait(others, timedelta(seconds=_END_S))  # the store may end with this process
                self._leave_group()
                for child in self._children:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(_END_S)
        _kill(self._children)
        self._stop_watching()

    def _leave_group(self) -> None:
        """All ranks at the same time: who destroys NCCL's communicator waits for the others to do so."""
        if self._formed.is_set():
            self.ranks.close()

    def _stop_watching(self) -> None:
        """Python ends its threads as it ends; one that is asking the store then would abort the process."""
        self._ended.set()
        if self.ranks.store is not None:
            self._watcher.join(_END_S)

    def cause(self, error: BaseException, failure_class: str | None, message: str) -> Report | None:
        """Why this rank's ``error`` came: another rank's failure, or (None) its own, which is now known.

        Does not return where another rank has been killed.
        """
        self.broken = True
        echo = _is_echo(error)
        report = self._report(_REPORT_S if echo else 0.0)
        if report is not None and report.rank != self.ranks.rank:
            return report
        if echo:
            words = " ".join(str(error).splitlines()[:_NCCL_LINES])
            self._vanish(f"another rank is gone or cannot be reached ({type(error).__name__}: {words})")
        mine = Report(self.ranks.rank, failure_class, message, "".join(traceback.format_exception(error)))
        with contextlib.suppress(RuntimeError):
            first = Report(**json.loads(self._store.compare_set(_FAILED, "", json.dumps(asdict(mine)))))
            return None if first == mine else first  # another may have failed since it was asked
        return None

    def recorded(self) -> None:
        """The leader has recorded why a rank failed; the others stay until then.

        Whoever started the ranks ends those that are left once one has ended (torchrun, srun), and NCCL may
        tear down one that waits for a process that is gone (TORCH_NCCL_ASYNC_ERROR_HANDLING).
        """
        with contextlib.suppress(RuntimeError):  # the leader is gone, and the store with it
            if self.ranks.leads:
                self._store.set(_RECORDED, "")
            else:
                self._store.wait([_RECORDED], timedelta(seconds=_GRACE_S + _END_S))

    def stay(self) -> None:
        """After a failure that is known, on another rank than the leader: until it is recorded."""
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            self.ranks.close()
        self.recorded()
        self._stop_watching()

    def _report(self, wait_s: float) -> Report | None:
        until = time.monotonic() + wait_s
        while True:
            with contextlib.suppress(RuntimeError):
                if self._store.check([_FAILED]):
                    return Report(**json.loads(self._store.get(_FAILED)))
            if time.monotonic() >= until:
                return None
            time.sleep(0.1)

    def _watch(self) -> None:
        until = time.monotonic() + JOIN_TIMEOUT.total_seconds()
        overdue = False
        while not self._ended.wait(_LOOK_S):
            try:
                failed = self._store.check([_FAILED])
            except RuntimeError:
                failed = True  # the leader is gone, and the store with it
            overdue = not self._formed.is_set() and time.monotonic() > until
            if failed or self._dead_children() or overdue:
                break
        why = ", ".join(self._dead_children()) or ("time has run out" if overdue else "the leader is gone")
        if not self._formed.is_set() and not self._ended.is_set():
            _kill(self._children)
            _exit(1, f"{why} before the ranks had come together")
        if self._ended.wait(_GRACE_S) or self.broken:
            return
        report = self._report(0.0)
        if report is not None:
            self.when_stuck(report)
            self.recorded()
            _exit(STOPPED, f"rank {report.rank} failed: {report.message}")
        self._vanish(why)

    def _dead_children(self) -> list[str]:
        ended = [(rank, child.poll()) for rank, child in enumerate(self._children, start=1)]
        return [f"rank {rank} {in_words(code)}" for rank, code in ended if code is not None]

    def _vanish(self, why: str) -> NoReturn:
        _exit(VANISHED, ", ".join(self._dead_children()) or why)


def start(num_ranks: int, num_threads: int | None = None, command: Sequence[str] = FOLLOWER_COMMAND) -> Team:
    """Lead ``num_ranks`` processes on this machine: this one, and others that are started here.

    Args:
        num_threads: of each; None leaves it to torch.
        command: what the others are.
    """
    if num_ranks == 1:
        return Team()
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
    shared = {"WORLD_SIZE": num_ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port}
    if num_threads is not None:
        torch.set_num_threads(num_threads)
        shared["OMP_NUM_THREADS"] = num_threads
    children = [
        subprocess.Popen(
            command,
            env=os.environ | {name: str(value) for name, value in own.items()},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the leader alone, which tells the others
        )
        for own in (shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(1, num_ranks))
    ]
    team = Team(Ranks(LEADER, num_ranks, store), children)
    team.form(local_rank=0)
    return team


@functools.cache
def join() -> Team:
    """The team that torchrun or a Slurm task has started this process for; returns when all have joined."""
    team = Team(from_environment())
    team.form(int(os.environ.get("LOCAL_RANK", "0")))
    return team


def _kill(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()


def _is_echo(error: BaseException) -> bool:
    """Whether an error says no more than that a connection to another rank has broken off."""
    words = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe")
    text = str(error)
    if "out of memory" in text:  # NCCL takes memory of the GPU itself, when ranks first speak
        return False
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in text for word in words)
    )


def _exit(status: int, why: str) -> NoReturn:
    """End at once: the main thread may be stuck, and claims must look as after a kill."""
    print(f"rank {os.environ.get('RANK', '0')}: {why}", file=sys.stderr, flush=True)
    os._exit(status)
