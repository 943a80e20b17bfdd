"""This process among those that train a run together: which it is, and what they tell each other.

One process a GPU. Rank 0 leads: it holds the claim, writes the run's folder and decides; the others do the
same work on other rows. Two channels: a process group for tensors (gloo for those of a CPU, NCCL for those
of a GPU), and its key-value store for the little that is said in words: orders, what was found, what went
wrong. A word is JSON, never a pickle. With one process nothing here does anything.

All ranks must make the same calls in the same order.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sweepkit.distributed.waiting import Waiting
from sweepkit.errors import invalid

LEADER = 0
# Ranks wait for each other while one prepares data or compiles; a rank that dies is noticed otherwise.
TIMEOUT = timedelta(hours=12)
JOIN_TIMEOUT = timedelta(minutes=10)  # they are started at about the same time


class Ranks:
    """The ranks of a run, seen from one of them.

    Attributes:
        rank, size: this process's number, and how many there are.
        store: the key-value store that all of them see; None for a process alone.
        waiting: how long this rank waits for the others.
    """

    def __init__(self, rank: int = LEADER, size: int = 1, store: Store | None = None) -> None:
        self.rank, self.size, self.store = rank, size, store
        self.waiting = Waiting()
        self._words = itertools.count()
        self._begun: list[tuple[Tensor, dist.Work]] = []

    def form_group(self, local_rank: int) -> None:
        """Form the process group; returns when all ranks are there.

        Args:
            local_rank: number of this process on its machine, and of its GPU; where a scheduler shows every
                rank its own GPU alone, that is number 0.
        """
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank % torch.cuda.device_count())
            backend = "cpu:gloo,cuda:nccl"
        assert self.store is not None
        store = PrefixStore("group", self.store)
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=TIMEOUT)

    @property
    def leads(self) -> bool:
        return self.rank == LEADER

    def word(self, value: Any = None) -> Any:
        """What the leader says, on every rank; ``value`` is JSON and only the leader's counts."""
        if self.store is None:
            return value
        key = f"word/{next(self._words)}"
        if self.leads:
            self.store.set(key, json.dumps(value))
        return json.loads(self.store.get(key))

    def words(self, value: Any) -> list[Any]:
        """What every rank says, by rank."""
        if self.store is None:
            return [value]
        number = next(self._words)
        self.store.set(f"words/{number}/{self.rank}", json.dumps(value))
        keys = [f"words/{number}/{rank}" for rank in range(self.size)]
        return [json.loads(item) for item in self.store.multi_get(keys)]

    def agreed(self, value: bool) -> bool:
        """The leader's yes or no, on every rank; cheap enough for every step."""
        if self.size == 1:
            return value
        flag = torch.tensor(value, dtype=torch.uint8)
        with self.waiting.on(flag.device):
            dist.broadcast(flag, LEADER)
        return bool(flag)

    def sum(self, tensor: Tensor) -> Tensor:
        """``tensor`` summed over all ranks, in place."""
        if self.size > 1:
            with self.waiting.on(tensor.device):
                dist.all_reduce(tensor, dist.ReduceOp.SUM)
        return tensor

    def max(self, tensor: Tensor) -> Tensor:
        """The largest ``tensor`` of any rank, elementwise, in place."""
        if self.size > 1:
            with self.waiting.on(tensor.device):
                dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def start_sum_at(self, tensor: Tensor, owner: int) -> None:
        """Begin to sum ``tensor`` over all ranks into the one of ``owner``; the others' become undefined."""
        self._begun.append((tensor, dist.reduce(tensor, owner, dist.ReduceOp.SUM, async_op=True)))

    def start_copy_from(self, tensor: Tensor, owner: int) -> None:
        """Begin to overwrite ``tensor`` with what it is on ``owner``."""
        self._begun.append((tensor, dist.broadcast(tensor, owner, async_op=True)))

    def finish(self) -> None:
        """Wait for all that was begun."""
        if self._begun:
            with self.waiting.on(self._begun[0][0].device):
                for _, work in self._begun:
                    work.wait()
            self._begun.clear()

    def close(self) -> None:
        """Leave the group, with all that was begun; over gloo, whoever waits for this rank is told."""
        self._begun.clear()  # it would keep the connections open
        dist.destroy_process_group()

    def collect(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All ranks' tensors, by name, at the leader (in main memory); nothing at the others.

        They travel by way of main memory: NCCL would keep a communicator for every sender, in GPU memory.
        """
        if self.size == 1:
            return dict(tensors)
        forms = [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in tensors.items()]
        all_forms = self.words([] if self.leads else forms)
        if not self.leads:
            for tensor in tensors.values():
                dist.send(tensor.cpu().contiguous(), LEADER)
            return {}
        collected = {name: tensor.cpu() for name, tensor in tensors.items()}
        for rank, theirs in enumerate(all_forms):
            for name, shape, dtype in theirs:
                collected[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                dist.recv(collected[name], rank)
        return collected


def from_environment() -> Ranks:
    """The ranks that the environment speaks of (the variables that torchrun sets), not yet a group.

    Raises:
        ConfigError: they have not met where the environment says.
    """
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=JOIN_TIMEOUT)))
    except dist.DistError as error:
        address, port = (os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
        contract = (
            f"meet the other ranks at {address}:{port} (MASTER_ADDR:MASTER_PORT) within "
            f"{JOIN_TIMEOUT.total_seconds():.0f} s: {str(error).splitlines()[0]}"
        )
        raise invalid("RANK", os.environ["RANK"], contract, "start all ranks, with torchrun") from error
    store.set_timeout(TIMEOUT)
    return Ranks(rank, size, store)
