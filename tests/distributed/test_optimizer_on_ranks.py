"""Clipping, updates every third step and averaged weights where two ranks share the parameters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from training_runs import tiny

from sweepkit.distributed.ranks import Ranks
from sweepkit.training.engine import Engine, EngineKey

CPU = torch.device("cpu")
PLAN = ("optimizer.grad_clip=0.3", "optimizer.adam_every_steps=3", "optimizer.ema_decay=0.6")
NUM_STEPS = 5  # the second update of AdamW has two of its three gradients


def engine_of(ranks: Ranks) -> Engine:
    return Engine(tiny(*PLAN), EngineKey("", CPU, torch.float32, 1, False), ranks)


def trained(ranks: Ranks) -> dict[str, Any]:
    """Each step on two halves of a batch: one a rank, or both one after the other."""
    engine = engine_of(ranks)
    engine.warm_up(tiny(*PLAN))
    engine.gradients.agree()
    engine.renew(tiny(*PLAN))
    halves = [0, 1] if ranks.size == 1 else [ranks.rank]
    norms = []
    for step in range(NUM_STEPS):
        for half in halves:
            generator = torch.Generator().manual_seed(10 * step + half)
            tokens = torch.randint(0, 512, (2, 17), generator=generator, dtype=torch.int32)
            engine.backward(tokens[:, :-1], tokens[:, 1:], 0.5, last=half == halves[-1])
        engine.gradients.finish()
        engine.optimizer.set_step(step)
        norm = engine.optimizer.clip()
        assert norm is not None
        norms.append(norm.item())
        engine.optimizer.step()
        engine.optimizer.zero_grad()
    weights = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    with engine.optimizer.averaged():
        averaged = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    assert all(torch.equal(p, weights[name]) for name, p in engine.model.named_parameters())
    return {"norms": norms, "weights": weights, "averaged": averaged, "state": engine.state_dict()}


def rank_main(process: int, folder: str, rank: int) -> None:
    torch.set_num_threads(1)
    ranks = Ranks(rank, 2, dist.FileStore(f"{folder}/store", 2))
    ranks.form_group(local_rank=0)
    torch.save(trained(ranks), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_do_what_one_does(tmp_path: Path) -> None:
    other = mp.spawn(rank_main, args=(str(tmp_path), 1), nprocs=1, join=False)
    rank_main(0, str(tmp_path), 0)
    other.join()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = trained(Ranks())
    assert first["norms"] == second["norms"] == pytest.approx(alone["norms"], rel=1e-3)
    assert min(first["norms"]) > 0.3
    for what in ("weights", "averaged"):
        for name, tensor in first[what].items():
            assert torch.equal(tensor, second[what][name]), name
            torch.testing.assert_close(tensor, alone[what][name], atol=2e-3, rtol=1e-2, msg=name)
    state = first["state"]
    assert state.keys() == alone["state"].keys()
    for key, tensor in state.items():
        if key.endswith(".gradient"):
            torch.testing.assert_close(tensor, alone["state"][key], atol=1e-4, rtol=2e-2, msg=key)
    restored = engine_of(Ranks())
    restored.load_state_dict(state)
    assert all(torch.equal(tensor, state[key]) for key, tensor in restored.state_dict().items())
