"""Mixture of experts against a loop over tokens and experts: values, gradients, balance, cost."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_plans import moved_model, tiny_plan, tokens
from torch import Tensor

from sweepkit.config.choices import ParameterCount
from sweepkit.config.schema import RunConfig
from sweepkit.model.experts import Experts
from sweepkit.plan import parts
from sweepkit.plan.part_weights import by_parameter, within
from sweepkit.plan.sizing import size

EXPERTS = ("model.experts.num_routed=4", "model.experts.num_chosen=2")


def config_of(*overrides: str) -> RunConfig:
    return tiny_plan(*EXPERTS, *overrides).config


def layer(*overrides: str) -> Experts:
    """One layer's experts in fp64, all weights drawn, with a bias that changes choices."""
    config = config_of(*overrides)
    described = within(by_parameter(parts.describe(config)), "blocks.0.mlp.")
    experts = Experts(config.model, described, "cpu").double()
    generator = torch.Generator().manual_seed(0)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    experts.bias.copy_(torch.tensor([0.3, -0.3, 0.2, 0.0]))
    return experts


def plain(experts: Experts, p: dict[str, Tensor], x_ND: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """Output, unevenness and how often each expert was chosen, one token and one expert after the other."""
    rows, load = [], [0] * 4
    mean = torch.zeros(4, dtype=torch.float64)
    for x in x_ND:
        scores = torch.stack([torch.sigmoid(p["router.weight"][e].float() @ x.float()) for e in range(4)])
        order = sorted(range(4), key=lambda e: -(scores[e] + experts.bias[e]).item())[:2]
        total = sum(scores[e] for e in order)
        y = torch.zeros_like(x)
        for e in order:
            load[e] += 1
            hidden = torch.clamp(p["up"][e] @ x, min=0) ** 2
            y = y + scores[e] / total * (p["down"][e] @ hidden)
        if experts.shared is not None:
            y = y + p["shared.down.weight"] @ (torch.clamp(p["shared.up.weight"] @ x, min=0) ** 2)
        rows.append(y)
        mean = mean + scores / scores.sum() / len(x_ND)
    share = torch.tensor(load, dtype=torch.float64) / (2 * len(x_ND))
    return torch.stack(rows), 4 * (share * mean).sum(), load


@pytest.mark.parametrize("num_shared", [0, 1, 2])
def test_values_and_gradients_are_those_of_a_loop(num_shared: int) -> None:
    experts = layer(f"model.experts.num_shared={num_shared}", "model.experts.balance=loss")
    x = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    y, unevenness = experts(x)
    p = {name: parameter.detach().clone().requires_grad_() for name, parameter in experts.named_parameters()}
    twin = x.detach().clone().requires_grad_()
    expected, uneven, load = plain(experts, p, twin.flatten(0, 1))
    assert load == experts.load.tolist() and sum(load) == 2 * 14
    torch.testing.assert_close(y.flatten(0, 1), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unevenness, uneven.float(), atol=1e-6, rtol=1e-6, check_dtype=False)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).double()
    torch.autograd.backward((y, unevenness), (gradient, torch.ones_like(unevenness)))
    torch.autograd.backward((expected, uneven), (gradient.flatten(0, 1), torch.ones_like(uneven)))
    pairs = [("x", x.grad, twin.grad), *((n, q.grad, p[n].grad) for n, q in experts.named_parameters())]
    for name, ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_an_expert_that_nobody_chooses_has_a_gradient_of_zero() -> None:
    experts = layer()
    experts.bias[3] = -10
    y, _ = experts(torch.randn(1, 5, 64).double())
    y.sum().backward()
    assert experts.load[3] == 0
    for stack in (experts.up, experts.down):
        assert stack.grad is not None and not stack.grad[3].any() and stack.grad[0].any()


def test_the_bias_moves_towards_an_even_load() -> None:
    experts = layer()
    experts.bias.zero_()
    experts.rebalance(torch.tensor([10.0, 2.0, 6.0, 6.0]), 0.25)
    assert experts.bias.tolist() == [-0.25, 0.25, 0.0, 0.0]


def test_the_loss_of_an_uneven_load_is_added_while_training_and_never_when_evaluating() -> None:
    overrides = (*EXPERTS, "model.experts.balance=loss")
    plan, half = (
        tiny_plan(*overrides, depth=2),
        tiny_plan(*overrides, "model.experts.loss_weight=0.5", depth=2),
    )
    model, other = moved_model(plan), moved_model(half)
    inputs, targets = tokens(plan), tokens(plan, seed=5)
    total, next_token = model.training_loss(inputs, targets)
    assert torch.equal(next_token, model(inputs, targets).detach())
    more, _ = other.training_loss(inputs, targets)
    torch.testing.assert_close(
        (more - next_token) / (total - next_token), torch.tensor(50.0), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("kind", ["relu2", "swiglu"])
@pytest.mark.parametrize("match", ["params", "flops"])
def test_experts_cost_what_the_mlp_costs(kind: str, match: str) -> None:
    """In all parameters, or in those that a token passes; the router is on top of both."""
    overrides = ("model.aspect_ratio=96", "model.head_dim=96", "model.experts.num_shared=1")
    config = config_of(*overrides, f"model.mlp.kind={kind}", f"model.mlp.match={match}")
    dense = dataclasses.replace(config, model=dataclasses.replace(config.model))
    dense.model.experts = dataclasses.replace(config.model.experts, num_routed=0)
    ours, theirs = size(config), size(dense)
    router = 4 * ours.width * ours.depth
    per_expert = (
        (ours.total_params - theirs.total_params - router)
        if match == "params"
        else (ours.active_params - theirs.active_params - router)
    )
    assert abs(per_expert) <= 8 * 3 * 5 * ours.width * ours.depth
    assert ours.flops_per_token - theirs.flops_per_token == 6 * (ours.active_params - theirs.active_params)
    assert ours.scaling_params(ParameterCount.kaplan_active) == (
        ours.scaling_params(ParameterCount.kaplan) - ours.total_params + ours.active_params
    )
    assert theirs.scaling_params(ParameterCount.kaplan_active) == theirs.scaling_params(ParameterCount.kaplan)
