"""``sweepkit doctor``: what this machine is, what a run would use here, and whether that computes right."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweepkit.cli import command_line, machine_facts
from sweepkit.config import compose
from sweepkit.config.schema import RunConfig
from sweepkit.report import terminal

if TYPE_CHECKING:
    import torch

    from sweepkit.precision.policy import Precision
    from sweepkit.training.selfcheck import Outcome

EPILOG = """\
examples:
  sweepkit doctor                      what is here, what would be used, and a check of each part
  sweepkit doctor precision=fp8        the same for a run with these overrides
  sweepkit doctor --prefetch           first fetch what runs may not download: FlashAttention 3 (Hopper)
  sweepkit doctor --format json        for scripts

Every part that would be used computes something small and is compared with a reference (fp64, a singular
value decomposition, the uncompiled model). On a GPU the step of d12 is timed as well. Under two minutes.
Exit status: 0 all is right, 1 a check or a timing failed or --prefetch could not fetch.
"""
FAILED = 1
_TIMED_MODEL = "model=d12"
_LIMIT_S = 110.0  # a further timing is not begun unless it would have ended by then


def add_parser(subparsers: Any) -> None:
    parser = command_line.add_parser(
        subparsers,
        "doctor",
        "Look at this machine, say what runs would use here and why, and check each part.",
        EPILOG,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as for train, such as precision=fp8"
    )
    parser.add_argument(
        "--prefetch", action="store_true", help="fetch kernels that a compute node could not download"
    )
    parser.add_argument("--no-steps", action="store_true", help="do not time the step of d12")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Print facts, choices and checks; 1 where a check failed. User errors raise ``SweepkitError``."""
    started = time.perf_counter()
    as_json = args.format == "json"
    console = terminal.console(stderr=as_json, markup=True)
    config = compose.compose(args.overrides)
    fetched = True
    if args.prefetch:
        fetched, words = _prefetch()
        console.print(f"FlashAttention 3: {words}", markup=False)
    from sweepkit.model import attend
    from sweepkit.precision import policy
    from sweepkit.training import device as devices

    device = devices.choose(config.trainer.device)
    precision = policy.resolve(config.precision, device)
    attention = attend.choose(
        config.trainer.attention, device, precision.compute_dtype, config.model.head_dim
    )
    found = {
        "machine": dict(machine_facts.machine(device)),
        "choices": dict(machine_facts.choices(config, device, precision, attention)),
    }
    if not as_json:
        _print_facts(console, "this machine", found["machine"])
        _print_facts(console, "a run here would use", found["choices"])
    outcomes = _check(console, config, device, precision)
    speeds: dict[str, str] = {}
    failed: list[str] = []
    if device.type == "cuda" and not args.no_steps:
        speeds, failed = _time_steps(console, args.overrides, device, started)
    if as_json:
        checks = [dataclasses.asdict(outcome) | {"passed": outcome.passed} for outcome in outcomes]
        print(json.dumps(found | {"checks": checks, "steps": speeds}, indent=1))
    else:
        for name, speed in speeds.items():
            console.print(f"step of {name}: {speed}", markup=False)
        if device.type != "cuda":
            console.print("the step of d12 is timed on a GPU only")
    bad = [outcome.name for outcome in outcomes if not outcome.passed] + failed
    if bad:
        console.print(f"[red]not right here: {', '.join(bad)}[/]; runs would give wrong numbers or fail")
    return FAILED if bad or not fetched else 0


def _prefetch() -> tuple[bool, str]:
    """Whether FlashAttention 3 was fetched, and what came of it."""
    from sweepkit.model import flash3

    try:
        return True, flash3.fetch()
    except Exception as error:  # no network, no build for this machine: the rest is looked at all the same
        lines = str(error).splitlines() or [type(error).__name__]
        return False, f"not fetched: {lines[0]}"


def _print_facts(console: Console, title: str, facts: dict[str, str]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        table.add_row(f"[dim]{name}[/]", escape(value))
    console.print(f"[bold]{title}[/]")
    console.print(table)


def _check(console: Console, config: RunConfig, device: torch.device, precision: Precision) -> list[Outcome]:
    """Perform all checks, each shown while it runs and in the table afterwards."""
    from sweepkit.precision import policy
    from sweepkit.training import selfcheck
    from sweepkit.training.engine import cannot_compile

    backend = precision.fp8 or policy.possible_fp8(device)[0]
    compiled = config.trainer.compile and cannot_compile(device) is None
    outcomes = []
    table = Table("check", "against", "error", "at most", "", "s", box=None, pad_edge=False)
    table.header_style = "dim"
    with console.status("checking") as status:
        for check in selfcheck.checks(device, precision.compute_dtype, backend, compiled):
            status.update(f"checking {check.name}")
            outcome = selfcheck.perform(check)
            outcomes.append(outcome)
            error = "" if outcome.error is None else f"{outcome.error:.1e}"
            verdict = "[green]right[/]" if outcome.passed else f"[red]WRONG[/] {escape(outcome.problem)}"
            limit, seconds = f"{outcome.limit:.1e}", f"{outcome.seconds:.1f}"
            table.add_row(outcome.name, outcome.reference, error, limit, verdict, seconds)
    if not console.stderr:
        console.print("[bold]checks[/]")
        console.print(table)
    return outcomes


def _time_steps(
    console: Console, overrides: list[str], device: torch.device, started: float
) -> tuple[dict[str, str], list[str]]:
    """The step of d12 as asked for, and in FP8 where the device has it and time is left; what failed."""
    from sweepkit.precision import policy
    from sweepkit.training import step_speed, throughput

    speeds: dict[str, str] = {}
    failed: list[str] = []
    variants = [overrides]
    is_chosen = any(item.startswith(("precision=", "precision.dtype=")) for item in overrides)
    if policy.native_fp8(device)[0] and not is_chosen:
        variants.append([*overrides, "precision=fp8"])
    began = time.perf_counter()
    for variant in variants:
        plan, key, precision = step_speed.prepare(compose.compose([_TIMED_MODEL, *variant]), device)
        name = f"d{plan.depth} in {precision.dtype.name}"
        now = time.perf_counter()
        if speeds and now - started + (now - began) > _LIMIT_S:
            speeds[name] = "not timed, to end in two minutes; sweepkit doctor precision=fp8 times it"
            break
        with console.status(f"timing the step of {name}"):
            try:
                speed = step_speed.measure(plan, key, throughput.utilisation(plan, precision, device))
            except Exception as error:
                speeds[name] = f"failed: {type(error).__name__}: {error}"
                failed.append(f"step of {name}")
                continue
        speeds[name] = (
            f"{speed.step_time_s:.3f} s for {plan.total_batch_size:,} tokens, "
            f"{speed.tokens_per_s:,.0f} tokens/s, {speed.device_batch_size} rows at once, "
            f"{speed.peak_memory_gib:.1f} GiB; {speed.shown}"
        )
    return speeds, failed
