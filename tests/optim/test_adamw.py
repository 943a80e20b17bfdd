"""AdamW against torch.optim.AdamW's plain loop in fp32, and against its formula for bf16 storage."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sweepkit.optim.adamw import AdamRule, AdamWGroup
from sweepkit.optim.schedule import Now


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), max_size=2).map(tuple),
    lr=st.floats(1e-4, 0.5),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0.5, 0.999),
    weight_decay=st.floats(0, 0.5),
    seed=st.integers(0, 1000),
)
def test_fp32_equals_torchs_adamw(
    shape: tuple[int, ...], lr: float, beta1: float, beta2: float, weight_decay: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours = nn.Parameter(torch.randn(shape, generator=generator))
    theirs = nn.Parameter(ours.detach().clone())
    group = AdamWGroup([("p", ours)], AdamRule(lr, beta1, beta2, 1e-10, weight_decay))
    reference = torch.optim.AdamW(
        [theirs],
        lr=lr,
        betas=(beta1, beta2),
        eps=1e-10,
        weight_decay=weight_decay,
        foreach=False,
        fused=False,
    )
    for step in range(6):
        factor = 1 - step / 10
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        reference.param_groups[0]["lr"] = lr * factor
        group.set_step(Now(step, factor))
        group.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_bf16_storage_fp32_arithmetic() -> None:
    """Every stored value is the fp32 result rounded once."""
    generator = torch.Generator().manual_seed(1)
    table = nn.Parameter(torch.randn(64, 8, generator=generator).bfloat16())
    group = AdamWGroup([("table", table)], AdamRule(0.3, 0.8, 0.995, 1e-10, 0.001))
    assert group.exp_avgs[0].dtype == group.exp_avg_sqs[0].dtype == torch.bfloat16
    for step in range(4):
        table.grad = (0.01 * torch.randn(64, 8, generator=generator)).bfloat16()
        g, p = table.grad.float(), table.detach().float()
        first = 0.8 * group.exp_avgs[0].float() + 0.2 * g
        second = 0.995 * group.exp_avg_sqs[0].float() + 0.005 * g * g
        root = (second / (1 - 0.995 ** (step + 1))).sqrt() + 1e-10
        p = p * (1 - 0.3 * 0.001) - 0.3 * (first / (1 - 0.8 ** (step + 1))) / root
        group.set_step(Now(step))
        group.step()
        for stored, exact in ((table, p), (group.exp_avgs[0], first), (group.exp_avg_sqs[0], second)):
            torch.testing.assert_close(stored.detach().float(), exact, atol=1e-8, rtol=2**-8)


def test_scheduled_decay_only_where_asked_for() -> None:
    for scheduled, expected in ((True, 1 - 0.1 * 0.5 * 0.25), (False, 1 - 0.1 * 0.5)):
        parameter = nn.Parameter(torch.ones(3))
        group = AdamWGroup([("p", parameter)], AdamRule(0.1, 0.8, 0.9, 1e-10, 0.5, scheduled))
        parameter.grad = torch.zeros(3)
        group.set_step(Now(0, weight_decay=0.25))
        group.step()
        torch.testing.assert_close(parameter.detach(), torch.full((3,), expected))
