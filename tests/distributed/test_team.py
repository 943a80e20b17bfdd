"""Ranks that do not come together, and which GPU each of them takes."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed import HashStore, TCPStore

from sweepkit.distributed import exchange_check
from sweepkit.distributed.ranks import Ranks
from sweepkit.distributed.team import Team

START = """
import sys
from sweepkit.distributed import team
team.start(2, 1, (sys.executable, "-c", "import sys; sys.exit(3)"))
"""


def test_a_rank_that_ends_before_all_have_come_together_ends_the_leader_with_the_reason() -> None:
    leader = subprocess.run(
        [sys.executable, "-c", START], stderr=subprocess.PIPE, text=True, timeout=100, check=False
    )
    assert leader.returncode == 1
    assert "rank 1 ended with status 3 before the ranks had come together" in leader.stderr


def test_a_rank_that_may_go_watches_no_more() -> None:
    """A thread that asks the store while Python ends aborts the process, and Slurm the job with it."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    follower = Team(Ranks(1, 2, store))
    Ranks(0, 2, store).word(None)
    assert any(thread.name == "ranks" for thread in threading.enumerate())
    assert follower.next_order() is None
    assert not any(thread.name == "ranks" for thread in threading.enumerate())


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
