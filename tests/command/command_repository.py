"""A repository of somebody else's trainer, whose branches change it: what the tests of its levels share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from sweepkit.config import paths
from sweepkit.launch import code_levels
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results import store
from sweepkit.sweep import expand, file, frozen

Write = Callable[..., str]
RATE = "weights = weights - given.lr * speed"


def git(*arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout


def edit(old: str, new: str) -> None:
    path = Path("trainer.py")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def plans(name: str) -> dict[str, CommandPlan]:
    found = {
        cell.variant: cell.plan
        for cell in expand.expand_all(code_levels.resolved(file.load(name), paths.results_dir()))
    }
    return {name: plan for name, plan in found.items() if isinstance(plan, CommandPlan)}


def freeze(name: str) -> dict[str, CommandPlan]:
    results = paths.results_dir()
    sweep = code_levels.resolved(file.load(name), results)
    found = frozen.freeze(sweep, results, is_asked=lambda: False)
    return {cell.variant: cell.plan for cell in found.cells if isinstance(cell.plan, CommandPlan)}


def losses(name: str) -> dict[str, float]:
    table = store.load(name, paths.results_dir())
    return {str(run): float(loss) for run, loss in zip(table["run_id"], table["val_loss"], strict=True)}
