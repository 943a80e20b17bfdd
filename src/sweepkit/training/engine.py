"""Model and optimizer of one compiled shape: built and compiled once, made new in place for every run.

Everything that ``torch.compile`` traces is in a plan's ``compile_key``; what differs between runs of one
key (initial values, seeds, learning rates, schedules) is data. So a run starts with ``renew``, which gives
the same bits as a fresh process. Compiling happens in ``warm_up``, on a made-up batch and before ``renew``:
it is timed on its own and leaves no trace in the run.

Shapes: B batch, T time.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sweepkit.config import codec
from sweepkit.distributed.ranks import Ranks
from sweepkit.model.gpt import GPT, build_model
from sweepkit.optim import owners
from sweepkit.optim.gradients import GradientExchange
from sweepkit.optim.optimizer import Optimizer, build_optimizer
from sweepkit.plan.run_plan import RunPlan


@dataclass(frozen=True)
class EngineKey:
    """Runs with equal keys share an engine."""

    compile_key: str
    device: torch.device
    compute_dtype: torch.dtype
    num_threads: int
    compile: bool


class Engine:
    """One model, its optimizer and its compiled code."""

    def __init__(self, plan: RunPlan, key: EngineKey, ranks: Ranks | None = None) -> None:
        self.key, self.ranks = key, ranks or Ranks()
        self.model: GPT = build_model(plan, key.compute_dtype, key.device)
        self.roles: Any = self.model.parameter_roles()  # group → its named parameters
        self.owners = owners.assign(self.roles, self.ranks.size)
        named = list(self.model.named_parameters())
        self.gradients = GradientExchange(named, self.owners, self.ranks)
        self.optimizer: Optimizer = self._new_optimizer(plan)
        if key.compile:
            self.model.compile_regions()

    @property
    def device(self) -> torch.device:
        return self.key.device

    def renew(self, plan: RunPlan) -> None:
        """Make model and optimizer those of a fresh process with this plan, in place, bit for bit."""
        # Fields that are not traced (initial values) may differ within a key; the object stays the same,
        # because compiled code may be guarded by its identity.
        vars(self.model.config).update(vars(codec.from_json(plan.config).model))
        self.model.initialize(plan.seed)
        del self.optimizer  # before the next is made: two would not fit where one does
        self.optimizer = self._new_optimizer(plan)

    def _new_optimizer(self, plan: RunPlan) -> Optimizer:
        dtype, compile = self.key.compute_dtype, self.key.compile
        return build_optimizer(self.roles, plan, dtype, compile, self.ranks, self.owners)

    def warm_up(self, plan: RunPlan) -> None:
        """One step and one evaluation on a batch of zeros: compiles all there is to compile.

        Ranks may compile one after the other, so nothing here waits for another rank.
        """
        self.model.initialize(plan.seed)
        shape = (plan.device_batch_size, plan.sequence_len)
        inputs_BT = torch.zeros(shape, dtype=torch.int32, device=self.device)
        self.backward(inputs_BT, inputs_BT, 1.0)
        self.optimizer.set_step(0)
        self.optimizer.step(send=False)
        self.optimizer.zero_grad()
        self.nats(inputs_BT, inputs_BT)

    def backward(self, inputs_BT: Tensor, targets_BT: Tensor, share: float, last: bool = False) -> Tensor:
        """Add the gradients of ``share`` × the mean loss; returns the mean loss, nats, 0-d.

        Args:
            last: of this step's micro-batches: gradients go to their owners as they become whole, and
                ``gradients.finish`` waits for them.
        """
        self.gradients.armed = last
        loss: Tensor = self.model(inputs_BT, targets_BT, loss="mean")
        torch.autograd.backward(loss * share)
        return loss.detach()

    def mean_over_ranks(self, value: float) -> float:
        """The mean of a number over the ranks."""
        return self.ranks.sum(torch.tensor(value, dtype=torch.float64)).item() / self.ranks.size

    @torch.no_grad()
    def nats(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Nats of every target, fp32 [B, T]; 0 where the target is -1."""
        nats_BT: Tensor = self.model(inputs_BT, targets_BT, loss="none")
        return nats_BT

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and optimizer state of all ranks, flat, under ``model.`` and ``optimizer.``.

        Every rank must ask; the leader is given it.
        """
        state = {f"model.{name}": p.detach() for name, p in self.model.named_parameters()}
        own = {f"optimizer.{name}": t for name, t in self.optimizer.state_dict().items()}
        return state | self.ranks.collect(own)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, in place.

        Raises:
            CheckpointError: the state belongs to another optimizer.
            KeyError: a parameter is missing.
        """
        optimizer = {k.removeprefix("optimizer."): t for k, t in state.items() if k.startswith("optimizer.")}
        self.optimizer.load_state_dict(optimizer)
        for name, parameter in self.model.named_parameters():
            parameter.copy_(state[f"model.{name}"])


def cannot_compile(device: torch.device) -> str | None:
    """Why torch.compile has no chance here, found out without trying; None when it may work."""
    compiler = os.environ.get("CXX", "clang++" if device.type == "mps" else "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler}) on the PATH"
    return None


def is_compile_error(error: Exception) -> bool:
    """Whether the compiler failed, rather than the program it was given."""
    rooms = ("torch._dynamo", "torch._inductor", "torch._functorch")
    return any(kind.__module__.startswith(rooms) for kind in type(error).__mro__)
