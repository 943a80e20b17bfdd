"""Averaged weights: against the weighted mean written out, in runs, and as what a sweep is decided by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_runs import folder, losses, run, stop_after, tiny

from sweepkit.analysis import comparable
from sweepkit.optim.optimizer import Optimizer, build_optimizer
from sweepkit.results import flatten
from sweepkit.sweep import last_rung, metric
from sweepkit.training.session import Session

DECAY = 0.7


@pytest.mark.parametrize("decay", [0.0, DECAY, 0.99])
def test_the_average_is_the_weighted_mean_of_the_weights_after_each_update(decay: float) -> None:
    generator = torch.Generator().manual_seed(2)
    table = nn.Parameter(torch.randn(6, 4, generator=generator).bfloat16())
    number = nn.Parameter(torch.randn((), generator=generator))
    roles = {"embedding": [("table", table)], "x0": [("number", number)]}
    plan = tiny(f"optimizer.ema_decay={decay}", "optimizer.embedding.lr=0.5")
    optimizer = build_optimizer(roles, plan, torch.bfloat16, compile_options=None)
    seen: list[list[Tensor]] = []
    num_skipped = 0
    for step in range(7):
        optimizer.set_step(step, num_skipped)
        if step in (2, 3):
            num_skipped += 1
            continue
        for parameter in (table, number):
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        optimizer.step()
        seen.append([parameter.detach().double() for parameter in (table, number)])
    shares = [decay ** (len(seen) - 1 - index) for index in range(len(seen))]
    raw = [table.detach().clone(), number.detach().clone()]
    for place, name in enumerate(("table", "number")):
        total = sum((share * weights[place] for share, weights in zip(shares, seen, strict=True)))
        expected = (total / sum(shares)).float()
        found = optimizer.state_dict()[f"{name}.average"]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
        with optimizer.averaged():
            assert torch.equal((table, number)[place], found.to(raw[place].dtype))
        assert torch.equal((table, number)[place], raw[place])


@pytest.mark.slow
def test_a_run_is_the_same_and_its_averages_are_evaluated_at_the_end(
    session: Session, tmp_path: Path
) -> None:
    plain = run(session, tiny("evaluation.every_steps=5"), tmp_path)
    plan = tiny("evaluation.every_steps=5", f"optimizer.ema_decay={DECAY}")
    averaged = run(session, plan, tmp_path)
    assert losses(plan, tmp_path) == losses(tiny("evaluation.every_steps=5"), tmp_path)
    names = ("val_bpb", "bpb_validation", "bpb_probe")
    for name in names:
        assert averaged.results[name] == plain.results[name]
        assert averaged.results[f"ema_{name}"] == pytest.approx(plain.results[name], rel=0.2)
        assert averaged.results[f"ema_{name}"] != plain.results[name]
        assert f"ema_{name}" not in plain.results
    rows = folder(plan, tmp_path).metrics()
    assert [row["step"] for row in rows if "val_bpb" in row] == [5, 10, 12]
    assert [row["step"] for row in rows if "ema_val_bpb" in row] == [12]
    assert {f"ema_{name}" for name in names} <= set(flatten.record_row(averaged))
    assert not any(name.startswith("ema_") for name in flatten.record_row(plain))
    weights = run(session, tiny("optimizer.ema_decay=0"), tmp_path)
    assert weights.results["ema_val_bpb"] == weights.results["val_bpb"]


@pytest.mark.slow
def test_averages_go_on_bit_for_bit_and_a_stop_in_their_evaluation_keeps_the_raw_weights(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny(f"optimizer.ema_decay={DECAY}", "optimizer.adam_every_steps=5")
    whole = run(session, plan, tmp_path / "whole")
    cut = run(session, plan, tmp_path / "cut", 1, stop_after(8))
    assert cut.state == "preempted" and cut.step % 5 and "ema_val_bpb" not in cut.results
    averaging, real = [False], Optimizer.averaged

    @contextlib.contextmanager
    def noticed(self: Optimizer) -> Iterator[None]:
        averaging[0] = True
        with real(self):
            yield

    monkeypatch.setattr(Optimizer, "averaged", noticed)
    stopped = run(session, plan, tmp_path / "cut", 2, lambda: averaging[0])
    assert (stopped.state, stopped.step) == ("preempted", 12)
    ended = run(session, plan, tmp_path / "cut", 3)
    for name in ("val_bpb", "ema_val_bpb", "ema_bpb_probe"):
        assert ended.results[name] == whole.results[name]
    assert losses(plan, tmp_path / "cut") == losses(plan, tmp_path / "whole")


def test_a_loss_of_averages_is_a_loss_on_the_same_text() -> None:
    assert metric.is_stream("ema_val_bpb") and metric.is_stream("ema_bpb_probe")
    assert metric.known("ema_mfu") is None and metric.known("ema_ema_val_bpb") is None
    assert last_rung.stream_of("ema_val_bpb") == last_rung.stream_of("ema_bpb_validation") == "validation"
    assert last_rung.holdout_column("ema_val_bpb") == "ema_bpb_validation_holdout"
    assert comparable.evaluation_column("ema_val_bpb") == "evaluation_fingerprint"
    assert comparable.evaluation_column("ema_bpb_probe") == "evaluation_fingerprint_probe"
