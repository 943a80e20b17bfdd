"""The whole optimizer over named parameters: groups, saved state, reset, errors. No model needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_muon import PlainMuon
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sweepkit.config.choices import MatrixOptimizer
from sweepkit.config.compose import compose
from sweepkit.errors import CheckpointError
from sweepkit.optim import schedule
from sweepkit.optim.optimizer import Optimizer, build_optimizer
from sweepkit.plan.build import build
from sweepkit.plan.roles import update_rule
from sweepkit.plan.run_plan import RunPlan

Roles = dict[str, list[tuple[str, nn.Parameter]]]


def mini(*overrides: str) -> RunPlan:
    return build(compose(["experiment=mini", "model=d2", "horizon.num_steps=20", *overrides]))


def made_up_roles(table_dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Roles:
    """A few parameters in every role, matrices of three shapes."""
    generator = torch.Generator().manual_seed(seed)

    def parameter(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
        return nn.Parameter(torch.randn(shape, generator=generator).to(dtype))

    return {
        "matrix": [
            ("a.q", parameter(8, 8)),
            ("a.up", parameter(16, 8)),
            ("b.q", parameter(8, 8)),
            ("b.down", parameter(8, 16)),
            ("b.up", parameter(16, 8)),
        ],
        "embedding": [("wte", parameter(32, 8, dtype=table_dtype))],
        "unembedding": [("head", parameter(32, 8))],
        "value_embedding": [("ve", parameter(32, 8, dtype=table_dtype))],
        "resid": [("resid", parameter(2))],
        "x0": [("x0", parameter(2))],
        "smear": [("gate", parameter(1, 4)), ("lambda", parameter())],
    }


def train(optimizer: Optimizer, roles: Roles, steps: range) -> None:
    """Steps with gradients that depend on parameter and step alone."""
    for step in steps:
        generator = torch.Generator().manual_seed(100 + step)
        for named in roles.values():
            for _, parameter in named:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.grad = noise.to(parameter.dtype)
        optimizer.set_step(step)
        optimizer.step()
        optimizer.zero_grad()


def values(roles: Roles) -> dict[str, Tensor]:
    return {name: p.detach().clone() for named in roles.values() for name, p in named}


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def built(plan: RunPlan, roles: Roles) -> Optimizer:
    return build_optimizer(roles, plan, torch.bfloat16, compile_options=None)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", [kind.name for kind in MatrixOptimizer])
def test_restored_state_continues_bit_for_bit(tmp_path: Path, kind: str, every: int) -> None:
    plan = mini(f"optimizer.matrix.kind={kind}", f"optimizer.adam_every_steps={every}")
    whole = made_up_roles()
    train(built(plan, whole), whole, range(8))

    cut = made_up_roles()
    first = built(plan, cut)
    train(first, cut, range(5))
    save_file(first.state_dict(), tmp_path / "optimizer.safetensors")
    second = built(plan, cut)
    second.load_state_dict(load_file(tmp_path / "optimizer.safetensors"))
    assert_same_bits(first.state_dict(), second.state_dict())
    train(second, cut, range(5, 8))
    assert_same_bits(values(whole), values(cut))


def test_state_is_keyed_by_parameter_and_does_not_know_stacks() -> None:
    state = built(mini(), made_up_roles()).state_dict()
    assert {k: tuple(t.shape) for k, t in state.items() if k.startswith(("a.", "b.down"))} == {
        "a.q.momentum": (8, 8),
        "a.q.second_moment": (8, 1),
        "a.up.momentum": (16, 8),
        "a.up.second_moment": (16, 1),
        "b.down.momentum": (8, 16),
        "b.down.second_moment": (1, 16),
    }
    assert state["wte.exp_avg"].dtype == state["ve.exp_avg_sq"].dtype == torch.bfloat16
    assert state["head.exp_avg"].dtype == torch.float32
    assert state["lambda.exp_avg"].shape == ()


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("kind", MatrixOptimizer)
def test_every_rule_keeps_what_it_describes(kind: MatrixOptimizer, every: int) -> None:
    """The memory of a plan is counted from the description."""
    plan = mini(f"optimizer.matrix.kind={kind.name}", f"optimizer.adam_every_steps={every}")
    roles = made_up_roles()
    optimizer = plan.config.optimizer
    described = {
        f"{name}.{key}": shape
        for role, named in roles.items()
        for name, parameter in named
        for key, shape in update_rule(role, optimizer).state(tuple(parameter.shape)).items()
    }
    assert {key: tuple(t.shape) for key, t in built(plan, roles).state_dict().items()} == described


def test_saved_state_is_a_copy() -> None:
    roles = made_up_roles()
    optimizer = built(mini(), roles)
    train(optimizer, roles, range(1))
    state = optimizer.state_dict()
    kept = {k: t.clone() for k, t in state.items()}
    train(optimizer, roles, range(1, 2))
    assert_same_bits(state, kept)


def test_reset_is_a_fresh_optimizer_bit_for_bit() -> None:
    plan, roles = mini(), made_up_roles()
    optimizer = built(plan, roles)
    train(optimizer, roles, range(4))
    optimizer.reset()
    assert all(p.grad is None for named in roles.values() for _, p in named)
    assert_same_bits(optimizer.state_dict(), built(plan, made_up_roles()).state_dict())
    again, fresh = made_up_roles(seed=3), made_up_roles(seed=3)
    with torch.no_grad():
        for role, named in roles.items():
            for (_, parameter), (_, value) in zip(named, again[role], strict=True):
                parameter.copy_(value)
    train(optimizer, roles, range(4))
    train(built(plan, fresh), fresh, range(4))
    assert_same_bits(values(roles), values(fresh))


def test_adamw_corrects_its_moments_for_the_steps_that_were_taken() -> None:
    """As torch's AdamW does beside torch's GradScaler, which leaves the steps out that overflow."""
    roles, generator = made_up_roles(torch.float32), torch.Generator().manual_seed(9)
    plan = mini("optimizer.matrix.kind=adamw", "schedule.warmup_ratio=0", "schedule.warmdown_ratio=0")
    optimizer = build_optimizer(roles, plan, torch.float32, compile_options=None)
    name, ours = roles["unembedding"][0]
    block = plan.config.optimizer.unembedding
    theirs = nn.Parameter(ours.detach().clone())
    reference = torch.optim.AdamW(
        [theirs],
        lr=plan.learning_rates["unembedding"],
        betas=(block.beta1, block.beta2),
        eps=block.eps,
        weight_decay=plan.weight_decays["unembedding"],
    )
    num_skipped = 0
    for step in range(6):
        for _, parameter in (item for named in roles.values() for item in named):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.set_step(step, num_skipped)
        if step in (0, 1, 4):
            num_skipped += 1
            continue
        assert ours.grad is not None, name
        theirs.grad = ours.grad.clone()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs)


def test_every_group_has_its_own_rule() -> None:
    """A single step of each role against torch.optim.AdamW and the plain Muon, at the plan's values."""
    plan = mini("optimizer.x0.lr=0.123", "optimizer.resid.weight_decay=0.2")
    roles = made_up_roles(torch.float32)
    before = values(roles)
    optimizer = build_optimizer(roles, plan, torch.float32, compile_options=None)
    generator = torch.Generator().manual_seed(9)
    gradients: dict[str, Tensor] = {}
    for named in roles.values():
        for name, parameter in named:
            parameter.grad = gradients[name] = torch.randn(parameter.shape, generator=generator)
    optimizer.set_step(0)
    optimizer.step()
    factor = schedule.lr_factor(0, plan)
    matrix = plan.config.optimizer.matrix
    for role, named in roles.items():
        block = getattr(plan.config.optimizer, role)
        for name, parameter in named:
            lr = plan.learning_rates[role] * factor
            if role == "matrix":
                plain = PlainMuon(before[name])
                plain.step(gradients[name], lr, plan.weight_decay, matrix.momentum_start, matrix.beta2)
                expected = plain.weight.float()
            else:
                copy = nn.Parameter(before[name].clone())
                copy.grad = gradients[name]
                torch.optim.AdamW(
                    [copy],
                    lr=lr,
                    betas=(block.beta1, block.beta2),
                    eps=block.eps,
                    weight_decay=plan.weight_decays[role],
                ).step()
                expected = copy.detach()
            torch.testing.assert_close(
                parameter.detach(), expected, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_step_wants_set_step_first() -> None:
    roles = made_up_roles()
    optimizer = built(mini(), roles)
    train(optimizer, roles, range(1))
    with pytest.raises(AssertionError, match="set_step"):
        optimizer.step()


def test_a_parameter_without_gradient_is_named() -> None:
    roles = made_up_roles()
    optimizer = built(mini(), roles)
    optimizer.set_step(0)
    with pytest.raises(AssertionError, match="wte has no gradient"):
        optimizer.step()


def test_foreign_state_is_refused_and_changes_nothing() -> None:
    roles = made_up_roles()
    optimizer = built(mini(), roles)
    train(optimizer, roles, range(2))
    state = optimizer.state_dict()
    missing = {k: t for k, t in state.items() if k != "wte.exp_avg"}
    with pytest.raises(CheckpointError, match=r"wte\.exp_avg"):
        optimizer.load_state_dict(missing)
    wrong = {k: torch.ones_like(t) for k, t in state.items()} | {"x0.exp_avg": torch.ones(5)}
    with pytest.raises(CheckpointError, match=r"x0\.exp_avg is torch.float32 \(5,\)"):
        optimizer.load_state_dict(wrong)
    assert_same_bits(optimizer.state_dict(), state)


def test_saved_state_survives_another_order_of_layers() -> None:
    """Stacks are made anew from names: parameters listed in another order load the same state."""
    plan, roles = mini(), made_up_roles()
    optimizer = built(plan, roles)
    train(optimizer, roles, range(3))
    turned = {role: named[::-1] for role, named in roles.items()}
    other = built(plan, turned)
    other.load_state_dict(optimizer.state_dict())
    assert_same_bits(optimizer.state_dict(), other.state_dict())
