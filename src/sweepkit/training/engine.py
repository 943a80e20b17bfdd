"""Model and optimizer of one compiled shape: built and compiled once, made new in place for every run.

Everything that ``torch.compile`` traces is in a plan's ``compile_key``; what differs between runs of one
key (initial values, seeds, learning rates, schedules) is data. So a run starts with ``renew``, which gives
the same bits as a fresh process. Compiling happens in ``warm_up``, on a made-up batch and before ``renew``:
it is timed on its own and leaves no trace in the run.

Shapes: B batch, T time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from sweepkit.config.choices import AttentionBackend, ExpertBalance, Fp8Backend, Fp8Scaling
from sweepkit.distributed.ranks import Ranks
from sweepkit.model.branched import BranchedRows
from sweepkit.model.gpt import GPT, build_model
from sweepkit.model.layers import Linear
from sweepkit.optim import owners, schedule
from sweepkit.optim.gradients import GradientExchange
from sweepkit.optim.optimizer import Optimizer, build_optimizer
from sweepkit.plan.fp8_share import in_fp8
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision import fp8
from sweepkit.precision.loss_scaler import LossScaler

#: For ``torch.compile``.
COMPILE_OPTIONS: dict[str, Any] = {"fullgraph": True, "dynamic": False}
#: Graphs a process may hold of one function: three a compiled shape, many shapes in a worker's life.
RECOMPILE_LIMIT = 192


@dataclass(frozen=True)
class EngineKey:
    """Runs with equal keys share an engine."""

    compile_key: str
    device: torch.device
    compute_dtype: torch.dtype
    num_threads: int
    compile: bool
    fp8: Fp8Backend | None = None
    attention: AttentionBackend = AttentionBackend.sdpa


class Engine:
    """One model, its optimizer and its compiled code."""

    def __init__(self, plan: RunPlan, key: EngineKey, ranks: Ranks | None = None) -> None:
        self.key, self.ranks = key, ranks or Ranks()
        if key.compile:
            _allow_many_graphs()
        self.model: GPT = build_model(plan, key.compute_dtype, key.device, key.attention)
        self.num_fp8_layers = self._use_fp8(plan, key.fp8) if key.fp8 else 0
        self.roles: Any = self.model.parameter_roles()  # group → its named parameters
        optimizer = plan.config.optimizer
        self.owners = owners.assign(self.roles, optimizer, self.ranks.size)
        named = list(self.model.named_parameters())
        self.gradients = GradientExchange(named, self.owners, self.ranks)
        self.optimizer: Optimizer = self._new_optimizer(plan)
        self.scaler = self._new_scaler()
        if key.compile:
            self.model.compile_regions(**COMPILE_OPTIONS)

    def _use_fp8(self, plan: RunPlan, backend: Fp8Backend) -> int:
        """Let the Linear layers that ``in_fp8`` names multiply in FP8; returns how many."""
        rule = plan.config.precision.fp8
        how: dict[str, Any] = {
            "native": backend is Fp8Backend.native,
            "rowwise": rule.scaling is Fp8Scaling.rowwise,
        }
        chosen = [name for name, weight in self.model.weights.items() if in_fp8(weight, rule)]
        heads = [name for name in chosen if self.model.weights[name].role == "unembedding"]
        for name in chosen:
            if name not in heads:
                layer = self.model.get_submodule(name.removesuffix(".weight"))
                cast(Linear, layer).training_product = partial(fp8.linear, **how)
        if heads:  # all or none, and their products are the loss's
            fuse = how["native"] and self.key.compile  # emulation gains nothing by it
            quantize = torch.compile(fp8.quantize, **COMPILE_OPTIONS) if fuse else fp8.quantize
            self.model.training_project = partial(fp8.Projection, quantize=quantize, **how)
        return len(chosen)

    @property
    def device(self) -> torch.device:
        return self.key.device

    def kept(self) -> list[Tensor]:
        """Tensors that are held from step to step: parameters, gradients, buffers, optimizer state."""
        parameters = list(self.model.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return [*parameters, *gradients, *self.model.buffers(), *self.optimizer.kept()]

    def renew(self, plan: RunPlan) -> None:
        """Make model and optimizer those of a fresh process with this plan, in place, bit for bit."""
        # Fields that are not traced (initial values) may differ within a key; the object stays the same,
        # because compiled code may be guarded by its identity.
        vars(self.model.config).update(vars(plan.config.model))
        self.model.initialize(plan.init_seed)
        del self.optimizer  # before the next is made: two would not fit where one does
        self.optimizer = self._new_optimizer(plan)
        self.scaler = self._new_scaler()

    def _new_scaler(self) -> LossScaler | None:
        return LossScaler(self.device, self.ranks) if self.key.compute_dtype is torch.float16 else None

    def _new_optimizer(self, plan: RunPlan) -> Optimizer:
        options = COMPILE_OPTIONS if self.key.compile else None
        return build_optimizer(self.roles, plan, self.key.compute_dtype, options, self.ranks, self.owners)

    def warm_up(self, plan: RunPlan) -> None:
        """One step and one evaluation on a batch of zeros: compiles all there is to compile.

        Ranks may compile one after the other, so nothing here waits for another rank.
        """
        self.model.initialize(plan.init_seed)
        shape = (plan.device_batch_size, plan.sequence_len)
        inputs_BT = torch.zeros(shape, dtype=torch.int32, device=self.device)
        self.backward(inputs_BT, inputs_BT, 1.0)
        self.set_step(plan, 0)
        self.optimizer.step(send=False)
        self.optimizer.zero_grad()
        self.nats(inputs_BT, inputs_BT)

    def warm_up_evaluation(self, plan: RunPlan) -> None:
        """``warm_up`` of what an evaluation takes."""
        inputs_BT = torch.zeros(
            (plan.device_batch_size, plan.sequence_len), dtype=torch.int32, device=self.device
        )
        self.nats(inputs_BT, inputs_BT)

    def set_step(self, plan: RunPlan, step: int, num_skipped: int = 0, part: int = 0) -> None:
        """Set an update's scheduled values; arguments as of ``Optimizer.set_step``."""
        self.optimizer.set_step(step, num_skipped, part)
        for experts in self.model.experts():
            experts.load.zero_()
        if further := schedule.further_weights(step, plan):
            self.model.get_buffer("further_weights").copy_(torch.tensor(further))

    def step(self, plan: RunPlan) -> dict[str, float]:
        """Update all there is to update; returns what the step says of itself, by the name of its column."""
        self.optimizer.step()
        layers, config = self.model.experts(), plan.config.model.experts
        if not layers:
            return {}
        load_LE = self.ranks.sum(torch.stack([experts.load for experts in layers]))
        for experts, load_E in zip(layers, load_LE, strict=True):
            if config.balance is ExpertBalance.bias:
                experts.rebalance(load_E, config.bias_step)
        return {"expert_load_max": (load_LE.amax(dim=1) / load_LE.mean(dim=1)).max().item()}

    def backward(self, inputs_BT: Tensor, targets_BT: Tensor, share: float, last: bool = False) -> Tensor:
        """Add the gradients of ``share`` × the training loss (× loss scale).

        Returns the next token's mean nats, 0-d.

        Args:
            last: of this step's micro-batches: gradients go to their owners as they become whole, and
                ``gradients.finish`` waits for them.
        """
        self.gradients.armed = last
        loss, next_token = self.model.training_loss(inputs_BT, targets_BT)
        factor: float | Tensor = share if self.scaler is None else share * self.scaler.scale
        torch.autograd.backward(loss * factor)
        return next_token

    def mean_over_ranks(self, value: float) -> float:
        """The mean of a number over the ranks."""
        return self.ranks.sum(torch.tensor(value, dtype=torch.float64)).item() / self.ranks.size

    def unscale(self) -> bool:
        """Take the loss scale out of the finished gradients; False means: skip this step."""
        if self.scaler is None:
            return True
        own = (p for name, p in self.model.named_parameters() if self.owners[name] == self.ranks.rank)
        return self.scaler.unscale(p.grad for p in own if p.grad is not None)

    @torch.no_grad()
    def nats(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Nats of every target, fp32 [B, T]; 0 where the target is -1."""
        with self.evaluating():
            nats_BT: Tensor = self.model(inputs_BT, targets_BT, loss="none")
        return nats_BT

    def continuations(
        self, rows: BranchedRows, shape: tuple[int, int], index_S: Tensor, target_S: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``GPT.continuations``, in the dtype that evaluation is in."""
        with self.evaluating():
            return self.model.continuations(rows, shape, index_S, target_S)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """FP8 layers compute in the compute dtype. Others have one way only, and are not asked to switch:
        compiled code would be guarded by the switch."""
        if self.num_fp8_layers:
            self.model.eval()
        try:
            yield
        finally:
            if self.num_fp8_layers:
                self.model.train()

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        """The model runs as it was written, also where its pieces are compiled."""
        if not self.key.compile:  # the compiler takes seconds to import
            yield
            return
        with torch.compiler.set_stance("force_eager"):
            yield

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and optimizer state of all ranks, flat, under ``model.`` and ``optimizer.``.

        Every rank must ask; the leader is given it.
        """
        state = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        own = {f"optimizer.{name}": t for name, t in self.optimizer.state_dict().items()}
        state |= {f"scaler.{name}": t for name, t in self._scaler_state().items()}
        return state | self.ranks.collect(own)

    def _scaler_state(self) -> dict[str, Tensor]:
        return {} if self.scaler is None else self.scaler.state()

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, in place.

        Raises:
            CheckpointError: the state belongs to another optimizer.
            KeyError: a parameter is missing.
        """
        optimizer = {k.removeprefix("optimizer."): t for k, t in state.items() if k.startswith("optimizer.")}
        self.optimizer.load_state_dict(optimizer)
        for name, tensor in self.model.state_dict().items():
            tensor.copy_(state[f"model.{name}"])
        for name, tensor in self._scaler_state().items():
            tensor.copy_(state[f"scaler.{name}"])


def _allow_many_graphs() -> None:
    """For the whole process: ``torch.compile`` of torch 2.11 takes no limit of its own."""
    from torch._dynamo import config  # not above: it takes a second, and its caches a folder (compile_lock)

    config.recompile_limit = RECOMPILE_LIMIT


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
