"""Weights & Biases as a display, never the record.

Disabled, offline or online. Without a key or a network, online falls back to offline and says so; without
that, to nothing. Nothing here ever raises into a run, wandb is imported only when asked for, and its files
stay in the run's folder.
"""

from __future__ import annotations

import contextlib
import netrc
import os
from collections.abc import Callable
from typing import Any

from sweepkit.config.schema import LoggingConfig, WandbMode
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.record import RunDir

_INIT_TIMEOUT_S = 20


class Display:
    """A wandb run, or nothing behind the same three methods. ``info`` goes into the record."""

    def __init__(self, run: Any, info: dict[str, Any], say: Callable[[str], None]) -> None:
        self._run, self.info, self._say = run, info, say

    def log(self, row: dict[str, Any]) -> None:
        """Show one row of metrics."""
        self._quietly(lambda: self._run.log(row, step=row["step"]))

    def finish(self, summary: dict[str, Any], failed: bool) -> None:
        """Show the results and end."""

        def finish() -> None:
            self._run.summary.update(summary)
            self._run.finish(exit_code=int(failed))

        self._quietly(finish)
        self._run = None

    def _quietly(self, act: Callable[[], None]) -> None:
        if self._run is None:
            return
        try:
            act()
        except Exception as error:
            self._run = None
            self.info["error"] = f"{type(error).__name__}: {error}"
            self._say(f"wandb stopped showing this run: {self.info['error']}")


def start(
    config: LoggingConfig, plan: RunPlan, run_dir: RunDir, say: Callable[[str], None], leads: bool = True
) -> Display:
    """Begin to show a run; whatever cannot be done is said and left out."""
    info: dict[str, Any] = {"requested": config.wandb.name, "mode": config.wandb.name}
    if config.wandb is WandbMode.disabled or not leads:
        return Display(None, info, say)
    modes = [WandbMode.offline]
    if config.wandb is WandbMode.online:
        if has_key():
            modes.insert(0, WandbMode.online)
        else:
            info["reason"] = "no API key (WANDB_API_KEY or `wandb login`)"
            say(f"wandb is offline: {info['reason']}")
    for mode in modes:
        try:
            run = _init(config, plan, run_dir, mode)
        except Exception as error:
            what = next(iter(str(error).splitlines()), "")
            info["reason"] = f"{mode.name} failed: {type(error).__name__}: {what}"
            say(f"wandb {info['reason']}")
            _tear_down()
            continue
        info |= {"mode": mode.name, "id": run.id, "url": run.url if mode is WandbMode.online else None}
        return Display(run, info, say)
    info["mode"] = WandbMode.disabled.name
    return Display(None, info, say)


def _init(config: LoggingConfig, plan: RunPlan, run_dir: RunDir, mode: WandbMode) -> Any:
    import wandb

    settings = wandb.Settings(
        init_timeout=_INIT_TIMEOUT_S, silent=True, console="off", disable_git=True, save_code=False
    )
    return wandb.init(
        mode="online" if mode is WandbMode.online else "offline",
        project=config.project,
        entity=config.entity,
        dir=run_dir.path,
        id=plan.run_id,
        name=plan.run_id,
        resume="allow" if mode is WandbMode.online else None,
        config={name: value for name, value in plan.to_json().items() if name != "config"} | plan.config,
        settings=settings,
        reinit="finish_previous",
    )


def _tear_down() -> None:
    """End wandb's service: after a start that failed it still holds the run's id, offline too."""
    with contextlib.suppress(Exception):
        import wandb

        wandb.teardown(exit_code=1)


def has_key() -> bool:
    """Whether an API key is set up, by environment or by login; it is not read."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False
