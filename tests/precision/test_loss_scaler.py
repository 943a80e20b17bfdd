"""The loss scaler: against torch's GradScaler, and as one decision of two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from sweepkit.config.compose import compose
from sweepkit.distributed.ranks import Ranks
from sweepkit.plan.build import build
from sweepkit.precision.loss_scaler import LossScaler
from sweepkit.training.engine import Engine, EngineKey

CPU = torch.device("cpu")
PLAN = (
    "precision=fp16",
    "model.depth=1",
    "model.aspect_ratio=32",
    "model.head_dim=16",
    "tokenizer.vocab_size=300",
    "horizon.sequence_len=16",
    "horizon.num_steps=5",
    "horizon.device_batch_size=2",
    "horizon.total_batch_size=64",
)
OVERFLOWS = (2, 3, 7)  # steps in which a gradient is not finite


def gradient_at(step: int, size: int = 5) -> torch.Tensor:
    gradient = torch.randn(size, generator=torch.Generator().manual_seed(step))
    if step in OVERFLOWS:
        gradient[step % size] = torch.inf if step % 2 else torch.nan
    return gradient


def test_scales_skips_and_grows_as_torchs_scaler_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweepkit.precision import loss_scaler

    monkeypatch.setattr(loss_scaler, "_GROWTH_INTERVAL", 4)
    ours, theirs = LossScaler(CPU), torch.amp.GradScaler("cpu", growth_interval=4)
    p, q = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(5))
    optimizer = torch.optim.SGD([q], lr=0.1)
    for step in range(20):
        (p * gradient_at(step) * ours.scale).sum().backward()
        theirs.scale((q * gradient_at(step)).sum()).backward()
        assert p.grad is not None
        if ours.unscale([p.grad]):
            with torch.no_grad():
                p -= 0.1 * p.grad
        theirs.step(optimizer)
        theirs.update()
        p.grad = q.grad = None
        assert ours.scale.item() == theirs.get_scale()
        torch.testing.assert_close(p, q)
    assert ours.scale.item() > 2.0**16 / 8  # three skips, and it has grown since


def test_a_rank_that_holds_no_gradient_may_ask() -> None:
    assert LossScaler(CPU).unscale([])


def rank_main(process: int, folder: str, rank: int) -> None:
    """Train a few fp16 steps as one of two ranks; a gradient that only rank 1 owns overflows there."""
    torch.set_num_threads(1)
    ranks = Ranks(rank, 2, dist.FileStore(f"{folder}/store", 2))
    ranks.form_group(local_rank=0)
    plan = build(compose(PLAN))
    engine = Engine(plan, EngineKey("", CPU, torch.float16, 1, False), ranks)
    engine.warm_up(plan)
    engine.gradients.agree()
    engine.renew(plan)
    overflows = [False]
    name = next(name for name, owner in engine.owners.items() if owner == 1 and name.startswith("blocks"))
    engine.model.get_parameter(name).register_hook(lambda g: g * torch.inf if overflows[0] else g)
    skipped = []
    for step in range(5):
        generator = torch.Generator().manual_seed(10 * step + rank)
        tokens = torch.randint(0, 300, (2, 17), generator=generator, dtype=torch.int32)
        overflows[0] = rank == 1 and step in (1, 3)
        engine.backward(tokens[:, :-1], tokens[:, 1:], 0.5, last=True)
        engine.gradients.finish()
        if engine.unscale():
            engine.optimizer.set_step(step)
            engine.optimizer.step()
        else:
            skipped.append(step)
        engine.optimizer.zero_grad()
    assert engine.scaler is not None
    weights = {name: p.detach() for name, p in engine.model.named_parameters()}
    torch.save({"weights": weights, "skipped": skipped, "scale": engine.scaler.scale}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_which_one_overflows_skip_the_same_steps_and_stay_identical(tmp_path: Path) -> None:
    """Were the flag not shared, rank 0 would step alone, and wait for weights that rank 1 does not send."""
    other = mp.spawn(rank_main, args=(str(tmp_path), 1), nprocs=1, join=False)
    rank_main(0, str(tmp_path), 0)
    other.join()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["skipped"] == second["skipped"] == [1, 3]
    assert first["scale"] == second["scale"] == 2.0**16 / 4
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]) and weight.isfinite().all(), name
