"""Rounding must not decide a run of ``experiment=mini``: runs that differ by rounding alone stay together.

Both train on the same batches; one of them starts from weights moved by 1e-7, or takes other micro-batches.
The first parameter group that drives them apart is named.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sweepkit.config import codec
from sweepkit.config.compose import compose
from sweepkit.data.prepare import prepare
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.training.engine import Engine, EngineKey

NUM_STEPS = 12  # all of the warm-up, where the λs stand still or run away
APART = 1e-2  # of a group's norm; rounding is 1e-7 of it
SHORT = ("horizon.num_steps=128", "horizon.total_batch_size=2048", "horizon.device_batch_size=8")
#: The published rates, eps and no warm-up, under which rounding decides.
PUBLISHED = (
    "optimizer.resid.eps=1e-10",
    "optimizer.x0.eps=1e-10",
    "optimizer.smear.eps=1e-10",
    "optimizer.x0.lr=0.5",
    "optimizer.smear.lr=0.2",
    "schedule.warmup_ratio=0",
)


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(shared_cache))


def engine(plan: RunPlan, moved_by: float = 0.0) -> Engine:
    """A fresh model, every weight moved by a random share of about ``moved_by``."""
    made = Engine(plan, EngineKey("", torch.device("cpu"), torch.float32, torch.get_num_threads(), False))
    made.renew(plan)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.mul_(1 + moved_by * torch.randn(parameter.shape, generator=generator))
    return made


def step(made: Engine, number: int, batch: torch.Tensor, rows: int) -> None:
    """One step on ``batch`` [B, T+1] in micro-batches of ``rows``."""
    made.optimizer.set_step(number)
    parts = batch.split(rows)
    for index, part in enumerate(parts):
        inputs, targets = part[:, :-1].contiguous(), part[:, 1:].contiguous()
        made.backward(inputs, targets, 1 / len(parts), last=index == len(parts) - 1)
    made.gradients.finish()
    made.optimizer.step()
    made.optimizer.zero_grad()


def norm(tensors: list[torch.Tensor]) -> float:
    return sum(tensor.detach().double().square().sum().item() for tensor in tensors) ** 0.5


def first_apart(plan: RunPlan, moved_by: float, rows: int) -> str | None:
    """The group that is the furthest apart in the first step in which any is by ``APART``; None: no step."""
    loader = prepare(codec.from_json(plan.config)).train(plan.seed, plan.total_batch_size, plan.sequence_len)
    one, other = engine(plan), engine(plan, moved_by)
    for number in range(NUM_STEPS):
        batch = torch.from_numpy(loader.batch(number))
        step(one, number, batch, plan.device_batch_size)
        step(other, number, batch, rows)
        distance = {}
        for role, named in one.roles.items():
            pairs = [
                (p.detach(), q.detach()) for (_, p), (_, q) in zip(named, other.roles[role], strict=True)
            ]
            size = norm([p for p, _ in pairs])
            distance[role] = norm([p.double() - q.double() for p, q in pairs]) / size if size else 0.0
        furthest = max(distance, key=lambda role: distance[role])
        if distance[furthest] > APART:
            return f"{furthest}, step {number}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize(("moved_by", "rows"), [(1e-7, 8), (0.0, 4)])
@pytest.mark.parametrize("depth", [2, 4])
def test_no_group_amplifies_rounding_under_minis_constants(depth: int, moved_by: float, rows: int) -> None:
    plan = build(compose(["experiment=mini", f"model.depth={depth}", *SHORT]))
    assert first_apart(plan, moved_by, rows) is None


@pytest.mark.parametrize(("moved_by", "rows"), [(1e-7, 8), (0.0, 4)])
def test_under_the_published_constants_the_x0_lambdas_amplify_it_at_once(moved_by: float, rows: int) -> None:
    plan = build(compose(["experiment=mini", "model=d2", *SHORT, *PUBLISHED]))
    assert first_apart(plan, moved_by, rows) == "x0, step 0"
