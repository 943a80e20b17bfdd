"""From overrides to a checked RunConfig: ``compose(["model=d12", "optimizer.x0.lr=0.4"])``.

Hydra composes once per choice of groups (about 40 ms, cached); values are then set on a copy, each
converted and type-checked by OmegaConf against the schema, and interpolations are resolved last.
Precedence: schema < groups < experiment < command line, as in any Hydra app. It works from any folder,
repeatedly, and inside a running Hydra app, whose global state is put back. Hydra's own messages hide
their cause, so errors are the house's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepkit import errors
from sweepkit.config import assign, checks, groups, interpolations, paths, yaml_words
from sweepkit.config.override import Override, parse
from sweepkit.config.schema import RunConfig

#: Hydra's global state is not thread-safe.
_lock = threading.RLock()


def register_schema() -> None:
    """Put the schema where ``conf/config.yaml`` finds it. Calling it again changes nothing."""
    ConfigStore.instance().store(name="schema", node=RunConfig, provider="sweepkit")


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """Compose and check a configuration.

    Args:
        overrides: as on the command line, ``GROUP=OPTION`` or ``FIELD=VALUE``; later ones win.

    Returns:
        A RunConfig of the caller's own; "auto" values are still "auto".

    Raises:
        ConfigError: unknown group, option or field, wrong type, or a broken rule.
    """
    folder = paths.conf_dir()
    groups.available(folder)
    chosen: dict[str, str] = {}
    values: list[Override] = []
    for override in map(parse, overrides):
        group = groups.group_of(folder, override)
        if group is None:
            values.append(override)
        else:
            chosen[group] = groups.option(folder, group, override)
    with _lock:
        cfg, base = _composed(folder, tuple(sorted(chosen.items())))
        config = assign.assign(cfg, base, values)
    checks.check(config)
    return config


def apply(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """A copy of ``config`` with values changed (no groups), type-checked, rules not yet checked."""
    with _lock:
        cfg = OmegaConf.structured(interpolations.literally_all(config))
        return assign.assign(cfg, config, [parse(override) for override in overrides])


def with_block(config: RunConfig, block: str, overrides: Sequence[str]) -> RunConfig:
    """``config`` with one block as overrides of it say: fields set anew, or another option of a group.

    Raises:
        ConfigError: as ``compose`` does.
    """
    if any(map(is_group_override, overrides)):
        return replace(config, **{block: getattr(compose(overrides), block)})
    config = apply(config, overrides)
    checks.check(config)
    return config


def is_group_override(override: str) -> bool:
    """Whether ``override`` chooses an option of a configuration group."""
    return groups.group_of(paths.conf_dir(), parse(override)) is not None


def is_group(key: str) -> bool:
    """Whether a configuration group has this name."""
    return key in groups.available(paths.conf_dir())


def options(group: str) -> tuple[str, ...]:
    """What can be chosen from a configuration group."""
    return groups.available(paths.conf_dir())[group]


@lru_cache(maxsize=256)
def _composed(folder: Path, chosen: tuple[tuple[str, str], ...]) -> tuple[DictConfig, RunConfig | None]:
    """What Hydra makes of a choice of groups, as OmegaConf and as an object; both are only copied.

    No object where values are still to be resolved or given.
    """
    register_schema()
    yaml_words.refuse_misread(folder)
    state = GlobalHydra.instance()
    running, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(config_dir=str(folder), version_base="1.3", job_name="sweepkit"):
            cfg = hydra_compose("config", [f"{group}={option}" for group, option in chosen])
        is_open = interpolations.are_in(OmegaConf.to_container(cfg, resolve=False))
        config = None if is_open else OmegaConf.to_object(cfg)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise _broken_group(folder, chosen, error) from error
    finally:
        GlobalHydra.instance().hydra = running
    assert config is None or isinstance(config, RunConfig)
    return cfg, config


def _broken_group(folder: Path, chosen: tuple[tuple[str, str], ...], error: Exception) -> errors.ConfigError:
    """A file in the configuration folder that does not fit the schema; the innermost cause says how."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    detail = " ".join(str(cause).split())
    return errors.invalid(
        "configuration folder",
        str(folder),
        f"compose with {dict(chosen)} (it says: {detail})",
        "correct that file; fields and types are those of sweepkit/config/schema.py",
    )
