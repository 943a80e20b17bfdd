"""Initial values: the same bits every time, and those of the specification."""

from __future__ import annotations

import math

import pytest
import torch
from small_plans import moved_model, tiny_plan, tokens

from sweepkit.model.gpt import GPT, build_model


def bits(model: GPT) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_place_equals_fresh_bit_for_bit(dtype: torch.dtype) -> None:
    plan = tiny_plan()
    fresh = build_model(plan, dtype, "cpu")
    fresh.initialize(7)
    used = moved_model(plan, dtype)
    used(tokens(plan), tokens(plan)).backward()
    addresses = [p.data_ptr() for p in used.parameters()]
    torch.manual_seed(99)
    used.initialize(7)
    assert addresses == [p.data_ptr() for p in used.parameters()]
    assert all(p.grad is None for p in used.parameters())
    other = bits(used)
    for name, value in bits(fresh).items():
        assert torch.equal(value, other[name]), name


def test_tables_in_bf16_are_the_rounded_fp32_ones() -> None:
    plan = tiny_plan()
    exact, rounded = (build_model(plan, dtype, "cpu") for dtype in (torch.float32, torch.bfloat16))
    exact.initialize(1)
    rounded.initialize(1)
    for name, value in bits(rounded).items():
        assert torch.equal(value, bits(exact)[name].to(value.dtype)), name


def test_seeds_differ() -> None:
    model = build_model(tiny_plan(), torch.float32, "cpu")
    model.initialize(1)
    first = bits(model)
    model.initialize(2)
    assert not torch.equal(first["wte.weight"], bits(model)["wte.weight"])


def test_values_are_those_of_the_specification() -> None:
    plan = tiny_plan("model.value_gate_channels=32", depth=6)
    model = build_model(plan, torch.float32, "cpu")
    model.initialize(1)
    p = bits(model)
    bound = math.sqrt(3 / plan.width)
    assert p["wte.weight"].std().item() == pytest.approx(0.8, rel=0.02)
    assert p["lm_head.weight"].std().item() == pytest.approx(0.001, rel=0.02)
    for name, low, high in (
        ("blocks.1.attention.q.weight", -bound, bound),
        ("blocks.3.attention.k.weight", -bound, bound),
        ("blocks.5.attention.v.weight", -bound, bound),
        ("blocks.2.mlp.up.weight", -0.4 * bound, 0.4 * bound),
        ("value_embeds.5.weight", -bound, bound),
        ("blocks.5.attention.value_gate.weight", 0.0, 0.02),
        ("smear_gate.weight", 0.0, 0.02),
    ):
        span = high - low
        assert low <= p[name].min() < low + 0.25 * span, name
        assert high - 0.25 * span < p[name].max() <= high, name
        if p[name].numel() > 1000:
            assert p[name].std().item() == pytest.approx(span / math.sqrt(12), rel=0.02), name
    for layer in range(6):
        assert not p[f"blocks.{layer}.attention.out.weight"].any()
        assert not p[f"blocks.{layer}.mlp.down.weight"].any()
    torch.testing.assert_close(p["resid_lambdas"], torch.linspace(1.15, 1.05, 6))
    torch.testing.assert_close(p["x0_lambdas"], torch.linspace(0.20, 0.05, 6))
    assert p["smear_lambda"].item() == 0.0
    assert p["backout_lambda"].item() == pytest.approx(0.2)


def test_step_0_has_exactly_the_zero_gradients_of_the_specification() -> None:
    """q, k, v, MLP up and gates are cut off by the zero output projections; nothing else is."""
    plan = tiny_plan()
    model = build_model(plan, torch.bfloat16, "cpu")
    model.initialize(1)
    loss = model(tokens(plan), tokens(plan, seed=5))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(300), abs=0.05)
    # Behind a zero: what feeds the projections, and the smear gate behind its λ of 0.
    cut = ("q.weight", "k.weight", "v.weight", "up.weight", "value_gate.weight", "smear_gate.weight")
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        zero = not parameter.grad.any()
        assert zero == (name.endswith(cut) or name.startswith("value_embeds")), name


def test_weights_moved_by_a_share_differ_by_it_and_by_nothing_else() -> None:
    plain, moved = tiny_plan(), tiny_plan("model.init_moved_by=1e-4")
    models = [build_model(plan, torch.float32, "cpu") for plan in (plain, moved)]
    for model in models:
        model.initialize(1)
    for (name, before), after in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        share = (after / before - 1)[before != 0]
        assert torch.equal(after == 0, before == 0), name
        assert not (share.abs() > 6e-4).any(), name
        if share.numel() > 1000:
            assert share.std().item() == pytest.approx(1e-4, rel=0.05), name
