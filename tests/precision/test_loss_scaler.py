"""The loss scaler: against torch's GradScaler, and as one decision of two processes."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from sweepkit.distributed.ranks import Ranks
from sweepkit.precision.loss_scaler import LossScaler

CPU = torch.device("cpu")
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
    """Two ranks with their own halves of the gradient; only rank 1's overflows."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    scaler = LossScaler(CPU, Ranks(rank, 2))
    weight = torch.zeros(10)
    skipped = []
    for step in range(10):
        half = (gradient_at(step) if rank == 1 else torch.randn(5)) * scaler.scale
        if scaler.unscale([half]):
            halves = [torch.empty(5) for _ in range(2)]
            dist.all_gather(halves, half)
            weight -= 0.1 * torch.cat(halves)
        else:
            skipped.append(step)
    torch.save({"weight": weight, "skipped": skipped, "scale": scaler.scale}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_skip_the_same_steps_and_stay_identical(tmp_path: Path) -> None:
    """Were the flag not shared, rank 0 would wait for a gather that rank 1 skips."""
    other = mp.spawn(rank_main, args=(str(tmp_path), 1), nprocs=1, join=False)
    rank_main(0, str(tmp_path), 0)
    other.join()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["skipped"] == second["skipped"] == list(OVERFLOWS)
    assert torch.equal(first["weight"], second["weight"]) and first["weight"].isfinite().all()
    assert first["scale"] == second["scale"] == 2.0**16 / 8
