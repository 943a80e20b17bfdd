"""Batches that grow: a step's batch makes several updates of consecutive parts of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_runs import folder, losses, run, stop_after, tiny

from sweepkit.config import typed
from sweepkit.data.prepare import prepare
from sweepkit.errors import ConfigError
from sweepkit.optim import schedule
from sweepkit.plan.run_plan import RunPlan
from sweepkit.training.session import Session

#: Ratios that come out as whole numbers of steps in a run of 12, and in one of 24.
RATIOS = (
    "schedule.warmup_ratio=0.25",
    "schedule.momentum_warmup_ratio=0.25",
    "schedule.warmdown_ratio=0.5",
    "horizon.device_batch_size=2",
)
LEADER = Path(__file__).parents[1] / "distributed" / "leader_process.py"


def ramp(*numbers: int) -> RunPlan:
    return tiny(*RATIOS, f"schedule.batch_ramp={list(numbers)}".replace(" ", ""))


@pytest.mark.parametrize(
    ("numbers", "num_steps"),
    [
        (numbers, num_steps)
        for numbers in ([1], [2], [4, 2, 1], [4, 4, 2, 1, 1], [1, 4])
        for num_steps in (1, 5, 12, 23)
        if len(numbers) <= num_steps
    ],
)
def test_every_update_is_counted_once_and_lies_where_its_tokens_are(
    numbers: list[int], num_steps: int
) -> None:
    written = str(numbers).replace(" ", "")
    of_one_row = ("horizon.device_batch_size=1", f"horizon.num_steps={num_steps}")
    plan = tiny(*of_one_row, f"schedule.batch_ramp={written}")
    num_updates, tokens = 0, 0.0
    for step in range(num_steps):
        parts = schedule.updates_in(step, plan)
        assert parts == numbers[math.floor(step / num_steps * len(numbers) + 1e-9)]
        for part in range(parts):
            now = schedule.at(step, plan, num_skipped=0, part=part)
            assert now.num_updates == num_updates
            assert now.momentum == pytest.approx(schedule.momentum(tokens, plan))
            assert now.lr_by_batch == pytest.approx(now.lr / math.sqrt(parts))
            num_updates += 1
            tokens += 1 / parts
    assert tokens == num_steps


@pytest.mark.slow
def test_half_batches_are_a_run_of_half_the_batch_and_twice_the_steps(
    session: Session, tmp_path: Path
) -> None:
    """Rates follow the root of the batch in both; weight decay does so in the plan alone."""
    decay = ramp(2).config.optimizer.matrix.weight_decay * math.sqrt(2)
    half = ("horizon.total_batch_size=256", "horizon.num_steps=24")
    small = tiny(*RATIOS, *half, f"optimizer.matrix.weight_decay={decay}")
    halves, plain = (run(session, plan, tmp_path) for plan in (ramp(2), small))
    pairs = np.array(losses(small, tmp_path)).reshape(12, 2).mean(axis=1)
    assert losses(ramp(2), tmp_path) == pytest.approx(pairs.tolist(), rel=1e-4)
    assert halves.results["val_bpb"] == pytest.approx(plain.results["val_bpb"], rel=1e-4)
    assert halves.results["total_tokens"] == plain.results["total_tokens"]


@pytest.mark.slow
def test_a_ramp_keeps_tokens_and_order_and_goes_on_bit_for_bit(session: Session, tmp_path: Path) -> None:
    plans = ramp(1), ramp(4), ramp(4, 2, 1)
    records = [run(session, plan, tmp_path) for plan in plans]
    assert {plan.pair_key for plan in plans} == {plans[0].pair_key}
    assert {plan.total_tokens for plan in plans} == {record.results["total_tokens"] for record in records}
    constant, quarter, grown = (losses(plan, tmp_path) for plan in plans)
    assert grown[:4] == quarter[:4] and grown[4] == pytest.approx(quarter[4], rel=0.1)
    assert grown[4] != quarter[4] and constant[1] != quarter[1]
    rates = [row["lr"] for row in folder(plans[2], tmp_path).metrics() if "loss" in row]
    assert rates[3:6] == pytest.approx([0.5, 1 / math.sqrt(2), 1 / math.sqrt(2)])
    cut = tmp_path / "cut"
    assert run(session, plans[2], cut, 1, stop_after(6)).state == "preempted"
    run(session, plans[2], cut, 2)
    assert losses(plans[2], cut) == grown


def test_ranks_share_every_part_of_the_batch() -> None:
    loader = prepare(tiny().config).train(1, 16 * 64, 64)
    whole = loader.batch(3)
    for num_ranks, num_parts in ((1, 1), (1, 4), (2, 1), (2, 4), (4, 2)):
        shares = [loader.batch(3, rank, num_ranks, num_parts) for rank in range(num_ranks)]
        parts = [np.split(share, num_parts) for share in shares]
        again = [share[part] for part in range(num_parts) for share in parts]
        assert np.array_equal(np.concatenate(again), whole), (num_ranks, num_parts)


def test_updates_are_whole_micro_batches_of_every_rank() -> None:
    with pytest.raises(ConfigError, match=r"schedule.batch_ramp is \[8, 1\].*device_batch_size=1"):
        ramp(8, 1)
    with pytest.raises(ConfigError, match=r"schedule\.batch_ramp"):
        tiny(*RATIOS, "schedule.batch_ramp=[4,1]", "launcher.processes_per_run=2")
    with pytest.raises(ConfigError, match="at least 1"):
        ramp()
    with pytest.raises(ConfigError, match=r"be a list of whole numbers; write 'schedule.batch_ramp=\[2,1\]'"):
        tiny("schedule.batch_ramp=half")
    assert ramp(4, 2, 1).total_batch_size == ramp(1).total_batch_size


@pytest.mark.slow
def test_two_ranks_grow_the_batch_as_one_does(session: Session, tmp_path: Path) -> None:
    plan = ramp(2, 1)
    run(session, plan, tmp_path / "alone")
    (tmp_path / "plan.json").write_text(json.dumps(typed.dump(plan)))
    subprocess.run(
        [sys.executable, str(LEADER), str(tmp_path), str(tmp_path / "plan.json"), "2", "none", "10000"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )
    assert losses(plan, tmp_path) == pytest.approx(losses(plan, tmp_path / "alone"), abs=1e-4)
