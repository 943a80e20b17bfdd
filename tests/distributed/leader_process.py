"""``python leader_process.py RESULTS PLAN NUM_RANKS TROUBLE STOP_AFTER``: ranks train a plan.

TROUBLE happens in rank 1's fourth step: none, kill; memory, with gradients on their way; ``stuck``: memory,
and the leader never notices; ``crash``: an error, and the leader takes its time. ``slow``: all steps of
rank 1 take longer.
This file is also what the other ranks run. ``leader_process.py --torchrun TROUBLE ARGUMENTS`` is the command
line, for torchrun to start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sweepkit.cli.main import main as command_line
from sweepkit.config import typed
from sweepkit.distributed import team
from sweepkit.optim import gradients
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir
from sweepkit.training import engine, failure, follow
from sweepkit.training.session import Session

STEP = 3
SLOWER_S = 0.15  # a micro-batch: more than it takes itself, also on a busy machine
LATER_S = 3.0  # for torchrun to stop who is left


def make_trouble(kind: str, rank: int) -> None:
    """Have ``rank`` misbehave in step ``STEP`` (from 0)."""
    real = engine.Engine.backward
    calls = [-1]  # the warm-up takes one

    def backward(self: engine.Engine, *args: Any, **given: Any) -> Any:
        step = calls[0] // (2 * 4 // self.ranks.size)  # the planned step has 8 micro-batches
        calls[0] += 1
        if step == STEP and rank == 1 and kind == "stuck":
            raise MemoryError("DefaultCPUAllocator: can't allocate memory")
        if step == STEP and rank == 1 and kind == "crash":
            raise ValueError("no such thing")
        if step == STEP and rank == 1 and kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == STEP and rank == 0 and kind == "stuck":
            time.sleep(1000)
        if rank == 1 and kind == "slow":
            time.sleep(SLOWER_S)
        return real(self, *args, **given)

    engine.Engine.backward = backward  # type: ignore[method-assign]
    came, steps = gradients.GradientExchange._came, [0]

    def midway(self: gradients.GradientExchange, name: str) -> None:
        steps[0] += self.armed and self._next == 0
        came(self, name)
        if rank == 1 and kind == "memory" and steps[0] > STEP and self._next > 5:
            raise MemoryError("DefaultCPUAllocator: can't allocate memory")

    gradients.GradientExchange._came = midway  # type: ignore[method-assign]
    classify = failure.classify

    def late(error: BaseException) -> Any:
        time.sleep(LATER_S if rank == 0 and kind == "crash" else 0)
        return classify(error)

    failure.classify = late


def main() -> None:
    results, plan_path, num_ranks, trouble, stop_after = sys.argv[1:]
    plan = typed.load(RunPlan, json.loads(Path(plan_path).read_text()))
    run_dir = RunDir.of(Path(results), plan.run_id)
    polls = [0]

    def should_stop() -> bool:
        polls[0] += 1
        return polls[0] > int(stop_after)

    make_trouble(trouble, 0)
    session = Session(team.start(int(num_ranks), 1, (sys.executable, __file__, "--follow", trouble)))
    attempt = len(list(run_dir.attempts_path.glob("*.json"))) + 1
    record = session.run(plan, run_dir, attempt, should_stop)
    print(json.dumps([record.state, record.failure_class, record.failure_message]))


if __name__ == "__main__":
    if sys.argv[1] == "--follow":
        make_trouble(sys.argv[2], int(os.environ["RANK"]))
        follow.main()
    elif sys.argv[1] == "--torchrun":
        make_trouble(sys.argv[2], int(os.environ["RANK"]))
        sys.exit(command_line(sys.argv[3:]))
    else:
        main()
