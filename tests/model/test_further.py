"""Multi-token prediction against a plain loop over positions and tokens: loss, gradients, schedule, cost."""

from __future__ import annotations

import pytest
import torch
from plain_gpt import plain_logits
from small_plans import moved_model, tiny_plan, tokens

from sweepkit.optim import schedule
from sweepkit.plan.sizing import size

WEIGHTS = (0.5, 0.25)


@pytest.mark.parametrize("heads", ["shared", "own"])
def test_loss_and_gradients_are_those_of_a_loop(heads: str) -> None:
    plan = tiny_plan("model.multi_token.num_further=2", f"model.multi_token.heads={heads}", depth=2)
    model = moved_model(plan)
    model.get_buffer("further_weights").copy_(torch.tensor(WEIGHTS))
    inputs, targets = tokens(plan), tokens(plan, seed=5)
    targets[0, 3:6] = -1
    total, next_token = model.training_loss(inputs, targets)
    total.backward()

    parameters = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
    config = plan.config.model
    expected, means = torch.zeros((), dtype=torch.float64), []
    for ahead, weight in enumerate((1.0, *WEIGHTS)):
        head = f"further_heads.{ahead - 1}.weight" if heads == "own" and ahead else "lm_head.weight"
        nats = []
        for row, target in zip(inputs, targets.tolist(), strict=True):
            logits = plain_logits(parameters, config, plan, row, head)[:, :300]
            for t in range(plan.sequence_len - ahead):
                if target[t + ahead] >= 0:
                    nats.append(-torch.log_softmax(logits[t], dim=0)[target[t + ahead]])
        means.append(torch.stack(nats).mean())
        expected = expected + weight * means[-1]
    expected.backward()
    torch.testing.assert_close(total.double(), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(next_token.double(), means[0].detach(), atol=1e-4, rtol=1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameters[name].grad is not None, name
        torch.testing.assert_close(
            parameter.grad.double(),
            parameters[name].grad,
            atol=1e-5,
            rtol=2e-3,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_evaluation_is_of_the_next_token_alone() -> None:
    plan, alone = tiny_plan("model.multi_token.num_further=2", depth=2), tiny_plan(depth=2)
    model, plain = moved_model(plan), moved_model(alone)
    inputs, targets = tokens(plan), tokens(plan, seed=5)
    with torch.no_grad():
        assert torch.equal(model(inputs, targets, loss="none"), plain(inputs, targets, loss="none"))
        loss, next_token = plain.training_loss(inputs, targets)
    assert torch.equal(loss, next_token)


def test_weights_fade_by_thirds_the_furthest_first() -> None:
    staged = tiny_plan("model.multi_token.num_further=2", "horizon.num_steps=12")
    found = [schedule.further_weights(step, staged) for step in (0, 2, 4, 6, 8, 11)]
    assert found == [[0.5, 0.25], [0.5, 0.125], [0.5, 0.0], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]]
    constant = tiny_plan("model.multi_token.num_further=2", "model.multi_token.schedule=constant")
    assert schedule.further_weights(3, constant) == [0.5, 0.25]
    assert schedule.further_weights(0, tiny_plan()) == []


def test_own_heads_cost_what_a_head_costs_and_a_shared_one_nothing() -> None:
    plain, shared, own = (
        size(tiny_plan(*overrides).config)
        for overrides in (
            (),
            ("model.multi_token.num_further=2",),
            ("model.multi_token.num_further=2", "model.multi_token.heads=own"),
        )
    )
    head = plain.param_groups["lm_head"]
    assert shared.param_groups == plain.param_groups
    assert own.param_groups == plain.param_groups | {"further_heads": 2 * head}
    assert own.flops_per_token - plain.flops_per_token == 6 * 2 * head
