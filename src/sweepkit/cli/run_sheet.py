"""What ``sweepkit plan`` shows of a single run: a line for each thing that is decided."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from sweepkit.config import paths
from sweepkit.config.choices import LauncherKind
from sweepkit.launch import budget
from sweepkit.launch.ledger import Run
from sweepkit.plan import disk, epochs
from sweepkit.plan.cost import PEAK_FLOPS
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import terminal


def show(plan: RunPlan) -> None:
    """Print it."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    heads = f"{plan.num_heads} {'head' if plan.num_heads == 1 else 'heads'} of {plan.head_dim}"
    if plan.num_kv_heads != plan.num_heads:
        heads += f", {plan.num_kv_heads} for keys and values"
    active, count = plan.active_params, plan.config.horizon.count.name
    passed = "" if active == plan.total_params else f", {active:,} that a token passes"
    groups = ", ".join(f"{name} {count:,}" for name, count in plan.param_groups.items())
    rates = ", ".join(f"{name} {rate:.4g}" for name, rate in plan.learning_rates.items())
    micro = plan.total_batch_size // (plan.device_batch_size * plan.sequence_len)
    tokens_per_param = plan.total_tokens / plan.scaling_params
    for name, value in {
        "run_id": plan.run_id,
        "model": f"depth {plan.depth}, width {plan.width}, {heads}, windows {_windows(plan)}",
        "parameters": f"{plan.total_params:,} in all, {plan.scaling_params:,} scaling{passed}",
        "": groups,
        "tokens": f"{plan.total_tokens:,} ({tokens_per_param:.4g} a scaling parameter, {count}; "
        f"{_asked_for(plan)})",
        "epochs": epochs_of([plan]),
        "steps": f"{plan.num_steps:,} of {plan.total_batch_size:,} tokens, "
        f"{micro} × {plan.device_batch_size} rows of {plan.sequence_len}",
        "schedule": f"{plan.warmup_steps} steps up{_never_up(plan)}, {plan.warmdown_steps} down, momentum "
        f"{plan.momentum_warmup_steps} up",
        "learning rates": rates,
        "weight decay": f"{plan.weight_decay:.4g} (matrices)",
        "FLOPs": f"{plan.flops_per_token:,} a token, {plan.total_flops:.3e} in all",
        "memory": f"about {plan.estimated_peak_memory_gib:.1f} GiB",
        "disk": disk.in_words([plan]),
        "cost": cost(plan.estimated_gpu_hours, plan),
        "here": here([plan]),
    }.items():
        table.add_row(name, value)
    terminal.console().print(table)


def here(plans: Sequence[RunPlan], to_come: int = 0) -> str:
    """What is left of these runs takes on this machine, by what was measured of it.

    Args:
        to_come: trials that a search will propose, like these.
    """
    launcher, results_dir = plans[0].config.launcher, paths.results_dir()
    if launcher.kind is LauncherKind.slurm:
        return "nothing: Slurm's nodes run it"
    runs = [Run.of(plan, results_dir) for plan in plans]
    to_do = [run for run in runs if not run.is_final]
    if not to_do and not to_come:
        return "nothing: all of it has run"
    found = budget.of(to_do, runs, launcher, results_dir, to_come, is_measured=False)
    if found.hours is None:
        return "no estimate: this machine was not timed (sweepkit doctor does)"
    return found.without_disk


def epochs_of(plans: Sequence[RunPlan]) -> str:
    """How often runs see their text, at the most; and that it is more than they may."""
    found = [(known, plan) for plan in plans if (known := epochs.of(plan)) is not None]
    if not found:
        return "unknown: the text has not been fetched (sweepkit data prepare does)"
    most, plan = max(found, key=lambda item: item[0].number)
    config = plan.config
    said = f"{most} of {config.dataset.name}"
    limit = config.launcher.max_epochs
    if epochs.is_too_many(plan, most):
        said += f": more than launcher.max_epochs={limit:g}, so that no command starts it"
    return said


def _asked_for(plan: RunPlan) -> str:
    """What set the length of the run."""
    horizon = plan.config.horizon
    if horizon.num_steps is not None:
        return f"asked for {counted(plan.num_steps, 'step')}"
    if horizon.target_flops is not None:
        return f"asked for {horizon.target_flops:.4g} FLOPs"
    return f"asked for {plan.target_tokens:,}"


def _never_up(plan: RunPlan) -> str:
    return " (longer than the run, see schedule.warmup_ratio)" if plan.warmup_steps > plan.num_steps else ""


def _windows(plan: RunPlan) -> str:
    """``512 512 512 2048``, repeated patterns shortened to runs."""
    runs: list[list[int]] = []
    for window in plan.windows:
        if runs and runs[-1][0] == window:
            runs[-1][1] += 1
        else:
            runs.append([window, 1])
    return " ".join(f"{window}×{count}" if count > 1 else str(window) for window, count in runs)


def cost(gpu_hours: float | None, plan: RunPlan) -> str:
    """GPU-hours in words, or why they are not known."""
    device = f"{plan.plan_device} at {plan.plan_mfu:.0%} MFU"
    if gpu_hours is None:
        return f"unknown on {device}: no peak FLOP/s known for it; known: {', '.join(sorted(PEAK_FLOPS))}"
    amount = f"{gpu_hours:,.2f} hours" if gpu_hours >= 0.01 else f"{gpu_hours * 3600:.2g} seconds"
    return f"{amount} on one {device}"
