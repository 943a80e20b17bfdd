"""Does what would be used here compute what it should? Each part against a plain reference, in seconds.

A check runs a small problem on the device in the dtype of the run and compares with fp64, a singular value
decomposition or the uncompiled program. Limits follow from the formats: bf16 keeps 8 bits, e4m3 4, e5m2 3.

Shapes: B batch, T time, H query heads, G key/value heads, K head size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sweepkit.config import compose
from sweepkit.config.choices import AttentionBackend, Fp8Backend, Fp8Scaling
from sweepkit.distributed import exchange_check
from sweepkit.model import flash3
from sweepkit.model.attend import Attend
from sweepkit.model.gpt import GPT, build_model
from sweepkit.model.loss import Project
from sweepkit.optim.adamw import AdamRule, AdamWGroup
from sweepkit.optim.muon import MuonRule, input_scale, muon_step, polar_express
from sweepkit.optim.schedule import Now
from sweepkit.plan.build import build
from sweepkit.precision import fp8
from sweepkit.precision.loss_scaler import LossScaler
from sweepkit.training import compile_lock
from sweepkit.training.engine import COMPILE_OPTIONS

#: Largest error relative to the reference's norm that a sound product has, by compute dtype.
_LIMIT = {torch.float32: 1e-4, torch.float16: 3e-3, torch.bfloat16: 1.5e-2}
#: The same of a product in FP8, and of its gradients.
FP8_LIMIT = 0.08
_HEAD_DIM = 64
_POLAR_LIMIT = 0.2  # singular values end within 0.145 of 1; bf16 adds to it
_TINY = (
    "model=d2",
    "model.head_dim=64",
    "tokenizer.vocab_size=512",
    "horizon.sequence_len=128",
    "horizon.num_steps=10",
    "horizon.device_batch_size=2",
    "horizon.total_batch_size=256",
)


@dataclass(frozen=True)
class Check:
    """One part: ``measure`` gives its largest error, which must be at most ``limit``."""

    name: str
    reference: str
    limit: float
    measure: Callable[[], float]


@dataclass(frozen=True)
class Outcome:
    """What came of a check; ``error`` is None where it raised, and ``problem`` says what."""

    name: str
    reference: str
    limit: float
    error: float | None
    seconds: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        return self.error is not None and self.error <= self.limit


def perform(check: Check) -> Outcome:
    """Run one check; it never raises."""
    started = time.perf_counter()
    error, problem = None, ""
    try:
        error = check.measure()
    except Exception as raised:
        lines = str(raised).strip().splitlines() or [""]
        problem = f"{type(raised).__name__}: {lines[0]}"
    return Outcome(check.name, check.reference, check.limit, error, time.perf_counter() - started, problem)


def checks(
    device: torch.device, dtype: torch.dtype, fp8_backend: Fp8Backend | None, compiled: bool
) -> Iterator[Check]:
    """What can be checked on ``device``.

    Args:
        dtype: the compute dtype.
        fp8_backend: what FP8 would use here, whether a run asks for FP8 or not; None where there is no FP8.
        compiled: whether torch.compile is to be tried.
    """
    if compiled:
        compile_lock.keep_headers()
    short = str(dtype).removeprefix("torch.")
    limit = _LIMIT[dtype]
    yield Check(f"{short} matrix product", "fp64", limit, lambda: _matrix_product(device, dtype))
    for backend in attention_backends(device, dtype):
        yield Check(
            f"attention {backend.name}", "plain softmax, fp64", 2 * limit, _attention(backend, device, dtype)
        )
    if fp8_backend is not None:
        yield from _fp8_checks(device, fp8_backend, compiled)
    yield Check("Muon's orthogonalisation", "SVD", _POLAR_LIMIT, lambda: _polar(device, dtype))
    if compiled and device.type != "cpu":  # where a run compiles it
        fused = torch.compile(muon_step, **COMPILE_OPTIONS)
        yield Check("Muon, compiled", "eager", 2 * limit, lambda: _muon(fused, device, dtype))
    yield Check("AdamW", "its formula", 2 * limit, lambda: _adamw(device, dtype))
    num_gpus = torch.cuda.device_count() if device.type == "cuda" else 1
    if num_gpus > 1:
        yield Check(f"{num_gpus} ranks, NCCL", "known sums", 0.0, lambda: exchange_check.measure(num_gpus))
    yield Check("loss scaler", "skips overflow", 0.0, lambda: _loss_scaler(device))
    if compiled:
        yield Check("compiled model", "eager model", 2 * limit, lambda: _compiled(device, dtype))


def attention_backends(device: torch.device, dtype: torch.dtype) -> list[AttentionBackend]:
    """Those that run on ``device``."""
    found = [AttentionBackend.sdpa, AttentionBackend.banded]
    return [*found, AttentionBackend.flash3] if flash3.available(device, dtype, _HEAD_DIM)[0] else found


def _random(*shape: int, device: torch.device, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).to(device)


def _difference(found: Tensor, reference: Tensor) -> float:
    """Relative to the reference's norm; NaN counts as infinite."""
    found, reference = (part.detach().cpu().double() for part in (found, reference))
    error = float((found - reference).norm() / reference.norm())
    return error if math.isfinite(error) else math.inf


def _matrix_product(device: torch.device, dtype: torch.dtype) -> float:
    a, b = (_random(512, 512, device=device, dtype=dtype, seed=seed) for seed in range(2))
    return _difference(a @ b, a.cpu().double() @ b.cpu().double())


def _attention(backend: AttentionBackend, device: torch.device, dtype: torch.dtype) -> Callable[[], float]:
    def measure() -> float:
        """Values and gradients, with and without a window and grouped queries."""
        worst = 0.0
        for window, groups in ((300, 4), (70, 4), (70, 2)):
            layer = Attend(backend, window, 300, dtype, device)
            made = [
                _random(2, 300, heads, _HEAD_DIM, device=device, dtype=dtype, seed=seed).transpose(1, 2)
                for seed, heads in enumerate((4, groups, groups))
            ]
            gradient = _random(2, 4, 300, _HEAD_DIM, device=device, dtype=dtype, seed=3)
            ours = [part.detach().requires_grad_() for part in made]
            plain = [part.detach().cpu().double().requires_grad_() for part in made]
            found, reference = layer(*ours), _plain_attention(plain, window)
            grads = torch.autograd.grad(found, ours, gradient)
            expected = torch.autograd.grad(reference, plain, gradient.cpu().double())
            pairs = [(found, reference), *zip(grads, expected, strict=True)]
            worst = max(worst, *(_difference(a, b) for a, b in pairs))
        return worst

    return measure


def _plain_attention(operands: list[Tensor], window: int) -> Tensor:
    q_BHTK, k_BGTK, v_BGTK = operands
    repeats, time_ = q_BHTK.size(1) // k_BGTK.size(1), q_BHTK.size(2)
    k_BHTK, v_BHTK = (x.repeat_interleave(repeats, dim=1) for x in (k_BGTK, v_BGTK))
    distance = torch.arange(time_)[:, None] - torch.arange(time_)[None, :]
    scores = q_BHTK @ k_BHTK.mT / math.sqrt(q_BHTK.size(3))
    hidden = (distance < 0) | (distance > window)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v_BHTK


#: Of input, weight and the output's gradient: the output and both gradients.
Product = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def _fp8_checks(device: torch.device, backend: Fp8Backend, compiled: bool) -> Iterator[Check]:
    for name, product in fp8_products(backend, compiled):
        yield Check(f"FP8 {name}", "fp64", FP8_LIMIT, partial(_fp8, product, device))


def fp8_products(backend: Fp8Backend, compiled: bool) -> Iterator[tuple[str, Product]]:
    """What FP8 multiplies, by its name: a Linear and the vocabulary projection, in every scaling.

    Args:
        compiled: native ones compiled too.
    """
    native = backend is Fp8Backend.native
    for scaling in Fp8Scaling:
        how: dict[str, Any] = {"native": native, "rowwise": scaling is Fp8Scaling.rowwise}
        linear, quantize, name = partial(fp8.linear, **how), fp8.quantize, f"{scaling.name}, {backend.name}"
        yield f"linear, {name}", linear_product(linear)
        yield f"projection, {name}", _projection(partial(fp8.Projection, quantize=quantize, **how))
        if compiled and native:
            quantize, name = torch.compile(quantize, **COMPILE_OPTIONS), f"{scaling.name}, compiled"
            yield f"linear, {name}", linear_product(torch.compile(linear, fullgraph=True))
            yield f"projection, {name}", _projection(partial(fp8.Projection, quantize=quantize, **how))


def _fp8(product: Product, device: torch.device) -> float:
    x = _random(128, 256, device=device, dtype=torch.bfloat16, seed=0)
    weight = _random(384, 256, device=device, dtype=torch.float32, seed=1)
    gradient = _random(128, 384, device=device, dtype=torch.bfloat16, seed=2)
    x64, w64, g64 = (part.cpu().double() for part in (x, weight, gradient))
    expected = (x64 @ w64.T, g64 @ w64, g64.T @ x64)
    return max(map(_difference, product(x, weight, gradient), expected))


def linear_product(linear: Callable[[Tensor, Tensor], Tensor]) -> Product:
    """Of a function of input and weight: its output and both gradients."""

    def product(x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = linear(x.requires_grad_(), weight.requires_grad_())
        grad_x, grad_weight = torch.autograd.grad(y, (x, weight), gradient)
        return y, grad_x, grad_weight

    return product


def _projection(project: Project) -> Product:
    def product(x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projection, rows = project(x, weight), slice(0, x.size(0))
        return projection.logits(rows), *projection.gradients(rows, gradient)

    return product


def _polar(device: torch.device, dtype: torch.dtype) -> float:
    """How far singular values are from 1 after Polar Express, along the directions of the SVD."""
    iteration = torch.bfloat16 if dtype is torch.bfloat16 else torch.float32
    x = _random(2, 96, 64, device=device, dtype=torch.float32, seed=0)
    found = polar_express((x * input_scale(x, False)).to(iteration), 5).cpu().double()
    u, _, vh = torch.linalg.svd(x.cpu().double(), full_matrices=False)
    reached = (u.mT @ found @ vh.mT).diagonal(dim1=-2, dim2=-1)
    return float((reached - 1).abs().max())


def _muon(step: Callable[..., None], device: torch.device, dtype: torch.dtype) -> float:
    """Weights and both moments after a step that is all update: the weights before are small."""
    iteration = torch.bfloat16 if dtype is torch.bfloat16 else torch.float32
    rule = MuonRule(5, True, True, True, iteration)
    lr, decay, mix, beta2 = (torch.tensor(value, device=device) for value in (1.0, 0.1, 0.9, 0.95))
    states = []
    for function in (step, muon_step):
        gradient, weight, momentum = (
            scale * _random(2, 96, 64, device=device, dtype=torch.float32, seed=seed)
            for seed, scale in enumerate((1.0, 0.01, 1.0))
        )
        second = torch.zeros(2, 96, 1, device=device)
        function(weight, gradient, momentum, second, lr, decay, mix, beta2, rule)
        states.append((weight, momentum, second))
    return max(map(_difference, *states))


def _adamw(device: torch.device, dtype: torch.dtype) -> float:
    """The first step, which is the gradient's sign, on a table as ``Embedding`` keeps it."""
    dtype = torch.float32 if dtype is torch.float16 else dtype
    table = nn.Parameter(torch.zeros(64, 32, device=device, dtype=dtype))
    table.grad = _random(64, 32, device=device, dtype=dtype, seed=0)
    group = AdamWGroup([("table", table)], AdamRule(0.1, 0.8, 0.95, 1e-10, 0.1))
    group.set_step(Now(0))
    group.step()
    return _difference(table, -0.1 * table.grad.sign().cpu().double())


def _loss_scaler(device: torch.device) -> float:
    """0 where it lets finite gradients through, unscaled, and stops the others."""
    scaler = LossScaler(device)
    good = torch.ones(8, device=device) * scaler.scale
    bad = torch.tensor([1.0, math.inf], device=device)
    right = scaler.unscale([good]) and bool((good == 1).all()) and not scaler.unscale([bad])
    return 0.0 if right and scaler.scale.item() == 2.0**15 else 1.0


def _compiled(device: torch.device, dtype: torch.dtype) -> float:
    """Loss and gradients of a small model."""
    plan = build(compose.compose(_TINY))
    losses, gradients = [], []
    for compiled in (False, True):
        model: GPT = build_model(plan, dtype, device)
        model.initialize(0)
        with torch.no_grad():
            for seed, parameter in enumerate(model.parameters()):
                noise = _random(*parameter.shape, device=device, dtype=torch.float32, seed=seed)
                parameter.add_((0.02 * noise).to(parameter.dtype))
        if compiled:
            model.compile_regions(**COMPILE_OPTIONS)
        tokens = torch.arange(256, device=device, dtype=torch.int32).view(2, 128)
        loss = model(tokens, tokens.flip(1))
        loss.backward()
        losses.append(loss)
        named = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        gradients.append(torch.cat([grad.float().flatten() for grad in named.values()]))
    return max(_difference(losses[1], losses[0]), _difference(gradients[1], gradients[0]))
