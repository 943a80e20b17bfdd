"""How many ranks train a run together, and how the batch of a step is shared among them."""

from __future__ import annotations

import os

from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError, invalid
from sweepkit.plan.run_plan import RunPlan


def check(plan: RunPlan, num_ranks: int) -> None:
    """Raises ConfigError unless ranks get equal numbers of whole micro-batches, of every update."""
    unit = plan.device_batch_size * plan.sequence_len * num_ranks
    if plan.total_batch_size % unit == 0:
        _check_ramp(plan, plan.total_batch_size // unit, num_ranks)
        return
    rows = plan.total_batch_size // (plan.sequence_len * num_ranks)
    fitting = [n for n in range(1, min(rows, plan.device_batch_size) + 1) if rows % n == 0]
    whole = plan.total_batch_size % (plan.sequence_len * num_ranks) == 0
    remedy = f"use horizon.device_batch_size={fitting[-1]}" if whole and fitting else "use fewer ranks"
    raise ConfigError(
        f"horizon.total_batch_size is {plan.total_batch_size} tokens, but must be a multiple of {unit} "
        f"(device_batch_size {plan.device_batch_size} × sequence_len {plan.sequence_len} × {num_ranks} ranks)"
        f"; {remedy}"
    )


def _check_ramp(plan: RunPlan, num_micro_batches: int, num_ranks: int) -> None:
    ramp = plan.config.schedule.batch_ramp
    if any(num_micro_batches % num for num in ramp):
        rows = plan.device_batch_size * num_micro_batches
        fitting = [n for n in range(1, plan.device_batch_size) if all(rows % (n * num) == 0 for num in ramp)]
        remedy = f"use horizon.device_batch_size={fitting[-1]}" if fitting else "use smaller numbers"
        raise invalid(
            "schedule.batch_ramp",
            ramp,
            f"divide the {num_micro_batches} micro-batches of a step (horizon.total_batch_size "
            f"{plan.total_batch_size} / device_batch_size {plan.device_batch_size} / sequence_len "
            f"{plan.sequence_len} / {num_ranks} ranks)",
            remedy,
        )


def is_started() -> bool:
    """Whether something (torchrun, a Slurm task) has started this process as one of several ranks.

    Raises:
        ConfigError: what the environment says of the ranks is no number, or not one that can be.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1 or not all(name in os.environ for name in ("RANK", "MASTER_ADDR", "MASTER_PORT")):
        return False
    _number("RANK", 0, size - 1)
    _number("LOCAL_RANK", 0)
    _number("MASTER_PORT", 1, 65535)
    return True


def _number(variable: str, least: int, most: int | None = None) -> int:
    text = os.environ.get(variable, str(least))
    if text.isdecimal() and least <= int(text) and (most is None or int(text) <= most):
        return int(text)
    contract = f"be a whole number of at least {least}" + ("" if most is None else f" and at most {most}")
    raise invalid(variable, text, contract, "let torchrun set it, or unset it to run one process")


def is_follower() -> bool:
    """Whether this process is another of these ranks than the first, which leads."""
    return is_started() and int(os.environ["RANK"]) != 0


def num_ranks(launcher: LauncherConfig) -> int:
    """How many ranks train one run: as many as were started, else what the launcher is to start.

    Raises:
        ConfigError: others were started than the launcher is to start.
    """
    asked = launcher.processes_per_run
    if not is_started():
        return asked
    started = int(os.environ["WORLD_SIZE"])
    if asked not in (1, started):
        contract = f"be as many as were started already (WORLD_SIZE={started})"
        raise invalid("launcher.processes_per_run", asked, contract, "leave it out")
    return started
