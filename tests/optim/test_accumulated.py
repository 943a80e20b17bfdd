"""AdamW every k-th step, against a loop that is written out; the matrices under Muon are left alone."""

from __future__ import annotations

import pytest
import torch
from test_optimizer import made_up_roles, mini
from torch import Tensor, nn

from sweepkit.optim import schedule
from sweepkit.optim.optimizer import build_optimizer

PLAN = ("schedule.warmup_ratio=0.2", "schedule.warmdown_ratio=0.5", "optimizer.x0.weight_decay=0.3")
#: Steps of which nothing counts, as where gradients overflow in fp16.
SKIPPED = (1, 4, 5)
NUM_STEPS = 12


def gradients_of(step: int, parameter: nn.Parameter, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * step + sum(name.encode()))
    return torch.randn(parameter.shape, generator=generator)


def plain_adamw(
    weight: Tensor, name: str, block: dict[str, float], lr: float, weight_decay: float, every: int
) -> Tensor:
    """In fp64; ``lr`` is that of an update every step."""
    plan = mini(*PLAN)
    parameter, weight = nn.Parameter(weight), weight.double()
    first, second, total = (torch.zeros_like(weight) for _ in range(3))
    num_counted = num_updates = 0
    for step in range(NUM_STEPS):
        if step in SKIPPED:
            continue
        total = total + gradients_of(step, parameter, name).double()
        num_counted += 1
        if num_counted % every:
            continue
        num_updates += 1
        mean, total = total / every, torch.zeros_like(total)
        first = block["beta1"] * first + (1 - block["beta1"]) * mean
        second = block["beta2"] * second + (1 - block["beta2"]) * mean * mean
        rate = lr * every**-0.5 * schedule.lr_factor(step, plan)
        root = (second / (1 - block["beta2"] ** num_updates)).sqrt() + block["eps"]
        weight = weight - rate * weight_decay * weight
        weight = weight - rate * (first / (1 - block["beta1"] ** num_updates)) / root
    return weight.float()


def trained(every: int) -> tuple[dict[str, Tensor], dict[str, Tensor], list[set[str]]]:
    """Weights before and after, and the names of those that each step changed."""
    roles = made_up_roles(torch.float32)
    named = [item for members in roles.values() for item in members]
    before = {name: p.detach().clone() for name, p in named}
    plan = mini(*PLAN, f"optimizer.adam_every_steps={every}")
    optimizer = build_optimizer(roles, plan, torch.float32, compile_options=None)
    num_skipped, changed = 0, []
    for step in range(NUM_STEPS):
        for name, parameter in named:
            parameter.grad = gradients_of(step, parameter, name)
        optimizer.set_step(step, num_skipped)
        old = {name: p.detach().clone() for name, p in named}
        if step in SKIPPED:
            num_skipped += 1
        else:
            optimizer.step()
        optimizer.zero_grad()
        changed.append({name for name, p in named if not torch.equal(p, old[name])})
    return before, {name: p.detach() for name, p in named}, changed


@pytest.mark.parametrize("every", [1, 2, 4])
def test_adamw_takes_the_mean_of_several_steps(every: int) -> None:
    plan, (before, after, changed) = mini(*PLAN), trained(every)
    for role, members in made_up_roles(torch.float32).items():
        block = vars(getattr(plan.config.optimizer, role))
        for name, _ in members if role != "matrix" else ():
            rates = plan.learning_rates[role], plan.weight_decays[role]
            expected = plain_adamw(before[name], name, block, *rates, every)
            torch.testing.assert_close(after[name], expected, atol=2e-5, rtol=1e-4, msg=name)
    counted = [step for step in range(NUM_STEPS) if step not in SKIPPED]
    assert [step for step in range(NUM_STEPS) if "head" in changed[step]] == counted[every - 1 :: every]
    assert [step for step in range(NUM_STEPS) if "a.q" in changed[step]] == counted


def test_muon_is_as_before() -> None:
    _, plain, _ = trained(1)
    _, several, _ = trained(3)
    for name, _ in made_up_roles()["matrix"]:
        assert torch.equal(plain[name], several[name])
    assert not torch.equal(plain["head"], several["head"])


def test_rates_are_planned_for_it() -> None:
    plain, several = mini().learning_rates, mini("optimizer.adam_every_steps=4").learning_rates
    assert several == {role: rate if role == "matrix" else rate / 2 for role, rate in plain.items()}
    adamw = mini("optimizer.adam_every_steps=4", "optimizer.matrix.kind=adamw").learning_rates
    assert adamw["matrix"] == plain["matrix"] / 2
