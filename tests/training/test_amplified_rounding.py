"""Rounding must not decide a run of ``experiment=mini``: runs that differ by rounding alone stay together.

Both train on the same batches; one of them starts from weights moved by 1e-7, or takes other micro-batches.
The first parameter group that drives them apart is named.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sample import sample
from sweepkit.config.compose import compose
from sweepkit.data.prepare import prepare
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.training.engine import Engine, EngineKey

NUM_STEPS = 12  # all of the warm-up, where the λs stand still or run away
#: Of a group's norm. By rounding (1e-7) mini's groups come 3e-4 apart; with the published eps x0's λs 1e-2.
APART = 3e-3
SHORT = ("horizon.num_steps=128", "horizon.total_batch_size=2048", "horizon.device_batch_size=16")
#: Each makes rounding decide: the eps alone, and all that is published.
EPS = ("optimizer.resid.eps=1e-10", "optimizer.x0.eps=1e-10", "optimizer.smear.eps=1e-10")
PUBLISHED = (*EPS, "optimizer.x0.lr=0.5", "optimizer.smear.lr=0.2", "schedule.warmup_ratio=0")
#: Rows of twice the length, half as many: there the eps alone is enough.
LONG_ROWS = ("horizon.sequence_len=256", "horizon.device_batch_size=8")
#: Weights moved by a share, or micro-batches of half the rows.
WAYS = [(1e-7, 1), (0.0, 2)]


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


def step(made: Engine, number: int, batch: torch.Tensor, rows: int) -> float:
    """One step on ``batch`` [B, T+1] in micro-batches of ``rows``; the loss before it, nats."""
    made.optimizer.set_step(number)
    parts, loss = batch.split(rows), 0.0
    for index, part in enumerate(parts):
        inputs, targets = part[:, :-1].contiguous(), part[:, 1:].contiguous()
        mean = made.backward(inputs, targets, 1 / len(parts), last=index == len(parts) - 1)
        loss += mean.item() / len(parts)
    made.gradients.finish()
    made.optimizer.step()
    made.optimizer.zero_grad()
    return loss


def norm(tensors: list[torch.Tensor]) -> float:
    return sum(tensor.detach().double().square().sum().item() for tensor in tensors) ** 0.5


def distances(one: Engine, other: Engine) -> dict[str, float]:
    """How far apart each parameter group is, as a share of its norm."""
    found = {}
    for role, named in one.roles.items():
        pairs = [(p.detach(), q.detach()) for (_, p), (_, q) in zip(named, other.roles[role], strict=True)]
        size = norm([p for p, _ in pairs])
        found[role] = norm([p.double() - q.double() for p, q in pairs]) / size if size else 0.0
    return found


def apart(plan: RunPlan, moved_by: float, parts: int) -> tuple[str | None, float]:
    """The first group to come apart by ``APART``, and its step (None: none); nats between the last losses.

    Of groups that come apart in the same step it is the one that is the furthest.
    """
    loader = prepare(plan.config).train(plan.seed, plan.total_batch_size, plan.sequence_len)
    one, other = engine(plan), engine(plan, moved_by)
    loss_distance = 0.0
    for number in range(NUM_STEPS):
        batch = torch.from_numpy(loader.batch(number))
        losses = (
            step(one, number, batch, plan.device_batch_size),
            step(other, number, batch, plan.device_batch_size // parts),
        )
        loss_distance = abs(losses[0] - losses[1])
        distance = distances(one, other)
        assert max(distance.values()) > 0, "nothing was perturbed: both runs are the same to the bit"
        furthest = max(distance, key=lambda role: distance[role])
        if not distance[furthest] <= APART:
            return f"{furthest}, step {number}", loss_distance
    return None, loss_distance


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "moved_by", "parts"), sample([(d, *way) for d in (2, 4) for way in WAYS], 2)
)
def test_no_group_amplifies_rounding_under_minis_constants(depth: int, moved_by: float, parts: int) -> None:
    plan = build(compose(["experiment=mini", f"model.depth={depth}", *SHORT]))
    group, loss_distance = apart(plan, moved_by, parts)
    assert group is None
    assert loss_distance < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("moved_by", "parts"), WAYS)
@pytest.mark.parametrize(("constants", "named"), [(EPS, "x0, step"), (PUBLISHED, "x0, step 0")])
def test_under_published_constants_the_x0_lambdas_are_the_first_to_amplify_it(
    constants: tuple[str, ...], named: str, moved_by: float, parts: int
) -> None:
    plan = build(compose(["experiment=mini", "model=d2", *SHORT, *LONG_ROWS, *constants]))
    group, _ = apart(plan, moved_by, parts)
    assert group is not None
    assert group.startswith(named)
