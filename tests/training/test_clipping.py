"""Clipping the gradient to a largest norm, against loops over single numbers, and in runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_runs import folder, losses, run, stop_after, tiny

from sweepkit.optim.optimizer import Optimizer, build_optimizer
from sweepkit.training.session import Session

SMALL = (  # a CPU is slow in fp16
    "horizon.sequence_len=16",
    "horizon.num_steps=3",
    "horizon.total_batch_size=64",
    "horizon.device_batch_size=2",
    "evaluation.max_bytes=300",
    "evaluation.streams=[validation]",
)


def parameters_with_gradients(scale: float) -> list[nn.Parameter]:
    """A table in bf16, a matrix, a row and a single number."""
    generator, found = torch.Generator().manual_seed(4), []
    for shape, dtype in (((9, 4), torch.bfloat16), ((4, 6), torch.float32), ((3,), None), ((), None)):
        parameter = nn.Parameter(torch.zeros(shape, dtype=dtype))
        parameter.grad = (scale * torch.randn(shape, generator=generator)).to(parameter.dtype)
        found.append(parameter)
    return found


def optimizer_of(parameters: list[nn.Parameter], *overrides: str) -> Optimizer:
    roles = {"embedding": [(str(index), parameter) for index, parameter in enumerate(parameters)]}
    return build_optimizer(roles, tiny(*overrides), torch.bfloat16, compile_options=None)


def plain_clip(gradients: list[Tensor], max_norm: float) -> tuple[float, list[list[float]]]:
    """The norm, and every gradient's numbers after clipping."""
    numbers = [[float(number) for number in gradient.flatten()] for gradient in gradients]
    squares = 0.0
    for gradient in numbers:
        for number in gradient:
            squares += number * number
    norm = math.sqrt(squares)
    factor = max_norm / (norm + 1e-6) if norm > max_norm else 1.0
    return norm, [[number * factor for number in gradient] for gradient in numbers]


@pytest.mark.parametrize(("scale", "is_clipped"), [(1.0, True), (1e-3, False), (0.0, False)])
def test_the_whole_gradient_is_scaled_to_the_largest_norm(scale: float, is_clipped: bool) -> None:
    parameters = parameters_with_gradients(scale)
    optimizer = optimizer_of(parameters, "optimizer.grad_clip=0.7")
    before = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
    norm, expected = plain_clip(before, 0.7)
    assert (norm > 0.7) is is_clipped
    found = optimizer.clip()
    assert found is not None and found.item() == pytest.approx(norm, rel=1e-5)
    for parameter, old, numbers in zip(parameters, before, expected, strict=True):
        assert parameter.grad is not None
        if is_clipped:
            rounding = 2.0**-8 if parameter.dtype is torch.bfloat16 else 1e-6
            found_numbers = parameter.grad.float().flatten().tolist()
            assert found_numbers == pytest.approx(numbers, rel=rounding, abs=1e-9)
        else:
            assert torch.equal(parameter.grad, old)


def test_nothing_is_clipped_unless_asked_for() -> None:
    parameters = parameters_with_gradients(1e6)
    before = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
    assert optimizer_of(parameters).clip() is None
    for parameter, old in zip(parameters, before, strict=True):
        assert parameter.grad is not None and torch.equal(parameter.grad, old)


def norms(plan_overrides: tuple[str, ...], session: Session, results: Path) -> list[float]:
    plan = tiny(*SMALL, "logging.every_steps=1", *plan_overrides)
    assert run(session, plan, results).state == "complete"
    return [row["grad_norm"] for row in folder(plan, results).metrics() if "grad_norm" in row]


@pytest.mark.slow
def test_runs_record_the_norm_before_clipping(session: Session, tmp_path: Path) -> None:
    """Under fp16 of the gradients without the loss scale; the norm of diagnostics is the same number."""
    clipped = norms(("optimizer.grad_clip=0.01",), session, tmp_path)
    diagnosed = norms(("logging.diagnostics_every_steps=1",), session, tmp_path)
    half = norms(("optimizer.grad_clip=0.01", "precision.dtype=fp16"), session, tmp_path)
    assert len(clipped) == len(diagnosed) == len(half) == 3
    assert min(clipped) > 0.01 and clipped[0] == diagnosed[0]
    assert half[0] == pytest.approx(clipped[0], rel=0.02)
    assert norms((), session, tmp_path / "plain") == []


@pytest.mark.slow
def test_a_limit_that_is_never_reached_changes_no_bit_and_a_clipped_run_goes_on(
    session: Session, tmp_path: Path
) -> None:
    plain, high = tiny(), tiny("optimizer.grad_clip=1e9")
    clipped = tiny("optimizer.grad_clip=0.05")
    for plan in (plain, high, clipped):
        run(session, plan, tmp_path)
    assert losses(plain, tmp_path) == losses(high, tmp_path) != losses(clipped, tmp_path)
    run(session, clipped, tmp_path / "cut", 1, stop_after(6))
    run(session, clipped, tmp_path / "cut", 2)
    assert losses(clipped, tmp_path / "cut") == losses(clipped, tmp_path)
