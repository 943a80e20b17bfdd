"""Weights & Biases as a display, never the record.

Disabled, offline or online. Without a key or a network, online falls back to offline and says so once;
without that, to nothing. A server that cannot be reached costs seconds and no data: what was not sent is in
the run's folder, where ``wandb sync`` finds it. Nothing here ever raises into a run, and wandb is imported
only when asked for.

Every attempt leaves a folder of its own, which ``wandb sync`` appends to one run, offline too: what was asked
of ``resume`` is kept in it. wandb numbers appended rows anew (measured, wandb 0.31), so the axis of every
chart is our own ``step``, and rows that a restarted attempt repeats lie on those before.

A sweep's rung is a group, its variants are tags; ``send`` shows a run that has ended from what it wrote.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from sweepkit.config import typed, variables
from sweepkit.config.choices import WandbMode
from sweepkit.config.schema import LoggingConfig
from sweepkit.optim import schedule
from sweepkit.plan import text
from sweepkit.plan.roles import ROLES
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import places
from sweepkit.results.conditions import Shown
from sweepkit.results.places import Place
from sweepkit.results.record import Measured, RunDir, RunRecord, RunState
from sweepkit.sweep.expand import SINGLE_RUNG

_CONNECT_S = 3.0  # wandb itself would try for all of the next
_INIT_TIMEOUT_S = 20
_FINISH_TIMEOUT_S = 60  # wandb's own is none: a network that went away would hold the next run up
_TAG_LEN, _NAME_LEN = 64, 128  # what wandb takes


class Display:
    """A wandb run, or nothing behind the same three methods. ``info`` goes into the record.

    Args:
        plan: of the run that is shown; None behind nothing.
    """

    def __init__(
        self, run: Any, info: Shown, say: Callable[[str], None], plan: RunPlan | None = None
    ) -> None:
        self._run, self.info, self._say, self._plan = run, info, say, plan

    def log(self, row: Measured) -> None:
        """Show one row of metrics; of a training step with the learning rate of every parameter group."""
        plan = self._plan if "lr" in row else None
        rates = _learning_rates(plan, int(row["step"] or 0)) if plan else {}
        self._quietly(lambda: self._run.log(row | rates))

    def finish(self, summary: Mapping[str, object], failed: bool) -> None:
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
            self.info.error = f"{type(error).__name__}: {error}"
            self._say(f"wandb stopped showing this run: {self.info.error}")


def start(
    config: LoggingConfig, plan: RunPlan, run_dir: RunDir, say: Callable[[str], None], leads: bool = True
) -> Display:
    """Begin to show a run; whatever cannot be done is said and left out."""
    info = Shown(requested=config.wandb.name, mode=config.wandb.name)
    if config.wandb is WandbMode.disabled or not leads:
        return Display(None, info, say)
    modes = [WandbMode.offline]
    if config.wandb is WandbMode.online:
        if (reason := why_offline()) is None:
            modes.insert(0, WandbMode.online)
        else:
            info.reason = reason
            say(f"wandb is offline: {reason}; sweepkit wandb push {plan.run_id} sends it when it has ended")
    place = next(iter(places.of(run_dir.path.parents[1], plan.run_id)), None)
    for mode in modes:
        try:
            run = _init(config, plan, run_dir, mode, place)
        except Exception as error:
            what = next(iter(str(error).splitlines()), "")
            info.reason = f"{mode.name} failed: {type(error).__name__}: {what}"
            say(f"wandb {info.reason}")
            _tear_down()
            continue
        info.mode, info.id = mode.name, run.id
        info.url = run.url if mode is WandbMode.online else None
        return Display(run, info, say, plan)
    info.mode = WandbMode.disabled.name
    return Display(None, info, say)


def send(
    config: LoggingConfig,
    plan: RunPlan,
    run_dir: RunDir,
    record: RunRecord,
    mode: WandbMode,
    place: Place | None,
) -> str | None:
    """Show a run that has ended from its record and its metrics; its page, where wandb has one.

    Raises:
        Exception: whatever wandb could not do.
    """
    run = _init(config, plan, run_dir, mode, place)
    shown = Display(run, Shown(mode.name, mode.name), print, plan)
    for row in run_dir.metrics():
        shown.log(row)
    outcome = {"state": record.state.value, "failure_message": record.failure_message}
    url = run.url if mode is WandbMode.online else None
    shown.finish({**record.results, **outcome}, record.state is not RunState.complete)
    if shown.info.error is not None:
        raise RuntimeError(shown.info.error)
    return url


def _learning_rates(plan: RunPlan, step: int) -> dict[str, float]:
    """What every group was updated with in a step, counted from 1."""
    now = schedule.at(step - 1, plan)
    return {
        f"lr/{group}": peak * (now.lr_by_batch if ROLES[group].lr_by_batch else now.lr)
        for group, peak in plan.learning_rates.items()
    }


def described(plan: RunPlan, place: Place | None) -> dict[str, Any]:
    """How wandb files a run: name, group, job type, tags and configuration.

    Args:
        place: where it stands in a sweep, if in one.
    """
    own: dict[str, Any] = typed.dump(plan)
    dataset = text.label(plan)
    depth = f"d{plan.depth}"
    config = own | own.pop("config")
    if place is None:
        name, group, tags = f"{depth} {dataset} s{plan.seed} {plan.variant_id[:6]}", None, [depth, dataset]
    else:
        rung = "" if place.rung == SINGLE_RUNG else f" {place.rung}"
        name, group = f"{place.variant}{rung or f' {depth}'} s{plan.seed}", f"{place.sweep}{rung}"[:_NAME_LEN]
        tags = [place.variant, depth, dataset]
        config |= vars(place)
    return {
        "name": name[:_NAME_LEN],
        "group": group,
        "job_type": "train",
        "tags": [tag[:_TAG_LEN] for tag in dict.fromkeys(tags) if tag],
        "config": config,
    }


def _init(config: LoggingConfig, plan: RunPlan, run_dir: RunDir, mode: WandbMode, place: Place | None) -> Any:
    import wandb

    settings = wandb.Settings(
        init_timeout=_INIT_TIMEOUT_S,
        finish_timeout=_FINISH_TIMEOUT_S,
        finish_timeout_raises=True,
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
    )
    run = wandb.init(
        mode="online" if mode is WandbMode.online else "offline",
        project=variables.filled(config.project),
        entity=None if config.entity is None else variables.filled(config.entity),
        dir=run_dir.path,
        id=plan.run_id,
        resume="allow",
        settings=settings,
        reinit="finish_previous",
        **described(plan, place),
    )
    run.define_metric("*", step_metric="step")
    return run


def why_offline() -> str | None:
    """Why online would fall back to offline from here; None where it would not."""
    return _unreachable() if has_key() else "no API key (WANDB_API_KEY or `wandb login`)"


def _unreachable() -> str | None:
    """Why wandb's server, or the proxy before it, takes no connection; None where it does."""
    try:
        import wandb

        settings = wandb.setup().settings
        server = urlsplit(settings.base_url)
        own = {"http": settings.http_proxy, "https": settings.https_proxy}
        proxies = urllib.request.getproxies() | {scheme: url for scheme, url in own.items() if url}
        if server.scheme in proxies and not urllib.request.proxy_bypass(server.hostname or ""):
            server = urlsplit(proxies[server.scheme])
        address = server.hostname or "", server.port or (443 if server.scheme == "https" else 80)
    except Exception:
        return None  # wandb says better what is wrong with it
    found = [f"no answer from {address[0]} within {_CONNECT_S:g} s"]

    def connect() -> None:
        try:
            socket.create_connection(address, _CONNECT_S).close()
            found.append("")
        except OSError as error:
            found.append(f"{address[0]} cannot be reached ({error.strerror or error})")

    # in a thread, because looking up a name has no time limit of its own
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(_CONNECT_S)
    return found[-1] or None


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
