"""Ranks that do not come together, and which GPU each of them takes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed import HashStore, TCPStore

from sweepkit.distributed import exchange_check, ranks, team
from sweepkit.distributed.ranks import Ranks
from sweepkit.distributed.team import Team
from sweepkit.errors import ConfigError
from sweepkit.exit_status import STOPPED
from sweepkit.results.record import FailureClass
from sweepkit.training import failure, follow

START = """
import sys
from datetime import timedelta
from sweepkit.distributed import team
team.JOIN_TIMEOUT = timedelta(seconds=int(sys.argv[2]))
team.start(2, 1, (sys.executable, "-c", sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "seconds", "reason"),
    [
        ("import sys; sys.exit(3)", "500", "rank 1 ended with status 3"),
        ("import time; time.sleep(2000)", "1", "time has run out"),
    ],
)
def test_a_rank_that_does_not_come_ends_the_leader_with_the_reason(
    other: str, seconds: str, reason: str
) -> None:
    command = [sys.executable, "-c", START, other, seconds]
    leader = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    assert leader.returncode == 1
    assert f"{reason} before the ranks had come together" in leader.stderr


def test_a_rank_that_may_go_watches_no_more() -> None:
    """A thread that asks the store while Python ends aborts the process, and Slurm the job with it."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    follower = Team(Ranks(1, 2, store))
    Ranks(0, 2, store).word(None)
    assert any(thread.name == "ranks" for thread in threading.enumerate())
    assert follower.next_order() is None
    assert not any(thread.name == "ranks" for thread in threading.enumerate())


def test_the_leader_stays_until_all_know_that_they_may_go_and_all_leave_the_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where Slurm starts the ranks the store ends with the leader; NCCL's communicators end together."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    leader, follower = Team(Ranks(0, 2, store)), Team(Ranks(1, 2, store.clone()))
    left: list[str] = []
    asks = threading.Event()
    monkeypatch.setattr(dist, "destroy_process_group", lambda: left.append(threading.current_thread().name))
    for team_ in (leader, follower):
        team_._formed.set()

    def follow() -> None:
        time.sleep(0.3)  # the end of the last run
        asks.set()
        assert follower.next_order() is None

    other = threading.Thread(target=follow, name="follower")
    other.start()
    leader.dismiss()
    assert asks.is_set()
    other.join()
    assert sorted(left) == ["MainThread", "follower"]


def test_of_two_ranks_that_fail_at_once_the_first_is_the_cause_for_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has looked before either has spoken."""
    store = HashStore()
    leader, follower = Team(Ranks(0, 2, store)), Team(Ranks(1, 2, store))
    monkeypatch.setattr(Team, "_report", lambda self, wait_s: None)
    for team_ in (leader, follower):
        team_._stop_watching()
    assert follower.cause(MemoryError(), "oom", "out of memory") is None
    report = leader.cause(ValueError("late"), "crash", "late")
    assert report is not None and (report.rank, report.failure_class) == (1, "oom")
    assert follower.cause(MemoryError(), "oom", "out of memory") is None


NCCL_ERROR = "NCCL error in: NCCLUtils.cpp:94, {}, NCCL version 2.29\n{}: Call failed.\nLast error:\n{}"


def test_what_nccl_says_is_shown_whole_and_its_want_of_memory_is_this_ranks_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = Team(Ranks(0, 2, HashStore()))
    mine._stop_watching()
    monkeypatch.setattr(team, "_REPORT_S", 0.0)
    monkeypatch.setattr(team, "_exit", lambda status, why: sys.exit(why))
    unreachable = NCCL_ERROR.format("internal error", "ncclInternalError", "no socket interface found")
    with pytest.raises(SystemExit, match="no socket interface found"):
        mine.cause(dist.DistBackendError(unreachable), "crash", "")
    memory = NCCL_ERROR.format(
        "unhandled cuda error", "ncclUnhandledCudaError", "Cuda failure 'out of memory'"
    )
    error = dist.DistBackendError(memory)
    assert failure.classify(error)[1] is FailureClass.oom
    mine.cause(error, "oom", "out of memory")
    report = mine._report(0.0)
    assert report is not None and report.failure_class == "oom"


def test_a_team_that_has_lost_a_rank_says_why_it_takes_no_further_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = Team()
    alone.broken = True
    with pytest.raises(SystemExit) as left:
        alone.order({})
    assert left.value.code == STOPPED and "the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("rank", ["0", "1"])
def test_ranks_that_never_come_are_not_waited_for_all_day(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    where = {"WORLD_SIZE": "2", "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    monkeypatch.setattr(ranks, "JOIN_TIMEOUT", timedelta(seconds=1))
    with pytest.raises(
        ConfigError, match=rf"RANK is '{rank}', but must meet .* at 127.0.0.1:{port} .* 1 s: "
    ):
        ranks.from_environment()


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_rank_can_be_stopped_as_long_as_it_waits_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def look(_: Any = None) -> SimpleNamespace:
        found.append(signal.getsignal(signal.SIGTERM))
        return SimpleNamespace(follow=look)

    monkeypatch.setattr(team, "join", look)
    monkeypatch.setattr(follow, "Session", look)
    assert follow.main() == 0
    assert found == [signal.SIG_DFL, signal.SIG_IGN, signal.SIG_IGN]


@pytest.mark.parametrize(("num_gpus", "expected"), [(8, 3), (4, 3), (1, 0)])
def test_a_rank_takes_the_gpu_of_its_number_or_the_only_one_it_sees(
    num_gpus: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(torch.cuda, "set_device", seen.append)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: seen.append(backend))
    Ranks(3, 8, HashStore()).form_group(local_rank=3)
    assert seen == [expected, "cpu:gloo,cuda:nccl"]


@pytest.mark.slow
def test_the_check_of_exchanges_is_right_here_and_tells_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert exchange_check.measure(2) == 0.0
    monkeypatch.setattr(exchange_check, "_MODULE", "sweepkit.no_such_module")
    with pytest.raises(RuntimeError, match="no_such_module"):
        exchange_check.measure(2)


def test_the_check_of_exchanges_sees_a_wrong_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process alone, whose sums and copies are its own, but for one."""
    ranks = Ranks()
    for name in ("start_sum_at", "start_copy_from"):
        monkeypatch.setattr(ranks, name, lambda tensor, owner: None)
    assert exchange_check.largest_error(ranks) == 0.0
    monkeypatch.setattr(ranks, "sum", lambda tensor: tensor + 0.25)
    assert exchange_check.largest_error(ranks) == 0.25
