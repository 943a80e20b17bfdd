"""The model against the plain reference, for every switch, values and gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_gpt import plain_logits, plain_nats
from small_plans import moved_model, tiny_plan, tokens

from sample import sample
from sweepkit.model.gpt import build_model

SWITCHES = {
    "baseline": (),
    "no smear": ("model.smear=false",),
    "no backout": ("model.backout=false",),
    "no value embeddings": ("model.value_embeddings=false",),
    "grouped queries": ("model.num_kv_heads=2",),
    "one key head": ("model.num_kv_heads=1",),
    "full context": ("model.window_pattern=L",),
    "windows everywhere but last": ("model.window_pattern=S", "model.short_window=1"),
    "window of the row": ("model.short_window=11",),
    "old gates": ("model.value_gate_channels=32", "model.value_gate_scale=2.0"),
    "bigrams in every layer": ("model.bigram.table_ratio=0.4",),
    "bigrams in the first": ("model.bigram.table_ratio=2", "model.bigram.num_layers=1"),
    "other constants": (
        "model.qk_scale=1.0",
        "model.logit_softcap=20.0",
        "model.rope_base=10000.0",
        "model.mlp.ratio=3",
    ),
}


@pytest.mark.parametrize("overrides", SWITCHES.values(), ids=SWITCHES.keys())
def test_logits_equal_the_plain_reference(overrides: tuple[str, ...]) -> None:
    plan = tiny_plan(*overrides)
    model = moved_model(plan)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    rows = tokens(plan)
    with torch.no_grad():
        logits = model(rows)
    config = plan.config.model
    expected = torch.stack([plain_logits(parameters, config, plan, row) for row in rows])
    assert logits.shape == (2, plan.sequence_len, 300)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected[..., :300], atol=2e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("switch", "depth"), sample(list(itertools.product(SWITCHES, range(1, 6))), 12))
def test_no_parameter_trains_on_rounding(switch: str, depth: int) -> None:
    """Every parameter has a gradient that is more than rounding, in the plain reference in fp64.

    One whose gradient is zero but for the eps of a norm (1e-8 here: backout's at depth 2) would drift under
    AdamW, which divides by that gradient's size.
    """
    plan = tiny_plan("model.aspect_ratio=32", *SWITCHES[switch], depth=depth)
    parameters = {
        name: p.detach().double().requires_grad_() for name, p in moved_model(plan).named_parameters()
    }
    config = plan.config.model
    row, targets = tokens(plan, rows=1)[0], tokens(plan, rows=1, seed=5)[0]
    plain_nats(plain_logits(parameters, config, plan, row), targets).mean().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-5, name


def test_loss_and_every_gradient_equal_the_plain_reference() -> None:
    plan = tiny_plan("model.num_kv_heads=1", depth=2)
    model = moved_model(plan)
    inputs, targets = tokens(plan), tokens(plan, seed=5)
    targets[0, 3:6] = -1
    nats = model(inputs, targets, loss="none")
    loss = model(inputs, targets)
    loss.backward()

    parameters = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    config = plan.config.model
    expected = torch.stack(
        [
            plain_nats(plain_logits(parameters, config, plan, row)[:, :300], target)
            for row, target in zip(inputs, targets, strict=True)
        ]
    )
    (expected.sum() / (targets >= 0).sum()).backward()
    torch.testing.assert_close(nats, expected, atol=1e-4, rtol=1e-4)
    assert (nats[0, 3:6] == 0).all()
    torch.testing.assert_close(loss, expected.sum() / 21, atol=1e-4, rtol=1e-4)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(
            parameter.grad, parameters[name].grad, atol=1e-5, rtol=2e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_int32_and_int64_tokens_give_the_same() -> None:
    plan = tiny_plan(depth=2)
    model = moved_model(plan)
    rows = tokens(plan)
    assert torch.equal(model(rows, rows), model(rows.int(), rows.int()))


@settings(max_examples=15, deadline=None)
@given(depth=st.integers(2, 4), window=st.integers(1, 12), changed=st.integers(0, 11))
def test_a_token_moves_only_what_can_see_it(depth: int, window: int, changed: int) -> None:
    """Nothing before a changed token moves, nor anything out of reach of the windows and of smear."""
    plan = tiny_plan(f"model.short_window={window}", "model.window_pattern=S", depth=depth)
    model = moved_model(plan)
    rows = tokens(plan, rows=1)
    other = rows.clone()
    other[0, changed] = (other[0, changed] + 1) % 300
    with torch.no_grad():
        moved = (model(rows) - model(other)).abs().amax(-1)[0]
    assert (moved[:changed] == 0).all()
    assert moved[changed] > 0
    reach = 1 + sum(min(w, plan.sequence_len) for w in plan.windows)
    assert (moved[changed + reach + 1 :] == 0).all()


def test_shorter_rows_give_the_beginning_of_longer_ones() -> None:
    plan = tiny_plan()
    model = moved_model(plan)
    rows = tokens(plan)
    with torch.no_grad():
        torch.testing.assert_close(model(rows[:, :5]), model(rows)[:, :5], atol=1e-5, rtol=1e-5)


def test_rows_do_not_see_each_other() -> None:
    plan = tiny_plan(depth=2)
    model = moved_model(plan)
    rows = tokens(plan, rows=3)
    with torch.no_grad():
        torch.testing.assert_close(model(rows)[1:2], model(rows[1:2]), atol=1e-5, rtol=1e-5)


def test_bf16_stays_near_fp32() -> None:
    plan = tiny_plan()
    exact, rounded = moved_model(plan), moved_model(plan, torch.bfloat16)
    rows = tokens(plan)
    with torch.no_grad():
        difference = rounded(rows, rows, loss="none") - exact(rows, rows, loss="none")
    assert difference.abs().mean() < 0.05
    assert difference.dtype == torch.float32


def test_dtypes_by_role() -> None:
    model = build_model(tiny_plan(), torch.bfloat16, "meta")
    for role, named in model.parameter_roles().items():
        tables = role in ("embedding", "value_embedding", "bigram")
        for name, parameter in named:
            assert parameter.dtype == (torch.bfloat16 if tables else torch.float32), name


@pytest.mark.parametrize("overrides", SWITCHES.values(), ids=SWITCHES.keys())
def test_parameter_counts_by_role_are_the_plans(overrides: tuple[str, ...]) -> None:
    plan = tiny_plan(*overrides)
    roles = build_model(plan, torch.bfloat16, "meta").parameter_roles()
    count = {role: sum(p.numel() for _, p in named) for role, named in roles.items()}
    assert plan.param_groups == {
        "wte": count["embedding"],
        "value_embeds": count["value_embedding"],
        "lm_head": count["unembedding"],
        "transformer_matrices": count["matrix"],
        "scalars": count["resid"] + count["x0"] + count["smear"],
    } | ({"bigram_embeds": count["bigram"]} if count["bigram"] else {})
    assert plan.total_params == sum(count.values())


def test_flops_per_token_follow_from_the_modules() -> None:
    """6 × all Linear weights + 12·D·min(window, T) a layer; tables and λs cost nothing."""
    plan = tiny_plan()
    model = build_model(plan, torch.bfloat16, "meta")
    linear = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and "embeds" not in n)
    linear -= model.wte.weight.numel()
    attention = sum(12 * plan.width * min(w, plan.sequence_len) for w in plan.windows)
    assert plan.flops_per_token == 6 * linear + attention
