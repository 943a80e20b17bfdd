"""How large parameters are, how large their gradients, and how far a step moves them, by parameter and group.

Ratios are of root-mean-squares, as log10; about −3 is healthy for an update (methodology §6). The weights
before the step are kept for the sampled rows only: tensors larger than 2^22 elements contribute every
k-th row, so that the copy stays small on any model. Every rank looks at what it owns, for only the owner has
the whole gradient. Nothing here is traced, and what is measured reaches the host in one copy.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sweepkit.config.choices import MatrixOptimizer
from sweepkit.optim import schedule
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.diagnosed import (
    BINS_PER_DECADE,
    FIRST_EDGE,
    NUM_BINS,
    Diagnosed,
    Histogram,
    Moved,
)
from sweepkit.training import activations
from sweepkit.training import device as devices
from sweepkit.training.engine import Engine

_MAX_ELEMENTS = 1 << 22
#: Elements of a parameter's gradient that its group's histogram counts, at the most.
_MAX_COUNTED = 1 << 14


class StepProbe:
    """Watches one step: made before it, told of what is done, asked at its end.

    Attributes:
        seconds: what looking took so far, device included; no part of the step.
    """

    def __init__(self, engine: Engine, plan: RunPlan) -> None:
        self._engine, self._plan = engine, plan
        self._ranks = engine.ranks
        matrix = plan.config.optimizer.matrix
        self._masks_decay = matrix.kind is MatrixOptimizer.muon and matrix.cautious_weight_decay
        self._names = [(role, name) for role, named in engine.roles.items() for name, _ in named]
        self._own = [
            (role, name, parameter)
            for role, named in engine.roles.items()
            for name, parameter in named
            if engine.owners[name] == self._ranks.rank
        ]
        self._first: tuple[Sequence[Tensor], float, int] | None = None
        self.seconds = 0.0

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        devices.synchronize(self._engine.device)
        started = time.perf_counter()
        with torch.no_grad():
            yield
        devices.synchronize(self._engine.device)
        self.seconds += time.perf_counter() - started

    def before_backward(self, index: int, share: float, num_micro_batches: int) -> None:
        """Micro-batch ``index`` goes backward next; what the first one alone gave is looked at on the way.

        On several ranks with one micro-batch each, that is when gradients are whole and not summed yet.

        Args:
            share: what the loss is multiplied by, the loss scale apart.
        """
        factor = share if self._engine.scaler is None else share * self._engine.scaler.scale.item()
        tokens = self._plan.device_batch_size * self._plan.sequence_len
        if index == 0 and num_micro_batches == 1 and self._ranks.size > 1:
            self._first = self._engine.gradients.watch(), factor, tokens
        elif index == 1:
            with self._aside():
                gradients = [p.grad for p in self._engine.model.parameters() if p.grad is not None]
                self._first = torch._foreach_norm(gradients, 2, dtype=torch.float32), factor, tokens

    def before_update(self, norm: Tensor | None) -> Tensor:
        """Gradients are whole; returns their norm.

        Args:
            norm: as it was before clipping, where it is known.
        """
        with self._aside():
            self._norm = self._engine.optimizer.gradient_norm() if norm is None else norm
            self._before = [_sample(p).clone() for _, _, p in self._own]
            self._grads = _squares([_sample(_grad(p)) for _, _, p in self._own])
            self._counts = self._histograms()
        return self._norm

    def measure(self, step: int, loss: float, inputs_BT: Tensor) -> tuple[dict[str, float | None], Diagnosed]:
        """After the update: a number a group for the table of curves, and all the rest.

        The numbers are ``update_data_log10``, ``grad_data_log10``, ``weight_log10``; None for log of 0.

        Args:
            step: from 0.
            inputs_BT: the first micro-batch; the leader's is the same whatever the number of ranks, and the
                leader alone looks at activations.
        """
        with torch.no_grad():
            sums = self._ranks.sum(self._summed())
        counts = self._ranks.sum(self._counts)
        roles = list(self._engine.roles)
        row: dict[str, float | None] = {}
        for role in roles:
            places = [place for place, (its, _) in enumerate(self._names) if its == role]
            if places:
                data, grad, update, _, size = sums[places].sum(dim=0).tolist()
                row[f"update_data_log10_{role}"] = _log10_ratio(update, data)
                row[f"grad_data_log10_{role}"] = _log10_ratio(grad, data)
                row[f"weight_log10_{role}"] = _log10_ratio(data, size)
        layers, whole = self._activations(inputs_BT)
        return row, Diagnosed(
            step=step + 1,
            loss=loss,
            lr=schedule.at(step, self._plan).lr_by_batch,
            parameters={
                name: _moved(values, self._masks_decay and role == "matrix")
                for (role, name), values in zip(self._names, sums.tolist(), strict=True)
            },
            groups={
                role: Histogram(of_role[:-2], *of_role[-2:])
                for role, of_role in zip(roles, counts.tolist(), strict=True)
                if sum(of_role)
            },
            layers=layers,
            whole=whole | self._noise(schedule.updates_in(step, self._plan)),
        )

    def _activations(self, inputs_BT: Tensor) -> tuple[activations.Layers, activations.Whole]:
        engine, model = self._engine, self._engine.model
        layers: activations.Layers = {}
        whole: activations.Whole = {}
        if model.experts():
            load_LE = self._ranks.sum(torch.stack([experts.load for experts in model.experts()]))
            layers["expert_load_max"] = (load_LE.amax(dim=1) / load_LE.mean(dim=1)).tolist()
            layers["experts_idle"] = (load_LE == 0).double().mean(dim=1).tolist()
        if self._ranks.leads:
            with engine.eager(), engine.evaluating():
                of_layers, whole = activations.measure(model, inputs_BT)
            layers |= of_layers
        return layers, whole

    def _noise(self, num_parts: int) -> dict[str, float | None]:
        """The two numbers whose ratio is the gradient noise scale; none where the batch came in one piece."""
        if self._first is None:
            return {}
        norms, factor, tokens = self._first
        squares = torch.stack(list(norms)).double().square().sum().cpu()
        small = self._ranks.sum(squares).item() / self._ranks.size / factor**2
        large = self._norm.double().square().item()
        total = self._plan.total_batch_size / num_parts
        if not (math.isfinite(small) and math.isfinite(large)):
            return {"gradient_square": None, "noise_trace": None}
        return {
            "gradient_square": (total * large - tokens * small) / (total - tokens),
            "noise_trace": (small - large) / (1 / tokens - 1 / total),
        }

    def _summed(self) -> Tensor:
        """Sums over what is looked at of every parameter, fp64 [all parameters, 5]; 0 for other ranks' own.

        Squares of weights, gradients and updates, elements that moved away from 0, elements.
        """
        found = torch.zeros(len(self._names), 5, dtype=torch.float64)
        updates = [
            _sample(p).float() - old.float() for (_, _, p), old in zip(self._own, self._before, strict=True)
        ]
        # A step that leads away from 0 is the one that cautious decay is not applied to (optim/muon.py).
        away = [
            ((update * old) > 0).sum().double()
            if self._masks_decay and role == "matrix"
            else torch.zeros((), dtype=torch.float64, device=old.device)
            for (role, _, _), update, old in zip(self._own, updates, self._before, strict=True)
        ]
        sizes = torch.tensor([old.numel() for old in self._before], dtype=torch.float64)
        if self._own:
            columns = [_squares(self._before), self._grads, _squares(updates), torch.stack(away)]
            own = torch.cat((torch.stack(columns, dim=1).cpu(), sizes[:, None]), dim=1)
            place = {name: index for index, (_, name) in enumerate(self._names)}
            found[[place[name] for _, name, _ in self._own]] = own
        return found

    def _histograms(self) -> Tensor:
        """Elements by log10|g|, then zeros, then what is not finite; fp64 [groups, bins + 2]."""
        roles = list(self._engine.roles)
        found = torch.zeros(len(roles), NUM_BINS + 2, dtype=torch.float64, device=self._engine.device)
        for role, _, parameter in self._own:
            flat = _grad(parameter).flatten()
            stride = max(1, flat.numel() // _MAX_COUNTED)
            size = flat[::stride].float().abs()
            place = ((size.log10() - FIRST_EDGE) * BINS_PER_DECADE).floor().clamp(0, NUM_BINS - 1)
            place = torch.where(size == 0, NUM_BINS, place)
            place = torch.where(size.isfinite(), place, NUM_BINS + 1)
            found[roles.index(role)] += stride * torch.bincount(place.long(), minlength=NUM_BINS + 2)
        return found.cpu()


def _grad(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach()


def _sample(tensor: Tensor) -> Tensor:
    """All of a tensor, or every k-th row of a large one (a view)."""
    step = max(1, tensor.numel() // _MAX_ELEMENTS)
    return tensor.detach()[::step] if tensor.dim() and step > 1 else tensor.detach()


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    """Of each its sum of squares, fp64 [tensors]."""
    if not tensors:
        return torch.zeros(0, dtype=torch.float64)
    return torch.stack(torch._foreach_norm(list(tensors), 2, dtype=torch.float32)).double().square()


def _moved(sums: Sequence[float], masks_decay: bool) -> Moved:
    squares, away, size = sums[:3], *sums[3:]
    weight, gradient, update = (math.sqrt(item / size) if math.isfinite(item) else None for item in squares)
    return Moved(weight, gradient, update, away / size if masks_decay else None)


def _log10_ratio(over: float, under: float) -> float | None:
    """log10 of the ratio of root-mean-squares, from sums of squares over the same elements."""
    if not (over > 0 and under > 0 and math.isfinite(over) and math.isfinite(under)):
        return None
    return 0.5 * math.log10(over / under)
