"""Checks of the GPU proof that compare numbers: FP8, loss scaling, attention kernels.

Shapes: N tokens, K inputs, O outputs; B batch, T time, H heads, D head size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from gpu_rows import Bench
from torch import Tensor

from sweepkit.config.choices import AttentionBackend, Fp8Backend
from sweepkit.config.compose import compose
from sweepkit.model import flash3
from sweepkit.model.attend import Attend
from sweepkit.precision import policy
from sweepkit.training import compile_lock, selfcheck, step_speed
from sweepkit.training import device as devices
from sweepkit.training.engine import Engine

#: N, K, O of d12's first matrix of an MLP and of its vocabulary projection, and what stands in for them.
PRODUCTS = {"linear": (16_384, 768, 3072), "projection": (4096, 768, 32_768)}
SMALL_PRODUCTS = {"linear": (64, 64, 128), "projection": (32, 64, 256)}
#: B, H, T, D and the window of d12's attention.
ATTENTION, SMALL_ATTENTION = (8, 6, 2048, 128, 512), (1, 2, 320, 32, 64)
SMALL_MODEL = (
    "model=d2",
    "horizon.num_steps=10",
    "tokenizer.vocab_size=512",
    "horizon.sequence_len=128",
    "horizon.device_batch_size=2",
    "horizon.total_batch_size=256",
    "trainer=eager",
)
MODEL = (
    "model=d6",
    "horizon.num_steps=10",
    "horizon.sequence_len=1024",
    "horizon.device_batch_size=4",
    "horizon.total_batch_size=4096",
    "trainer=eager",
)
_LOSS_LIMIT, _GRADIENT_LIMIT = 0.01, 0.15  # of a whole model in FP8, relative to the one in bf16
_BF16_LIMIT = 0.03
_NUM_TIMED = 10


def fp8(bench: Bench) -> None:
    """FP8 against fp64 and bf16: products alone, then a model's loss and gradients, and its evaluation."""
    compile_lock.use_folder()
    native = policy.native_fp8(bench.device)[0]
    backend = Fp8Backend.native if native else Fp8Backend.emulated
    shapes = PRODUCTS if bench.has_gpu else SMALL_PRODUCTS
    operands = {kind: _Operands.of(bench.device, *shape) for kind, shape in shapes.items()}
    plain = selfcheck.linear_product(lambda x, weight: F.linear(x, weight.to(x.dtype)))
    plain_ms = {kind: _product(bench, f"bf16 {kind}", plain, operands[kind], 0.015) for kind in shapes}
    for name, product in selfcheck.fp8_products(backend, compiled=native):
        kind = name.split(",")[0]
        try:
            _product(bench, f"FP8 {name}", product, operands[kind], selfcheck.FP8_LIMIT, plain_ms[kind])
        except Exception as error:
            bench.failed(f"FP8 {name}", error)
    if not native:
        bench.not_run("FP8 native, eager and compiled")
    del operands
    for scaling in ("tensorwise", "rowwise"):
        _model_in_fp8(bench, scaling)


@dataclass(frozen=True)
class _Operands:
    """Input [N, K], weight [O, K] and gradient [N, O] of a product, and what comes out of it in fp64."""

    given: tuple[Tensor, Tensor, Tensor]
    expected: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, device: torch.device, tokens: int, inputs: int, outputs: int) -> _Operands:
        shapes = ((tokens, inputs), (outputs, inputs), (tokens, outputs))
        x, weight, gradient = (_random(*shape, device=device, seed=i) for i, shape in enumerate(shapes))
        wide = x.double(), weight.double(), gradient.double()
        expected = wide[0] @ wide[1].T, wide[2] @ wide[1], wide[2].T @ wide[0]
        return cls((x, weight.float(), gradient), expected)


def _product(
    bench: Bench,
    name: str,
    product: selfcheck.Product,
    operands: _Operands,
    limit: float,
    plain_ms: float | None = None,
) -> float:
    """Errors of output and both gradients, relative to their norms; milliseconds of all three."""

    def multiply() -> tuple[Tensor, Tensor, Tensor]:
        return product(*(part.detach() for part in operands.given))

    errors = [_difference(*pair) for pair in zip(multiply(), operands.expected, strict=True)]
    took_ms = _milliseconds(bench.device, multiply)
    more = f" (output {errors[0]:.2g}, gradients {errors[1]:.2g}, {errors[2]:.2g}); {took_ms:.3g} ms"
    if plain_ms is not None:
        more += f", {plain_ms / took_ms:.2f}× bf16's speed"
    (tokens, inputs), outputs = operands.given[0].shape, len(operands.given[1])
    name += f", {tokens} × {inputs} → {outputs}"
    bench.error(name, max(errors), limit, more, forward_backward_ms=took_ms)
    return took_ms


def _model_in_fp8(bench: Bench, scaling: str) -> None:
    """One batch through the same weights in bf16 and in FP8."""
    size = MODEL if bench.has_gpu else SMALL_MODEL
    losses, gradients, nats = [], [], []
    for precision in ("precision=bf16", "precision=fp8"):
        rule = [f"precision.fp8.scaling={scaling}", "precision.fp8.allow_eager=true"]
        plan, key, _ = step_speed.prepare(compose([*size, precision, *rule]), bench.device)
        engine = Engine(plan, key)
        _moved(engine)
        tokens = torch.arange(plan.device_batch_size * plan.sequence_len, dtype=torch.int32) * 7 % 509
        inputs_BT = tokens.view(plan.device_batch_size, plan.sequence_len).to(bench.device)
        losses.append(engine.backward(inputs_BT, inputs_BT.flip(1).contiguous(), 1.0).item())
        found = [p.grad.float().flatten() for p in engine.model.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
        nats.append(engine.nats(inputs_BT, inputs_BT.flip(1).contiguous()))
    depth = plan.depth
    loss_error = abs(losses[1] - losses[0]) / losses[0]
    bench.error(f"d{depth} in FP8, {scaling}: loss against bf16", loss_error, _LOSS_LIMIT)
    bench.error(
        f"d{depth} in FP8, {scaling}: gradients against bf16",
        _difference(gradients[1], gradients[0]),
        _GRADIENT_LIMIT,
    )
    furthest = (nats[1] - nats[0]).abs().max().item()
    bench.error(f"d{depth} in FP8, {scaling}: nats of an evaluation, which is in bf16", furthest, 0.0)


@torch.no_grad()
def _moved(engine: Engine) -> None:
    """Initial weights, moved: the zeros among them would hide mistakes."""
    engine.model.initialize(0)
    for seed, parameter in enumerate(engine.model.parameters()):
        noise = _random(*parameter.shape, device=parameter.device, seed=seed)
        parameter.add_((0.02 * noise).to(parameter.dtype))


def fp16(bench: Bench) -> None:
    """A step that overflows is skipped and halves the scale; the steps before and after it are taken."""
    plan, key, _ = step_speed.prepare(compose([*SMALL_MODEL, "precision=fp16"]), bench.device)
    engine = Engine(plan, key)
    engine.renew(plan)
    assert engine.scaler is not None
    scale = engine.scaler.scale
    rows = torch.arange(256, dtype=torch.int32).view(2, 128).to(bench.device)
    usual = scale.item()
    for name, forced, is_taken in (
        ("a usual step", usual, True),
        ("an overflowing step", 2.0**60, False),
        ("the step after it", usual, True),
    ):
        scale.fill_(forced)
        before = [parameter.detach().clone() for parameter in engine.model.parameters()]
        engine.set_step(plan, 0)
        engine.backward(rows, rows.flip(1).contiguous(), 1.0)
        taken = engine.unscale()
        if taken:
            engine.step(plan)
        engine.optimizer.zero_grad()
        same = all(map(torch.equal, before, engine.model.parameters()))
        finite = all(bool(parameter.isfinite().all()) for parameter in engine.model.parameters())
        words = f"{'taken' if taken else 'skipped'}, scale {forced:g} → {scale.item():g}"
        halved = scale.item() == (forced if is_taken else forced / 2)
        bound = "taken, weights finite" if is_taken else "skipped, weights as they were, scale halved"
        right = taken is is_taken and same is not is_taken and finite and halved
        bench.judged(f"fp16: {name}", words, bound, right, scale=scale.item())


def attention(bench: Bench) -> None:
    """Every kernel that is there against SDPA in fp32: values, gradients, milliseconds of both passes."""
    batch, heads, time_, size, window = ATTENTION if bench.has_gpu else SMALL_ATTENTION
    dtype = torch.bfloat16
    shape = batch, heads, time_, size
    made = [_random(*shape, device=bench.device, seed=seed) for seed in range(4)]
    kernels = selfcheck.attention_backends(bench.device, dtype)
    for reach, name in ((window, f"window {window}"), (time_, "no window")):
        exact = _both_passes(
            _kernel(bench, AttentionBackend.sdpa, reach, torch.float32), [x.float() for x in made]
        )
        for backend in kernels:
            label = f"{backend.name}, {name}"
            try:
                attend = _kernel(bench, backend, reach, dtype)
                if backend is AttentionBackend.banded and attend.backend is not backend:
                    continue  # without a window it is SDPA
                found = _both_passes(attend, made)
                milliseconds = _milliseconds(bench.device, lambda attend=attend: _both_passes(attend, made))
            except Exception as error:
                bench.failed(label, error)
                continue
            worst = max(map(_difference, found, exact))
            bench.error(
                label, worst, _BF16_LIMIT, f"; {milliseconds:.3g} ms", forward_backward_ms=milliseconds
            )
    if AttentionBackend.flash3 not in kernels:
        why = flash3.available(bench.device, dtype, size)[1]
        bench.not_run("flash3", f"not installed: {why}" if bench.has_gpu else "not run: no GPU")


def _kernel(bench: Bench, backend: AttentionBackend, window: int, dtype: torch.dtype) -> Attend:
    time_ = (ATTENTION if bench.has_gpu else SMALL_ATTENTION)[2]
    return Attend(backend, window, time_, dtype, bench.device)


def _both_passes(attend: Attend, made: list[Tensor]) -> list[Tensor]:
    """The output [B, H, T, D] and the gradients of queries, keys and values."""
    operands = [part.detach().requires_grad_() for part in made[:3]]
    y_BHTD = attend(*operands)
    return [y_BHTD, *torch.autograd.grad(y_BHTD, operands, made[3])]


def _milliseconds(device: torch.device, work: Callable[[], object]) -> float:
    """The median of a few calls, after one that does not count."""
    times_s = []
    for _ in range(1 + (_NUM_TIMED if device.type == "cuda" else 2)):
        devices.synchronize(device)
        started = time.perf_counter()
        work()
        devices.synchronize(device)
        times_s.append(time.perf_counter() - started)
    return 1000 * statistics.median(times_s[1:])


def _random(*shape: int, device: torch.device, seed: int) -> Tensor:
    """Normal, bf16, the same numbers on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16().to(device)


def _difference(found: Tensor, reference: Tensor) -> float:
    """Relative to the reference's norm."""
    found, reference = found.detach().double(), reference.detach().double()
    return float((found - reference).norm() / reference.norm())
